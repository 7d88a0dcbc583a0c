"""A driver run against a table, for tests of it: what is sent, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target
from rehearse.model.workload import (
    DriverHealth,
    LiveTraffic,
    Outcome,
    Pool,
    Protocol,
    SampleColumns,
    ScriptSource,
)
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

READ = "\\set id random(1, 100)\nselect payload from t where id = :id;\n"

WRITE = """\\set id random(1, 100)
begin;
update t set n = n + 1 where id = :id;
select n from t where id = :id;
end;
"""

SESSIONS = (
    "from pg_stat_activity where application_name = 'rehearse-traffic' and datname = current_database()"
)

EVER = (0, 2**62)

PATIENCE_S = 60.0  # for what takes a fraction of a second on a machine that has nothing else to do

# where the connection might be encrypted, libpq reads and writes, and we do not
PERHAPS_ENCRYPTED = (("gssencmode", "prefer"),)


@dataclass(frozen=True)
class Load:
    rate: float | None = 200.0
    clients: int = 4
    processes: int = 1
    protocol: Protocol = Protocol.PREPARED
    variables: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Ran:
    samples: SampleColumns
    health: DriverHealth
    zero_ns: int
    stopped_ns: int  # the order to stop was not given before
    halted_ns: int  # and had been given to every process by then

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(Outcome(code) for code in self.samples.outcome)

    @property
    def errors(self) -> Counter[str]:
        return Counter(self.samples.sqlstates[code] for code in self.samples.sqlstate if code >= 0)

    def latency_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ended = np.frombuffer(self.samples.ended_ns, dtype=np.int64)
        return (ended - np.frombuffer(self.samples.scheduled_ns, dtype=np.int64)) / 1e9


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def awaited(driver: Driver, condition: Callable[[LiveTraffic], bool]) -> LiveTraffic:
    """The first look at the traffic that is as wanted: the words of one are some milliseconds apart."""
    seen: list[LiveTraffic] = []

    def look() -> bool:
        seen.append(driver.live())
        return condition(seen[-1])

    until(look)
    return seen[-1]


def password_of(target: Target) -> str:
    assert target.password is not None
    return target.password.reveal()


def execute(target: Target, *statements: str) -> None:
    with connect(target, "rehearse") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fetch(target: Target, query: str) -> list[tuple[object, ...]]:
    with connect(target, "rehearse") as connection:
        return connection.execute(query.encode()).fetchall()


def make(target: Target, spool: Path, load: Load, *texts: str, pools: Sequence[Pool] = ()) -> Driver:
    sources = [ScriptSource(f"s{place}", text, file=f"s{place}.sql") for place, text in enumerate(texts)]
    return Driver(target, [parse_script(source) for source in sources], pools, load, 42, spool)


def run(
    target: Target,
    spool: Path,
    load: Load,
    *texts: str,
    seconds: float = 0.4,
    meanwhile: Callable[[Driver], None] = lambda _driver: None,
    drain_s: float = PATIENCE_S,
    pools: Sequence[Pool] = (),
) -> Ran:
    driver = make(target, spool, load, *texts, pools=pools)
    try:
        zero_ns = driver.start()
        meanwhile(driver)
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - zero_ns) / 1e9))
        stopped_ns = time.monotonic_ns()
        driver.halt(drain_s)
        halted_ns = time.monotonic_ns()
        samples = driver.stop(drain_s)
        return Ran(samples, driver.health(EVER), zero_ns, stopped_ns, halted_ns)
    finally:
        driver.abort()
