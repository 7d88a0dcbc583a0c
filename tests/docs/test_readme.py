"""What the README shows is run as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]


def shown_commands(document: Path) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = (line.split("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def rehearse(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rehearse", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_the_readmes_commands_do_what_it_says(tmp_path: Path) -> None:
    for folder in ("datasets", "scenarios"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    commands = [shlex.split(line) for line in shown_commands(README) if line.startswith("rehearse ")]
    answers = {"run": 1, "explain": 0, "judge": 1, "report": 0, "doctor": 0}
    seen: set[str] = set()
    for _rehearse, verb, *rest in commands:
        if rest == ["scenarios/shop/safe.toml"]:
            continue  # a million rows: the demo runs it
        runs = sorted((tmp_path / "reports").glob("*")) if (tmp_path / "reports").exists() else []
        words = [str(runs[-1]) if word == "RUN" else word for word in rest]
        done = rehearse([verb, *words], tmp_path)
        assert done.returncode == answers[verb], (verb, rest, done.stdout[-2000:], done.stderr[-2000:])
        seen.add(verb)
    assert seen == set(answers)


def test_make_has_every_target_that_is_shown() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {line.split()[1] for line in shown_commands(README) if line.startswith("make ")}
    assert shown <= targets
    assert shown


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing
