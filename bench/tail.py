"""The tail of the response times beside pgbench's own log: at half load, and behind a lock of three seconds.

Run as `python -m bench.tail [--rounds N]`. Both count from the scheduled start, both sides' arrivals are
Poisson, and of both the same span of time counts: what was due in it, whenever it was answered. The two take
turns on one server. What is printed are medians over the rounds, of the ratios as well; counts are random in
both, so theirs are summed over the rounds and come with what chance alone allows, as one standard error: with
15 locks on either side, as by default, 1.2 % for what took more than a second, and 0.7 % for all. The share
that took more than a second of those that were due more than a second before a lock's end does not depend on
how many there happened to be.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.driver import CASES, Bench
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database
from rehearse.model.scenario import DatabaseSpec, WorkloadSpec
from rehearse.model.target import Target
from rehearse.model.workload import ScriptSource
from rehearse.provision import provision
from rehearse.scenario.scripts import BUILT_IN
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

SCALE = 10
HALF_CLIENTS, LOCK_CLIENTS = 8, 32
LOCK_AT_S, LOCK_S = 2.0, 3.0  # the first from when the traffic is seen to run
LOCKS = 5  # in one run
_BUSY = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT abalance%' LIMIT 1"
BEFORE_S, AFTER_S = 1.0, 5.0  # of the span that counts, from the moment the lock is held
SLOW_S = 1.0
SETTLING_S = 1.0  # at the beginning of a run without a lock, which does not count
RATE = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Every transaction: when it was due (s since the epoch), its response time, its lag (ms)."""

    due_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    lag_ms: NDArray[np.float64]

    def between(self, start_s: float, end_s: float) -> Log:
        """What was due then."""
        chosen = (self.due_s >= start_s) & (self.due_s < end_s)
        return Log(self.due_s[chosen], self.latency_ms[chosen], self.lag_ms[chosen])


Runner = Callable[[Bench, float], Log]
Lock = tuple[float, float]
"""From when to when it was held, in s since the epoch."""


def theirs(bench: Bench, rate: float) -> Log:
    """pgbench's per-transaction log: response time (us, lag included), and lag; when it ended."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder, "log"))
        words = ["-n", "-M", "prepared", "-j", "1", "-c", str(bench.clients), "-b", "select-only"]
        bench.pgbench(*words, "-R", f"{rate:.0f}", "-T", f"{bench.seconds:.0f}", "-l", "--log-prefix", prefix)
        fields = (2, 4, 5, 6)
        logs = [np.loadtxt(path, usecols=fields, ndmin=2) for path in Path(folder).iterdir()]
    latency_us, seconds, micros, lag_us = np.concatenate(logs).T
    return Log(seconds + (micros - latency_us) / 1e6, latency_us / 1e3, lag_us / 1e3)


def ours(bench: Bench, rate: float) -> Log:
    """The driver's samples."""
    script = parse_script(ScriptSource("select-only", BUILT_IN["select-only"]))
    load = WorkloadSpec(rate=rate, clients=bench.clients, variables=(("scale", SCALE),))
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(bench.target, [script], [], load, 1, Path(folder))
        driver.start()
        time.sleep(bench.seconds)
        samples = driver.stop(20.0)
    due, started, ended = (
        np.frombuffer(column, dtype=np.int64)
        for column in (samples.scheduled_ns, samples.started_ns, samples.ended_ns)
    )
    epoch_ns = time.time_ns() - time.monotonic_ns()
    return Log((due + epoch_ns) / 1e9, (ended - due) / 1e6, (started - due) / 1e6)


def steady(run: Runner, bench: Bench, rate: float) -> Log:
    """A run without its first second."""
    log = run(bench, rate)
    start_s = float(log.due_s.min())
    return log.between(start_s + SETTLING_S, start_s + bench.seconds - SETTLING_S)


