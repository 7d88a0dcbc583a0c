"""What the traffic makes of a server that dies, stops answering, or never answers; and of its own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database
from rehearse.errors import EnvironmentFailure
from rehearse.model.scenario import DatabaseSpec, WorkloadSpec
from rehearse.model.target import Target
from rehearse.model.workload import Outcome, ScriptSource
from rehearse.provision import Server, provision
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

READ = "\\set id random(1, 100)\nselect n from t where id = :id;\n"
WRITE = "\\set id random(1, 100)\nbegin;\nupdate t set n = n + 1 where id = :id;\nend;\n"
LOAD = WorkloadSpec(rate=200.0, clients=4, processes=1)
PATIENCE_S = 60.0  # for what takes a fraction of a second on a machine that has nothing else to do


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """One that may be mistreated."""
    with provision(DatabaseSpec()) as running:
        create_database(running.target, "traffic")
        with connect(running.target.on("traffic"), "rehearse") as connection:
            connection.execute("create table t (id int primary key, n int not null default 0)")
            connection.execute("insert into t select i from generate_series(1, 100) i")
        yield running


@pytest.fixture
def target(own_server: Server) -> Target:
    return own_server.target.on("traffic")


def traffic(target: Target, spool: Path) -> Driver:
    scripts = [parse_script(ScriptSource(name, text)) for name, text in (("read", READ), ("write", WRITE))]
    return Driver(target, scripts, [], LOAD, 42, spool)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def halted(server: Server) -> Iterator[None]:
    """All processes of the server stand still."""
    assert server.pid is not None
    main = psutil.Process(server.pid)
    main.suspend()  # first, so that it starts no more of them
    children = main.children(recursive=True)
    for process in children:
        with suppress(psutil.NoSuchProcess):  # somebody who was about to leave
            process.suspend()
    try:
        yield
    finally:
        for process in (*children, main):
            with suppress(psutil.NoSuchProcess):
                process.resume()


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """The driver's processes under `parent` that run."""
    found = []
    for process in parent.children():
        with suppress(psutil.NoSuchProcess):  # which a zombie is as well
            if "rehearse.workload.worker" in process.cmdline():
                found.append(process)
    return found


def test_traffic_goes_on_after_the_server_was_killed_and_came_back(
    own_server: Server, target: Target, tmp_path: Path
) -> None:
    driver = traffic(target, tmp_path)
    try:
        zero_ns = driver.start()
        until(lambda: driver.live().finished > 50)
        own_server.kill()
        killed_ns = time.monotonic_ns()
        time.sleep(0.3)
        before = driver.live().finished
        back_ns = time.monotonic_ns()
        own_server.restart()
        until(lambda: driver.live().finished > before + 100)
        samples = driver.stop(PATIENCE_S)
        health = driver.health((zero_ns, killed_ns))
    finally:
        driver.abort()
    outcome = np.frombuffer(samples.outcome, dtype=np.int16)
    due, ended = (
        np.frombuffer(column, dtype=np.int64) for column in (samples.scheduled_ns, samples.ended_ns)
    )
    assert set(outcome.tolist()) <= {Outcome.OK, Outcome.CONNECTION_LOST}
    lost = outcome == Outcome.CONNECTION_LOST
    assert lost.sum() <= LOAD.clients  # what was out, if anything was; all else is not lost, it waits
    meanwhile = (due > killed_ns) & (due < back_ns) & ~lost
    assert meanwhile.sum() > 10
    assert (ended[meanwhile] > back_ns).all()  # the gap is in the latencies
    assert (ended - due).max() > 0.2e9
    assert health.reconnects >= LOAD.clients
    assert health.finished == (outcome == Outcome.OK).sum()
    assert health.peak_queue > 10
    states = Counter(samples.sqlstates[code] for code in samples.sqlstate if code >= 0)
    assert set(states) <= {"08006", "57P01", "57P02"}


def test_a_server_that_accepts_and_does_not_answer_is_an_environment_failure(
    own_server: Server, target: Target, tmp_path: Path
) -> None:
    driver = traffic(target, tmp_path)
    with halted(own_server), pytest.raises(EnvironmentFailure, match="does not answer"):
        driver.start(1.5)
    assert not workers_of(psutil.Process())


def test_the_end_does_not_wait_for_a_server_that_stands_still(
    own_server: Server, target: Target, tmp_path: Path
) -> None:
    driver = traffic(target, tmp_path)
    try:
        driver.start()
        until(lambda: driver.live().finished > 20)
        with halted(own_server):
            # more than could be served by answers that were on their way when the server was halted
            until(lambda: driver.live().queued >= LOAD.clients)
            samples = driver.stop(0.2)
    finally:
        driver.abort()
    outcomes = Counter(samples.outcome)
    assert outcomes[Outcome.OK] > 20
    assert outcomes[Outcome.UNFINISHED] >= LOAD.clients
    assert set(outcomes) == {Outcome.OK, Outcome.UNFINISHED}


def test_a_worker_that_was_killed_is_an_environment_failure(target: Target, tmp_path: Path) -> None:
    driver = traffic(target, tmp_path)
    try:
        driver.start()
        workers = workers_of(psutil.Process())
        os.kill(workers[0].pid, signal.SIGKILL)
        with pytest.raises(EnvironmentFailure, match="died"):
            driver.stop(PATIENCE_S)
    finally:
        driver.abort()


def password_of(target: Target) -> str:
    assert target.password is not None
    return target.password.reveal()


@pytest.fixture
def conductor(target: Target, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a driver and says so."""
    program = f"""
import sys, time
from pathlib import Path
from rehearse.model.scenario import WorkloadSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.model.workload import ScriptSource
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script
target = Target(
    EngineName.POSTGRES, {target.host!r}, {target.port}, {target.dbname!r}, {target.user!r},
    Secret(sys.argv[1]),
)
script = parse_script(ScriptSource("s", {READ!r}))
driver = Driver(target, [script], [], WorkloadSpec(clients=4, processes=2), 1, Path({str(tmp_path)!r}))
driver.start()
while driver.live().finished < 20:
    time.sleep(0.01)
print("started", flush=True)
sys.stdin.read()
"""
    arguments = [sys.executable, "-c", program, password_of(target)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


def _runs(process: psutil.Process) -> bool:
    """A process that has ended but that nobody has waited for does not run."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killing_the_parent_leaves_no_worker(conductor: subprocess.Popen[bytes], tmp_path: Path) -> None:
    workers = workers_of(psutil.Process(conductor.pid))
    assert len(workers) == 2
    os.kill(conductor.pid, signal.SIGKILL)
    until(lambda: not any(map(_runs, workers)))
    assert list(tmp_path.glob("*.samples"))  # and what was measured is kept


def test_an_aborted_run_leaves_nothing_and_tells_nobody_the_password(target: Target, tmp_path: Path) -> None:
    threads = threading.active_count()
    driver = traffic(target, tmp_path)
    driver.start()
    workers = workers_of(psutil.Process())
    seen = [(" ".join(worker.cmdline()), str(worker.environ())) for worker in workers]
    driver.abort()
    driver.abort()
    assert len(seen) == LOAD.processes
    assert not any(password_of(target) in text for texts in seen for text in texts)
    assert threading.active_count() <= threads
    assert not workers_of(psutil.Process())
