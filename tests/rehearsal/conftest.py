"""Whole rehearsals through the command line, on a schema that no demo was made for."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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
warm_up = "300ms"
baseline = "1500ms"
recovery = "{recovery}"
{workload}

[migration]
up = "up.sql"
{migration}

[production]
rows = {{ loans = "200M", members = "20M", branches = 300, loan_events = "900M" }}

{more}
"""

ALONE = '[trials]\nrun = "traffic"\n'
# No machine stands still for so long; what is read or built under a lock takes longer by far in production.
PATIENT = """
[gates]
"stall.max" = "<= 5m"
"latency.p99{phase=migration}" = "off"
"blocking.projected" = "<= 30s"
"""
# What a machine that is busy with other things may be found at, however patient the gates.
BY_CHANCE = {"driver-behind", "sampler-gap"}


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


def command(*words: str | Path, cwd: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
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


def run_library(
    folder: Path,
    up: str,
    *,
    rows: str = "60k",
    workload: str = "",
    migration: str = "",
    more: str = "",
    recovery: str = "1500ms",
    scripts: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Rehearse a migration of the library under traffic, in `folder`."""
    (folder / "schema.sql").write_text((LIBRARY / "schema.sql").read_text())
    (folder / "up.sql").write_text(up)
    for name, text in (scripts or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    scenario = folder / "case.toml"
    parts = {"rows": rows, "workload": workload, "migration": migration, "more": more, "recovery": recovery}
    scenario.write_text(SCENARIO.format(**parts))
    return command("run", scenario, "--json", "--out", folder / "reports", cwd=folder)


def rehearse_library(folder: Path, up: str, **parts: Any) -> Ran:  # the parts are those of `run_library`
    """A rehearsal of the library that comes to a verdict."""
    return read_run(run_library(folder, up, **parts))


@contextmanager
def side_by_side(cases: Mapping[str, Callable[[], Any]]) -> Iterator[dict[str, Future[Any]]]:
    """Several rehearsals, two at a time: for those of which no outcome rests on a quiet machine."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(case) for name, case in cases.items()}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., Ran]:
    """Rehearse a migration of the library under traffic."""
    return functools.partial(rehearse_library, tmp_path)
