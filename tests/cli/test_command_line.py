"""What a wrong command line gets, and what the command line costs before a verb runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "polars",
    "numpy",
    "pandas",
    "matplotlib",
    "psycopg",
    "pydantic",
    "faker",
    "testcontainers",
    "rich.live",
)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bogus"], "no such command 'bogus'"),
        (["run", "--rate", "fast", "a.toml"], "'--rate'"),
        (["run", "--nope"], "no such option: --nope"),
        (["explain"], "missing argument 'rule'"),
        (["run"], "nothing to rehearse"),
    ],
)
def test_a_wrong_command_line_gets_one_line(words: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rehearse", *words], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_help_needs_nothing_heavy() -> None:
    code = f"import sys, rehearse.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.strip() == "[]"
