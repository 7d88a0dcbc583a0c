"""What a wrong command line gets, and what the command line costs before a verb runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rehearse.cli.main import app
from rehearse.errors import SqlFileError
from rehearse.judge.rules import RULE_NAMES

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
        (["explain", "rewrte-under-lock"], "did you mean 'rewrite-under-lock'?"),
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


def test_without_a_rule_all_of_them_are_listed() -> None:
    result = CliRunner().invoke(app, ["explain"])
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == sorted(RULE_NAMES)


def test_a_script_that_cannot_be_read_ends_the_run_before_anything_is_started(tmp_path: Path) -> None:
    for name, text in (
        ("s.sql", "CREATE TABLE t (id int);"),
        ("u.sql", "DROP TABLE t;"),
        ("w.sql", "\\set x rndom(1, 2)"),
    ):
        (tmp_path / name).write_text(text)
    words = ["run", "--schema", str(tmp_path / "s.sql"), "--migration", str(tmp_path / "u.sql")]
    words += ["--workload", str(tmp_path / "w.sql"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, SqlFileError)
    assert "w.sql:1: \\set x: there is no function rndom" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_help_needs_nothing_heavy() -> None:
    code = f"import sys, rehearse.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.strip() == "[]"
