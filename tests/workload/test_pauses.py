"""Times in which the driver wanted to run and was not served, told apart from those in which it was busy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.model.spans import overlap_ns
from rehearse.model.target import Target
from rehearse.model.workload import Protocol, ScriptSource
from rehearse.provision import Server
from rehearse.workload import gauges as module
from rehearse.workload.agenda import Agenda
from rehearse.workload.driver import Driver
from rehearse.workload.gauges import Gauges
from rehearse.workload.page import Page, make_page_file
from rehearse.workload.script import parse_script
from rehearse.workload.session import Session
from rehearse.workload.spool import Recorder

MS = 1_000_000
STOPPED_S = 0.5


@dataclass(frozen=True)
class Load:
    rate: float | None = 100.0
    clients: int = 2
    processes: int = 2
    protocol: Protocol = Protocol.SIMPLE
    variables: tuple[tuple[str, int], ...] = ()


class Clock:
    """In place of the module `time`."""

    def __init__(self) -> None:
        self.now_ns = 10_000 * MS
        self.cpu_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def process_time_ns(self) -> int:
        return self.cpu_ns

    def pass_by(self, ms: int, *, busy_ms: int = 0) -> int:
        self.now_ns += ms * MS
        self.cpu_ns += busy_ms * MS
        return self.now_ns


@pytest.fixture
def database(server: Server) -> Iterator[Target]:
    create_database(server.target, "pauses")
    yield server.target.on("pauses")
    drop_database(server.target, "pauses")


def test_only_time_that_is_neither_slept_nor_worked_is_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    page = Page(make_page_file(1), 1)
    recorder = Recorder(tmp_path, 0)
    gauges = Gauges(
        page, recorder, Agenda(10, [1], np.random.SeedSequence(1)), [Session(0, Protocol.SIMPLE, [], {})]
    )
    gauges.publish(clock.now_ns)
    gauges.publish(clock.pass_by(900))  # before time zero, while it waits to be told of it
    gauges.start(clock.now_ns)
    gauges.publish(clock.pass_by(45))  # asleep for as long as it may be, and a little late
    gauges.publish(clock.pass_by(500, busy_ms=460))
    assert page.pauses() == []
    gauges.publish(clock.pass_by(500, busy_ms=100))
    recorder.close()
    assert page.pauses() == [(clock.now_ns - 380 * MS, clock.now_ns)]


def test_a_driver_that_was_stopped_says_for_how_long(database: Target, tmp_path: Path) -> None:
    script = parse_script(ScriptSource("one", "select 1;\n", file="one.sql"))
    driver = Driver(database, [script], (), Load(), 1, tmp_path)
    try:
        driver.start()
        deadline = time.monotonic() + 60
        while driver.live().finished < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pids = [worker._process.pid for worker in driver._workers]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        stopped_ns = time.monotonic_ns()
        time.sleep(STOPPED_S)
        resumed_ns = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        driver.stop(60.0)
        pauses = driver.health((0, 2**62)).pauses
    finally:
        driver.abort()
    assert overlap_ns(pauses, stopped_ns, resumed_ns) >= STOPPED_S * 1e9 / 2
