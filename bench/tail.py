"""The tail of the response times beside pgbench's own log: at half load, and behind a lock of three seconds.

Run as `python -m bench.tail [--seconds S] [--rounds N]`. Both count from the scheduled start. The two take
turns on one server; what is printed are medians over the rounds.
"""

from __future__ import annotations

import argparse
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

from bench.driver import Bench
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
CLIENTS = 32
LOCK_S = 3.0


@dataclass(frozen=True, slots=True)
class Tail:
    """Transactions, percentiles in ms, and how many took longer than a second."""

    transactions: float
    p50_ms: float
    p99_ms: float
    over_1s: float


def tail(latency_ms: NDArray[np.float64]) -> Tail:
    """Of every transaction's response time."""
    p50, p99 = np.percentile(latency_ms, [50, 99], method="inverted_cdf")
    return Tail(float(latency_ms.size), float(p50), float(p99), float((latency_ms > 1000).sum()))


def theirs(bench: Bench, rate: float) -> Tail:
    """pgbench's per-transaction log: its third field is the response time in us, schedule lag included."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder, "log"))
        words = ["-n", "-M", "prepared", "-j", "1", "-c", str(CLIENTS), "-b", "select-only"]
        bench.pgbench(*words, "-R", f"{rate:.0f}", "-T", f"{bench.seconds:.0f}", "-l", "--log-prefix", prefix)
        logs = [np.loadtxt(path, usecols=2, ndmin=1) for path in Path(folder).iterdir()]
    return tail(np.concatenate(logs) / 1e3)


def ours(bench: Bench, rate: float) -> Tail:
    """The driver's samples."""
    script = parse_script(ScriptSource("select-only", BUILT_IN["select-only"]))
    load = WorkloadSpec(rate=rate, clients=CLIENTS, variables=(("scale", SCALE),))
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(bench.target, [script], [], load, 1, Path(folder))
        driver.start()
        time.sleep(bench.seconds)
        samples = driver.stop(20.0)
    ended, due = (
        np.frombuffer(column, dtype=np.int64) for column in (samples.ended_ns, samples.scheduled_ns)
    )
    return tail((ended - due) / 1e6)


def locked(target: Target, run: Callable[[], Tail]) -> Tail:
    """`run`, with pgbench_accounts locked for three seconds from its third second on."""

    def lock() -> None:
        time.sleep(3.0)
        with connect(target, "rehearse", autocommit=False) as connection:
            connection.execute("LOCK TABLE pgbench_accounts")
            time.sleep(LOCK_S)
            connection.rollback()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        return run()
    finally:
        thread.join()


def report(title: str, pairs: list[tuple[Tail, Tail]]) -> None:
    """Medians of both and the median ratio."""
    sys.stdout.write(title + "\n")
    for field, label in (
        ("transactions", "transactions"),
        ("p50_ms", "p50, ms"),
        ("p99_ms", "p99, ms"),
        ("over_1s", "longer than 1 s"),
    ):
        values = [(getattr(a, field), getattr(b, field)) for a, b in pairs]
        first, second = (statistics.median(side) for side in zip(*values, strict=True))
        ratios = [b / a for a, b in values if a]
        ratio = f"ratio {statistics.median(ratios):.3f}" if ratios else ""
        sys.stdout.write(f"  {label:<18} pgbench {first:>10.3f}   rehearse {second:>10.3f}   {ratio}\n")
    sys.stdout.flush()


def main() -> None:
    """Provision, fill, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "bench")
        target = server.target.on("bench")
        bench = Bench(target, given.seconds, CLIENTS, SCALE)
        bench.pgbench("-i", "-q", "-s", str(SCALE))
        half = 5000.0
        pairs = [(theirs(bench, half), ours(bench, half)) for _ in range(given.rounds)]
        report(f"point SELECT at {half:.0f}/s", pairs)
        pairs = [
            (locked(target, lambda: theirs(bench, 500)), locked(target, lambda: ours(bench, 500)))
            for _ in range(given.rounds)
        ]
        report("500/s behind an ACCESS EXCLUSIVE lock of 3 s", pairs)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"pgbench failed: {error.stderr.strip().splitlines()[-1:]}")
