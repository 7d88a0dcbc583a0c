"""Rehearsals killed in a stage, and what each of them left."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from rehearse.provision.engine import engine_client
from tests.provision.runs import GOES, ROOT, SLEEPS, Run, write_case

MORTAL = Path(__file__).with_name("mortal.py")

# The stage of the record, and for how long the run is let into it: initdb takes about a second, and the
# server's start follows it. What a server on a slower machine does then is another part of the same stage.
MOMENTS = (
    ("provision", 0.0),
    ("provision", 1.2),
    ("provision", 0.4),
    ("prepare", 0.0),
    ("load", 0.1),
    ("warm-up", 0.1),
    ("baseline", 0.3),
    ("recovery", 0.1),
    ("migration", 0.1),
    ("judge", 0.0),
)


@contextlib.contextmanager
def dying(stage: str, delay_s: float, folder: Path, provision: str = "embedded") -> Iterator[Run]:
    """A rehearsal, in `folder`, that will be killed there; its servers are under `folder/base`."""
    base = folder / "base"
    base.mkdir()
    base.chmod(0o711)
    up = SLEEPS if stage == "migration" else GOES
    scenario = write_case(folder, provision=provision, up=up, rows="2k", baseline="1s")
    env = os.environ | {"TMPDIR": str(base), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(MORTAL), stage, str(delay_s)]
    command += ["run", str(scenario), "--out", str(folder / "reports")]
    with (
        (folder / "printed").open("w") as printed,
        subprocess.Popen(
            command, env=env, stdout=printed, stderr=printed, text=True, start_new_session=True
        ) as child,
    ):
        try:
            yield Run(child, folder)
        finally:
            child.kill()


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that a server's unprivileged user can pass through."""
    directory = Path(tempfile.mkdtemp(prefix="deaths-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def left_behind(base: Path) -> list[str]:
    """Files under `base`, and processes that have to do with it."""
    left = [str(path) for path in base.iterdir()]
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        words = process.info["cmdline"] or []
        ours = (process.info["environ"] or {}).get("TMPDIR") == str(base)
        if process.info["status"] != psutil.STATUS_ZOMBIE and (ours or any(str(base) in w for w in words)):
            left.append(f"process {process.pid}: {' '.join(words)[:100]}")
    return left


def wait_for_nothing(base: Path, within_s: float) -> float:
    """Seconds until nothing is left; fails, naming what is, after `within_s`."""
    began = time.monotonic()
    while left := left_behind(base):
        assert time.monotonic() - began < within_s, left
        time.sleep(0.02)
    return time.monotonic() - began


def shared_memory() -> set[str]:
    """Segments of both kinds on this machine that no process has in use."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    unused = {f"segment {words[1]}" for words in map(str.split, lines) if words[6] == "0"}
    files = {str(path) for path in Path("/dev/shm").glob("PostgreSQL.*")}
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            files -= {name for name in files if name in maps}
    return unused | files


def containers_of(pid: int) -> list[Any]:
    """Containers, then networks, that carry the label of that process."""
    with engine_client() as client:
        label = {"label": f"rehearse.pid={pid}"}
        # one that comes or goes at this moment may be listed and not be there
        containers = client.containers.list(all=True, filters=label, ignore_removed=True)
        return [*containers, *client.networks.list(filters=label)]
