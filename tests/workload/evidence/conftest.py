"""A server that logs everything, and what pgbench left in its logs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.provision.binaries import embedded_installation

SETTINGS = (
    ("logging_collector", "on"),
    ("log_destination", "stderr,csvlog,jsonlog"),
    ("log_rotation_age", "0"),  # one file of each kind, at midnight as well
    ("log_rotation_size", "0"),
    ("log_min_duration_statement", "0"),
    ("log_error_verbosity", "default"),
    ("log_min_error_statement", "error"),
    ("shared_preload_libraries", "pg_stat_statements"),
)
SUFFIXES = (".log", ".csv", ".json")
PGBENCH_SCHEMA = """
CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
"""


@dataclass(frozen=True)
class Recorded:
    """The server, and the logs of one run of pgbench on it: one file of each kind, of the same statements."""

    server: Server
    logs: Path

    @property
    def target(self) -> Target:
        return self.server.target

    def copied(self) -> Recorded:
        """Itself, with all that was logged so far among its logs."""
        self.flush()
        for suffix in SUFFIXES:
            shutil.copy(self.current(suffix), self.logs)
        return self

    def flush(self) -> None:
        """Until all that was logged so far is in the files: their writer is another process, which writes one
        thing after the other.
        """
        before = {suffix: self._reloads(suffix) for suffix in SUFFIXES}
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 60
        while any(self._reloads(suffix) == count for suffix, count in before.items()):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _reloads(self, suffix: str) -> int:
        return self.current(suffix).read_text().count("received SIGHUP")

    def log(self, suffix: str) -> Path:
        return next(self.logs.glob(f"*{suffix}"))

    def current(self, suffix: str) -> Path:
        """The log that the server is writing."""
        assert self.server.data_directory is not None
        return next((self.server.data_directory / "log").glob(f"*{suffix}"))


def pgbench(target: Target, *words: str) -> None:
    assert target.password is not None
    env = {**os.environ, "PGPASSWORD": target.password.reveal(), "PGSSLMODE": "disable"}
    place = ["-h", target.host, "-p", str(target.port), "-U", target.user]
    program = embedded_installation().bindir / "pgbench"
    subprocess.run([program, *place, *words, target.dbname], env=env, check=True, capture_output=True)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Three runs of pgbench, one for each protocol, 2 clients and 100 transactions a second each."""
    logs = tmp_path_factory.mktemp("logs")
    with provision(DatabaseSpec(settings=SETTINGS)) as server:
        pgbench(server.target, "-i", "-q")
        for protocol in ("simple", "extended", "prepared"):
            pgbench(server.target, "-n", "-M", protocol, "-c", "2", "-R", "100", "-t", "60")
        yield Recorded(server, logs).copied()
