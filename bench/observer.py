"""What the observer costs the traffic: throughput and response times with it, over those without it.

Run as `python bench/observer.py [--rate N] [--rounds N] [--seconds S]`. The arms take turns on one server: no
observer, an observer while nothing happens, and one that believes a migration to be at work all the time, so
that it looks as often as it ever does. What is printed are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rehearse.engines.postgres.connect import connect
from rehearse.model.migration import MigrationState
from rehearse.model.scenario import DatabaseSpec, WorkloadSpec
from rehearse.model.target import Target
from rehearse.model.waits import ObserverCost
from rehearse.model.workload import Outcome, SampleColumns, ScriptSource
from rehearse.observe.observer import Observer
from rehearse.provision import provision
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

ROWS = 100_000
SCRIPT = """\\set id random(1, :rows)
SELECT payload FROM bench WHERE id = :id;
"""
ARMS = ("off", "calm", "dense")
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Round:
    """One arm for some seconds: transactions finished a second, response times in ms."""

    throughput: float
    p50_ms: float
    p99_ms: float
    cost: ObserverCost | None


def measure(target: Target, workload: WorkloadSpec, seconds: float, arm: str, number: int) -> Round:
    """Traffic of `workload` for `seconds`, observed as `arm` says."""
    script = parse_script(ScriptSource("point_read", SCRIPT))
    with tempfile.TemporaryDirectory() as spool:
        driver = Driver(target, (script,), (), workload, number, Path(spool))
        observer = _observer(target, driver, arm) if arm != "off" else None
        start_ns = driver.start()
        try:
            if observer is not None:
                observer.start()
            time.sleep(max(0.0, seconds - (time.monotonic_ns() - start_ns) / 1e9))
            cost = observer.stop().cost if observer is not None else None
            samples = driver.stop(DRAIN_S)
        finally:
            driver.abort()
    return _round(samples, start_ns, seconds, cost)


def _observer(target: Target, driver: Driver, arm: str) -> Observer:
    busy = MigrationState(pid=None, statement=0, text="", started_ns=time.monotonic_ns())
    state = busy if arm == "dense" else MigrationState()
    return Observer(target, scripts={}, migration=lambda: state, traffic=driver.live)


def _round(samples: SampleColumns, start_ns: int, seconds: float, cost: ObserverCost | None) -> Round:
    """The first fifth is left out: caches fill, the observer connects."""
    scheduled = np.frombuffer(samples.scheduled_ns, dtype=np.int64)
    ended = np.frombuffer(samples.ended_ns, dtype=np.int64)
    ok = np.frombuffer(samples.outcome, dtype=np.int16) == int(Outcome.OK)
    from_ns, to_ns = start_ns + round(seconds * 0.2e9), start_ns + round(seconds * 1e9)
    latency_ms = (ended - scheduled)[ok & (scheduled >= from_ns) & (scheduled < to_ns)] / 1e6
    finished = int(np.count_nonzero(ok & (ended >= from_ns) & (ended < to_ns)))
    p50, p99 = np.percentile(latency_ms, (50, 99))
    return Round(finished / ((to_ns - from_ns) / 1e9), float(p50), float(p99), cost)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rate", type=float, default=4_000.0, help="transactions a second, open loop")
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=5.0, help="of each arm in each round")
    given = options.parse_args()
    workload = WorkloadSpec(rate=given.rate, clients=given.clients, variables=(("rows", ROWS),))
    results: dict[str, list[Round]] = {arm: [] for arm in ARMS}
    with provision(DatabaseSpec()) as server:
        _fill(server.target)
        for number in range(given.rounds):
            for arm in ARMS:
                results[arm].append(measure(server.target, workload, given.seconds, arm, number))
    _print(results)


def _fill(target: Target) -> None:
    with connect(target, "rehearse") as connection:
        connection.execute("CREATE TABLE bench (id int PRIMARY KEY, payload text)")
        connection.execute(
            "INSERT INTO bench SELECT g, repeat('x', 80) FROM generate_series(1, %s::int) AS g", (ROWS,)
        )
        connection.execute("VACUUM ANALYZE bench")


def _print(results: dict[str, list[Round]]) -> None:
    def median(arm: str, value: Callable[[Round], float]) -> float:
        return statistics.median(value(one) for one in results[arm])

    lines = ["arm     tx/s      p50 ms   p99 ms   tx/s ratio  p99 ratio  observer's share  samples/s"]
    for arm in ARMS:
        throughput, p99 = median(arm, lambda one: one.throughput), median(arm, lambda one: one.p99_ms)
        line = f"{arm:<7} {throughput:<9.0f} {median(arm, lambda one: one.p50_ms):<8.2f} {p99:<8.2f}"
        line += f" {throughput / median('off', lambda one: one.throughput):<11.3f}"
        line += f" {p99 / median('off', lambda one: one.p99_ms):<10.2f}"
        costs = [one.cost for one in results[arm] if one.cost is not None]
        if costs:
            share = statistics.median(cost.share for cost in costs)
            often = statistics.median(cost.samples / (cost.elapsed_ns / 1e9) for cost in costs)
            line += f" {share:<17.1%} {often:.1f}"
        lines.append(line)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
