"""Whole rehearsals through the command line, on a schema that no demo was made for."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LIBRARY = Path(__file__).parent / "library"

SCENARIO = """
[dataset]
schema = "schema.sql"
rows = {{ members = "5k", loans = "{rows}", branches = 200, loan_events = "20k" }}

[workload]
rate = 200
clients = 16
warm_up = "1s"
baseline = "3s"
recovery = "1500ms"
{workload}

[migration]
up = "up.sql"
{migration}

[production]
rows = {{ loans = "200M", members = "20M", branches = 300, loan_events = "900M" }}

{more}
"""


@dataclass(frozen=True)
class Ran:
    """One `rehearse run --json`."""

    exit_code: int
    document: dict[str, Any]
    stderr: str
    folder: Path

    @property
    def verdict(self) -> str:
        return str(self.document["verdict"])

    def rules(self, severity: str) -> set[str]:
        return {f["rule"] for f in self.document["findings"] if f["severity"] == severity}

    def finding(self, rule: str) -> dict[str, Any]:
        found = [f for f in self.document["findings"] if f["rule"] == rule]
        assert found, f"no {rule} among {self.document['findings']}"
        return dict(found[0])


def command(*words: str | Path, cwd: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """`rehearse WORDS`, as a stranger would run it."""
    return subprocess.run(
        [sys.executable, "-m", "rehearse", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def read_run(done: subprocess.CompletedProcess[str]) -> Ran:
    assert done.stdout.startswith("{"), f"no document: {done.returncode} {done.stderr[-2000:]}"
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return Ran(done.returncode, document, done.stderr, Path(document["report"]).parent)


def rehearse_library(
    folder: Path,
    up: str,
    *,
    rows: str = "60k",
    workload: str = "",
    migration: str = "",
    more: str = "",
    scripts: dict[str, str] | None = None,
) -> Ran:
    """Rehearse a migration of the library under traffic, in `folder`."""
    (folder / "schema.sql").write_text((LIBRARY / "schema.sql").read_text())
    (folder / "up.sql").write_text(up)
    for name, text in (scripts or {}).items():
        (folder / name).write_text(text)
    scenario = folder / "case.toml"
    scenario.write_text(SCENARIO.format(rows=rows, workload=workload, migration=migration, more=more))
    return read_run(command("run", scenario, "--json", "--out", folder / "reports", cwd=folder))


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., Ran]:
    """Rehearse a migration of the library under traffic."""
    return functools.partial(rehearse_library, tmp_path)
