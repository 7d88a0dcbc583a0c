"""What the observer costs the traffic: throughput and response times with it, over those without it.

Run as `python -m bench observer [--rate N] [--rounds N] [--seconds S]`. One driver sends all along, and the
arms take turns beside it, a second or so each and in another order each round: no observer, an observer while
nothing happens, one that is told of a migration at work all the time, and no observer once more, which
tells what chance alone does. Ratios are of arms within one round; printed is their median over the rounds,
with the interval that holds it in 95 of 100 resamplings. The processor time is that of the observer's thread
and of its session's server process, in parts of one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rehearse.engines.postgres.connect import connect
from rehearse.model.migration import MigrationState
from rehearse.model.scenario import DatabaseSpec, WorkloadSpec
from rehearse.model.target import Target
from rehearse.model.workload import Outcome, SampleColumns, ScriptSource
from rehearse.observe.observer import APPLICATION_NAME, Observer
from rehearse.provision import provision
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

ROWS = 100_000
SCRIPT = """\\set id random(1, :rows)
SELECT payload FROM bench WHERE id = :id;
"""
ARMS = ("off", "calm", "busy", "off again")
GUARD_NS = 300_000_000  # of each turn: the observer connects, the one before it hangs up
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One arm from `start_ns` to `end_ns`; what the observer took meanwhile, in parts of one core."""

    arm: str
    start_ns: int
    end_ns: int
    samples_per_s: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one turn: transactions finished a second, response times in ms."""

    throughput: float
    p50_ms: float
    p99_ms: float


def take_turn(target: Target, driver: Driver, arm: str, seconds: float) -> Turn:
    """The traffic beside `arm` for `seconds` and the guard before them."""
    if arm.startswith("off"):
        time.sleep(GUARD_NS / 1e9)
        start_ns = time.monotonic_ns()
        time.sleep(seconds)
        return Turn(arm, start_ns, time.monotonic_ns())
    observer = _observer(target, driver, arm)
    observer.start()
    with connect(target, "rehearse") as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        (pid,) = connection.execute(query, (APPLICATION_NAME,)).fetchone() or (0,)
    time.sleep(GUARD_NS / 1e9)
    before, start_ns = (observer.cpu_ns(), _cpu_ns(pid)), time.monotonic_ns()
    time.sleep(seconds)
    after, end_ns = (observer.cpu_ns(), _cpu_ns(pid)), time.monotonic_ns()
    cost = observer.stop().cost
    client, server = ((now - then) / (end_ns - start_ns) for now, then in zip(after, before, strict=True))
    return Turn(arm, start_ns, end_ns, cost.samples / (cost.elapsed_ns / 1e9), client, server)


def _cpu_ns(pid: int) -> int:
    """Processor time of a process of this machine."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def _observer(target: Target, driver: Driver, arm: str) -> Observer:
    working = MigrationState(pid=None, statement=0, text="", started_ns=time.monotonic_ns())
    state = working if arm == "busy" else MigrationState()
    return Observer(target, scripts={}, migration=lambda: state, traffic=driver.live)


def figures(samples: SampleColumns, turn: Turn) -> Figures:
    """What the traffic was like in `turn`."""
    scheduled = np.frombuffer(samples.scheduled_ns, dtype=np.int64)
    ended = np.frombuffer(samples.ended_ns, dtype=np.int64)
    ok = np.frombuffer(samples.outcome, dtype=np.int16) == int(Outcome.OK)
    due = ok & (scheduled >= turn.start_ns) & (scheduled < turn.end_ns)
    finished = int(np.count_nonzero(ok & (ended >= turn.start_ns) & (ended < turn.end_ns)))
    p50, p99 = np.percentile((ended - scheduled)[due] / 1e6, (50, 99))
    return Figures(finished / ((turn.end_ns - turn.start_ns) / 1e9), float(p50), float(p99))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rate", type=float, default=4_000.0, help="transactions a second, open loop")
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--rounds", type=int, default=24)
    options.add_argument("--seconds", type=float, default=1.0, help="of each arm in each round")
    given = options.parse_args()
    workload = WorkloadSpec(rate=given.rate, clients=given.clients, variables=(("rows", ROWS),))
    script = parse_script(ScriptSource("point_read", SCRIPT))
    with provision(DatabaseSpec()) as server, tempfile.TemporaryDirectory() as spool:
        _fill(server.target)
        driver = Driver(server.target, (script,), (), workload, 1, Path(spool))
        driver.start()
        try:
            time.sleep(2.0)
            rounds = [
                [take_turn(server.target, driver, arm, given.seconds) for arm in _order(number)]
                for number in range(given.rounds)
            ]
            samples = driver.stop(DRAIN_S)
        finally:
            driver.abort()
    _print([{turn.arm: (turn, figures(samples, turn)) for turn in turns} for turns in rounds])


def _order(number: int) -> tuple[str, ...]:
    """The arms in another order each round."""
    place = number % len(ARMS)
    turned = ARMS[place:] + ARMS[:place]
    return turned if number // len(ARMS) % 2 == 0 else turned[::-1]


def _fill(target: Target) -> None:
    with connect(target, "rehearse") as connection:
        connection.execute("CREATE TABLE bench (id int PRIMARY KEY, payload text)")
        connection.execute(
            "INSERT INTO bench SELECT g, repeat('x', 80) FROM generate_series(1, %s::int) AS g", (ROWS,)
        )
        connection.execute("VACUUM ANALYZE bench")


Rounds = Sequence[dict[str, tuple[Turn, Figures]]]


def _print(rounds: Rounds) -> None:
    head = "arm        tx/s   p50 ms  p99 ms  tx/s ratio             p99 ratio"
    lines = [f"{head:<82} looks/s  thread   server"]
    for arm in ARMS:
        turns, mine = [one[arm][0] for one in rounds], [one[arm][1] for one in rounds]
        line = f"{arm:<10} {statistics.median(f.throughput for f in mine):<6.0f}"
        line += f" {statistics.median(f.p50_ms for f in mine):<7.2f}"
        line += f" {statistics.median(f.p99_ms for f in mine):<7.2f}"
        line += f" {_ratio(rounds, arm, lambda f: f.throughput):<22}"
        line += f" {_ratio(rounds, arm, lambda f: f.p99_ms):<24}"
        line += f" {statistics.median(t.samples_per_s for t in turns):<8.1f}"
        line += f" {statistics.median(t.client_cpu for t in turns):<8.2%}"
        lines.append(f"{line} {statistics.median(t.server_cpu for t in turns):.2%}")
    sys.stdout.write("\n".join(lines) + "\n")


def _ratio(rounds: Rounds, arm: str, value: Callable[[Figures], float]) -> str:
    """`1.002 (0.998 to 1.005)`: the median over the rounds of the ratio to no observer in the same round."""
    ratios = np.array([value(turns[arm][1]) / value(turns["off"][1]) for turns in rounds])
    drawn = np.random.default_rng(1).choice(ratios, (2_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return f"{np.median(ratios):.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
