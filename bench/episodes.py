"""Injected truth: lock episodes drawn at random, and what the observer made of them.

Run as `python -m bench episodes [--episodes N] [--lanes N] [--longest S] [--seed N]`. Each lane is a table, a
session that locks it in a random mode and one that asks for a lock in conflict with that, again and again;
lanes go on side by side. Who waited for whom, for which table, in which mode and for how long is known by the
server's own clock. What is asked of the observer: every wait of 100 ms and more is found, with all of this
right, and none is reported that did not happen. A wait may be missed only in a lapse that it reports itself.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationState
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.model.waits import LockWait, ObserverCost, Role
from rehearse.model.workload import LiveTraffic
from rehearse.observe.observer import Observation, Observer
from rehearse.observe.party import ADVERSARY, MIGRATION, TRAFFIC
from rehearse.provision import provision

PAIRS = tuple((held, asked) for held in LockMode for asked in LockMode if held.conflicts_with(asked))
SHORTEST_S = 0.03
LONGEST_S = 3.0
CERTAIN_NS = 100_000_000
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# who holds and who waits, lane by lane
_CASTS = (
    (MIGRATION, Role.MIGRATION, TRAFFIC, Role.TRAFFIC),
    (TRAFFIC, Role.TRAFFIC, MIGRATION, Role.MIGRATION),
    (f"{ADVERSARY} long-reader", Role.ADVERSARY, TRAFFIC, Role.TRAFFIC),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """One episode: `waited_ns` is from just before the lock was asked for to just before it was let go of,
    by the server's clock; `sent_ns` and `answered_ns` are on ours, outside of that.
    """

    table: Relation
    held: LockMode
    asked: LockMode
    holder: tuple[int, Role]
    waiter: tuple[int, Role]
    sent_ns: int
    answered_ns: int
    waited_ns: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was seen of what happened. `missed` were long enough to be seen; `excused` as well, but overlap
    a lapse that the observer reports.
    """

    found: tuple[tuple[Truth, LockWait], ...]
    missed: tuple[Truth, ...]
    excused: tuple[Truth, ...]
    wrong: tuple[str, ...]
    invented: tuple[LockWait, ...]


@dataclass(slots=True)
class _Stage:
    """What the observer is told: since when each lane's waiter, by its part, has been asking."""

    asking: dict[int, tuple[Role, int]] = field(default_factory=dict)

    def traffic(self) -> LiveTraffic:
        since = [at for role, at in list(self.asking.values()) if role is Role.TRAFFIC]
        return LiveTraffic(oldest_in_flight_ns=min(since, default=None))

    def migration(self) -> MigrationState:
        asking = list(self.asking.items())
        since = min(((at, lane) for lane, (role, at) in asking if role is Role.MIGRATION), default=None)
        return MigrationState(None, since[1], "", since[0]) if since else MigrationState()


class _Lane(threading.Thread):
    """One table and the two sessions that quarrel about it."""

    def __init__(
        self, target: Target, number: int, lengths: Sequence[float], dice: random.Random, stage: _Stage
    ) -> None:
        super().__init__(name=f"lane {number}")
        holder, self._held_by, waiter, self._asked_by = _CASTS[number % len(_CASTS)]
        self._holder, self._waiter = connect(target, holder), connect(target, waiter)
        self._table = Relation("public", f"Lane {number}")
        self._number, self._lengths, self._dice, self._stage = number, lengths, dice, stage
        self.truths: list[Truth] = []
        self.error: BaseException | None = None
        name = sql.Identifier(self._table.schema, self._table.name)
        self._holder.execute(sql.SQL("CREATE TABLE {} (id int)").format(name))

    def run(self) -> None:
        try:
            for length in self._lengths:
                self.truths.append(self._episode(length, *self._dice.choice(PAIRS)))
        except BaseException as error:  # raised by `play`, in the thread that can tell of it
            self.error = error

    def close(self) -> None:
        self._holder.close()
        self._waiter.close()

    def _episode(self, length_s: float, held: LockMode, asked: LockMode) -> Truth:
        self._holder.execute("BEGIN")
        self._holder.execute(self._lock(held))
        sent_ns = time.monotonic_ns()
        self._stage.asking[self._number] = self._asked_by, sent_ns
        waiting = self._waiter.pgconn
        ask = self._lock(asked).as_string(self._waiter)
        waiting.send_query(f"BEGIN; {_CLOCK}; {ask}; COMMIT".encode())
        time.sleep(length_s)
        (released_us,) = self._holder.execute(_CLOCK).fetchone() or (0,)
        self._holder.execute("COMMIT")
        asked_us = _number(self._waiter)
        answered_ns = time.monotonic_ns()
        del self._stage.asking[self._number]
        return Truth(
            table=self._table,
            held=held,
            asked=asked,
            holder=(self._holder.info.backend_pid, self._held_by),
            waiter=(self._waiter.info.backend_pid, self._asked_by),
            sent_ns=sent_ns,
            answered_ns=answered_ns,
            waited_ns=(released_us - asked_us) * 1_000,
        )

    def _lock(self, mode: LockMode) -> sql.Composed:
        name = sql.Identifier(self._table.schema, self._table.name)
        return sql.SQL("LOCK TABLE {} IN {} MODE").format(name, sql.SQL(mode.sql))