def locked(run: Runner, bench: Bench, rate: float) -> tuple[Log, int, int]:
    """A run with pgbench_accounts locked for three seconds again and again: what was due in the spans around
    the locks; how many were due more than a second before the end of one, and how many of those took longer.
    """
    locks: list[Lock] = []

    def lock() -> None:
        with connect(bench.target, "rehearse", autocommit=False) as connection:
            while connection.execute(_BUSY).fetchone() is None:
                connection.rollback()
                time.sleep(0.05)
            time.sleep(LOCK_AT_S)
            for _ in range(LOCKS):
                connection.execute("LOCK TABLE pgbench_accounts")
                held = time.time()
                time.sleep(LOCK_S)
                locks.append((held, time.time()))
                connection.rollback()
                time.sleep(BEFORE_S + AFTER_S - LOCK_S)

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        log = run(bench, rate)
    finally:
        thread.join()
    spans = [log.between(held - BEFORE_S, held + AFTER_S) for held, _ in locks]
    caught = [log.between(held, released - SLOW_S) for held, released in locks]
    return joined(spans), len(joined(caught).due_s), slow(joined(caught))


def joined(logs: list[Log]) -> Log:
    """One after the other."""
    columns = zip(*((log.due_s, log.latency_ms, log.lag_ms) for log in logs), strict=True)
    return Log(*map(np.concatenate, columns))


def slow(log: Log) -> int:
    """How many took longer than a second."""
    return int((log.latency_ms > SLOW_S * 1e3).sum())


def percentile(values: NDArray[np.float64], share: float) -> float:
    """The value that `share` percent are at or under."""
    return float(np.percentile(values, share, method="inverted_cdf"))


def line(label: str, pairs: list[tuple[float, float]]) -> str:
    """Medians of both sides, and the median ratio."""
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs if a)
    return f"  {label:<22} pgbench {first:>10.3f}   rehearse {second:>10.3f}   ratio {ratio:.3f}"


def count_line(label: str, pairs: list[tuple[int, int]]) -> str:
    """Sums of both sides, their ratio, and the standard error that Poisson counts have."""
    first, second = (sum(side) for side in zip(*pairs, strict=True))
    error = math.sqrt(1 / max(first, 1) + 1 / max(second, 1))
    ratio = second / max(first, 1)
    return f"  {label:<22} pgbench {first:>10}   rehearse {second:>10}   ratio {ratio:.3f} +- {error:.3f}"


def report(title: str, logs: list[tuple[Log, Log]]) -> None:
    """The times of one case."""
    say(title)
    for label, field, share in (
        ("p50, ms", "latency_ms", 50.0),
        ("p99, ms", "latency_ms", 99.0),
        ("schedule lag p99, ms", "lag_ms", 99.0),
    ):
        both = [[percentile(getattr(log, field), share) for log in pair] for pair in logs]
        say(line(label, [(first, second) for first, second in both]))


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def half_load(target: Target, rounds: int, seconds: float) -> None:
    """At half of what pgbench reaches in a closed loop."""
    bench = Bench(target, seconds, HALF_CLIENTS, SCALE)
    rate = bench.theirs(CASES[0], None).tps / 2
    logs = [(steady(theirs, bench, rate), steady(ours, bench, rate)) for _ in range(rounds)]
    report(f"point SELECT at {rate:.0f}/s, half of what pgbench can, {HALF_CLIENTS} clients", logs)


def behind_a_lock(target: Target, rounds: int) -> None:
    """500 a second while a table is locked for three, several times."""
    bench = Bench(target, LOCK_AT_S + LOCKS * (BEFORE_S + AFTER_S) + 1.0, LOCK_CLIENTS, SCALE)
    pairs = [(locked(theirs, bench, RATE), locked(ours, bench, RATE)) for _ in range(rounds)]
    logs = [(a[0], b[0]) for a, b in pairs]
    report(f"{RATE:.0f}/s behind {rounds * LOCKS} ACCESS EXCLUSIVE locks of {LOCK_S:.0f} s", logs)
    say(count_line("longer than 1 s", [(slow(a), slow(b)) for a, b in logs]))
    say(count_line("transactions", [(len(a.due_s), len(b.due_s)) for a, b in logs]))
    caught, longer = (
        [sum(side[place] for side in sides) for sides in zip(*pairs, strict=True)] for place in (1, 2)
    )
    shares = [100 * many / max(of, 1) for of, many in zip(caught, longer, strict=True)]
    say(line("of those due in it, %", [(shares[0], shares[1])]))


def main() -> None:
    """Provision, fill, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of a run at half load")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "bench")
        target = server.target.on("bench")
        Bench(target, 1, 1, SCALE).pgbench("-i", "-q", "-s", str(SCALE))
        half_load(target, given.rounds, given.seconds)
        behind_a_lock(target, given.rounds)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"pgbench failed: {error.stderr.strip().splitlines()[-1:]}")
