"""A small rehearsal as a process, to be watched and killed by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]

SCHEMA = """
CREATE TABLE parcels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    weight_g int NOT NULL,
    label text
);
"""
READ = "\\set id random(1, 20000)\nSELECT weight_g FROM parcels WHERE id = :id;\n"
WRITE = "\\set id random(1, 20000)\nUPDATE parcels SET weight_g = weight_g + 1 WHERE id = :id;\n"
SCENARIO = """
[database]
provision = "{provision}"

[dataset]
schema = "schema.sql"
rows = "{rows}"

[workload]
rate = 100
clients = 4
scripts = ["read.sql@3", "write.sql@1"]
warm_up = "1s"
baseline = "{baseline}"
recovery = "1s"

[migration]
up = "up.sql"

[production]
rows = "{production_rows}"
"""
GOES = "ALTER TABLE parcels ADD COLUMN note text;"
FAILS = "ALTER TABLE parcels ALTER COLUMN weight_g TYPE bigint;"
SLEEPS = "SELECT count(pg_sleep(0.01)) FROM parcels;"  # nothing at all on an empty table


def write_case(
    folder: Path,
    *,
    provision: str = "embedded",
    up: str = GOES,
    rows: str = "30k",
    baseline: str = "2s",
    production_rows: str = "5M",
    more: str = "",
) -> Path:
    """A scenario with everything it names, in `folder`."""
    for name, text in (("schema.sql", SCHEMA), ("read.sql", READ), ("write.sql", WRITE), ("up.sql", up)):
        (folder / name).write_text(text)
    path = folder / "case.toml"
    words = {"provision": provision, "rows": rows, "baseline": baseline, "production_rows": production_rows}
    path.write_text(SCENARIO.format(**words) + more)
    return path


class Run:
    """`rehearse run` under way, and its record as it is written."""

    def __init__(self, child: subprocess.Popen[str], folder: Path) -> None:
        self.child = child
        self.folder = folder

    def record(self) -> dict[str, Any]:
        """run.json; empty as long as there is none."""
        for path in self.folder.glob("reports/*/run.json"):
            words: dict[str, Any] = json.loads(path.read_text())
            return words
        return {}

    def wait_for(self, stage: str, within_s: float = 240.0) -> None:
        """Until the run is in `stage`."""
        until(lambda: self.record().get("stage") == stage or self.child.poll() is not None, within_s)
        assert self.record().get("stage") == stage, self.child.communicate()

    def processes(self) -> list[psutil.Process]:
        """All processes under it: wardens, servers, workers."""
        return psutil.Process(self.child.pid).children(recursive=True)


@contextlib.contextmanager
def running(scenario: Path, base: Path) -> Iterator[Run]:
    """The rehearsal of `scenario` as a process with its servers under `base`."""
    folder = scenario.parent
    env = os.environ | {"TMPDIR": str(base), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rehearse", "run", str(scenario), "--out", str(folder / "reports")]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            yield Run(child, folder)
        finally:
            child.kill()


def until(condition: Callable[[], bool], within_s: float) -> None:
    """Wait; fails if it takes longer."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not any(_runs(process) for process in processes)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