def _number(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    """The one number among the answers to what was sent on `connection`."""
    values = []
    while (result := connection.pgconn.get_result()) is not None:
        if result.error_message:
            raise RuntimeError(result.error_message.decode())
        values += [result.get_value(row, 0) for row in range(result.ntuples)]
    return int(values[0] or 0)


def play(
    target: Target, *, episodes: int, lanes: int, seed: int, longest_s: float = LONGEST_S
) -> tuple[Observation, list[Truth]]:
    """`episodes` lock episodes of 30 ms to `longest_s`, spread over `lanes`, observed."""
    dice = random.Random(seed)
    lengths = [SHORTEST_S * (longest_s / SHORTEST_S) ** dice.random() for _ in range(episodes)]
    stage = _Stage()
    running = [_Lane(target, n, lengths[n::lanes], random.Random(seed + n), stage) for n in range(lanes)]
    observer = Observer(target, scripts={}, migration=stage.migration, traffic=stage.traffic)
    observer.start()
    try:
        for lane in running:
            lane.start()
        for lane in running:
            lane.join()
    finally:
        observation = observer.stop()
        for lane in running:
            lane.close()
    for lane in running:
        if lane.error is not None:
            raise lane.error
    return observation, [truth for lane in running for truth in lane.truths]


def compare(observation: Observation, truths: Iterable[Truth], certain_ns: int = CERTAIN_NS) -> Comparison:
    """What the observer saw beside what happened; waits of `certain_ns` and more have to be there."""
    left = list(truths)
    found, wrong, invented = [], [], []
    for wait in observation.waits:
        truth = next((truth for truth in left if _same(truth, wait)), None)
        if truth is None:
            invented.append(wait)
            continue
        left.remove(truth)
        found.append((truth, wait))
        wrong += _faults(truth, wait)
    unseen = [truth for truth in left if truth.waited_ns >= certain_ns]
    excused = [truth for truth in unseen if _lapsed(truth, observation.cost)]
    missed = [truth for truth in unseen if truth not in excused]
    return Comparison(tuple(found), tuple(missed), tuple(excused), tuple(wrong), tuple(invented))


def _same(truth: Truth, wait: LockWait) -> bool:
    inside = truth.sent_ns <= wait.first_seen_ns and wait.last_seen_ns <= truth.answered_ns
    return inside and wait.waiter.pid == truth.waiter[0]


def _faults(truth: Truth, wait: LockWait) -> list[str]:
    """Where the wait differs from the truth."""
    facts = [
        ("lock", (wait.lock_type, wait.relation, wait.mode), ("relation", truth.table, truth.asked)),
        ("waiter", (wait.waiter.pid, wait.waiter.role), truth.waiter),
        (
            "blockers",
            [(b.party.pid, b.party.role, b.mode, b.queued) for b in wait.blockers],
            [(*truth.holder, truth.held, False)],
        ),
    ]
    return [f"{what} is {seen}, not {true}" for what, seen, true in facts if seen != true]


def _lapsed(truth: Truth, cost: ObserverCost) -> bool:
    return any(start < truth.answered_ns and truth.sent_ns < end for start, end in cost.lapses)


def main() -> int:
    """Play and print; 1 where something was missed, wrong or invented."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--episodes", type=int, default=200)
    options.add_argument("--lanes", type=int, default=8)
    options.add_argument("--longest", type=float, default=LONGEST_S, help="seconds")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with provision(DatabaseSpec()) as server:
        observation, truths = play(
            server.target,
            episodes=given.episodes,
            lanes=given.lanes,
            seed=given.seed,
            longest_s=given.longest,
        )
    result = compare(observation, truths)
    certain = [truth for truth in truths if truth.waited_ns >= CERTAIN_NS]
    short_ns = sorted(truth.waited_ns - wait.at_least_ns for truth, wait in result.found)
    cost = observation.cost
    lines = [
        f"episodes                        {len(truths)}, {len(certain)} of them of 100 ms and more",
        f"found                           {len(result.found)}",
        f"missed, of 100 ms and more      {len(result.missed)}",
        f"missed in a reported lapse      {len(result.excused)}",
        f"mode, table or party wrong      {len(result.wrong)}",
        f"reported, but did not happen    {len(result.invented)}",
        f"its length below the true one   median {short_ns[len(short_ns) // 2] / 1e6:.0f} ms",
        f"                                worst {short_ns[-1] / 1e6:.0f} ms",
        f"samples                         {cost.samples} in {cost.elapsed_ns / 1e9:.0f} s",
        f"their cost, at most             {cost.share:.1%} of a core",
        f"lapses                          {len(cost.lapses)}, {cost.lapsed_ns / 1e9:.1f} s in all",
    ]
    sys.stdout.write("\n".join([*lines, *result.wrong]) + "\n")
    return 1 if result.missed or result.wrong or result.invented else 0


if __name__ == "__main__":
    raise SystemExit(main())
