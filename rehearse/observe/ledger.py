"""From snapshots to waits: sightings of one and the same wait are put together. No clock, no database."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from rehearse.engines.postgres.activity import Obstacle, Snapshot, Waiting
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationState
from rehearse.model.relation import Relation
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.observe.clock import ClockBounds
from rehearse.observe.party import ScriptNames, party

SHORTEST_KEPT_NS = 10_000_000
MOST_KEPT = 2_000
MOST_BLOCKERS = 16

_NO_MIGRATION = MigrationState()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A snapshot, and what the migration was doing just before it and just after it."""

    snapshot: Snapshot
    before: MigrationState = _NO_MIGRATION
    after: MigrationState = _NO_MIGRATION


@dataclass(frozen=True, slots=True)
class Folded:
    """What came of the snapshots: all waits of the migration and those of others of at least 10 ms, by
    their beginning. `dropped` waits are not among them because there were so many longer ones.
    """

    waits: tuple[LockWait, ...] = ()
    dropped: int = 0


def fold(sightings: Iterable[Sighting], scripts: ScriptNames | None = None) -> Folded:
    """The waits seen in `sightings`, which come in the order of time.

    Every wait reported was one wait, and lies wholly within the time that it truly lasted.
    """
    ledger = WaitLedger(scripts)
    for sighting in sightings:
        ledger.add(sighting)
    return ledger.folded()


class _Key(NamedTuple):
    """One wait: a session cannot begin to wait twice at one time."""

    pid: int
    lock_type: str
    object: str
    mode: LockMode | None
    since_us: int


@dataclass(slots=True)
class _Open:
    """A wait that was still going on when last looked at."""

    waiter: Party
    relation: Relation | None
    first_ns: int
    last_ns: int
    blockers: dict[int, Blocker]


class WaitLedger:
    """The fold, a snapshot at a time, holding no more than it will report."""

    def __init__(self, scripts: ScriptNames | None = None, *, most_kept: int = MOST_KEPT) -> None:
        self._scripts = scripts or ScriptNames({})
        self._clock: ClockBounds | None = None
        self._seen_until_ns: int | None = None  # what waits at a snapshot and not at this time is new
        self._open: dict[_Key, _Open] = {}
        self._migration = _Longest(most_kept)
        self._others = _Longest(most_kept)

    def add(self, sighting: Sighting) -> None:
        """Take in the next snapshot."""
        snapshot = sighting.snapshot
        gone = self._open
        self._open = {}
        if snapshot.clock_us is not None:
            clock = self._compare_clocks(snapshot, snapshot.clock_us)
            now_ns = clock.not_after(snapshot.clock_us)
            for waiting in snapshot.waiting:
                key = _key(waiting)
                wait = gone.pop(key, None) or self._begin(waiting, sighting, clock, snapshot.clock_us)
                wait.last_ns = max(wait.last_ns, now_ns)
                self._merge(wait, waiting, sighting.before)
                self._open[key] = wait
        for key, wait in gone.items():
            self._close(key, wait)
        self._seen_until_ns = snapshot.asked_ns

    def folded(self) -> Folded:
        """The waits so far. Those that are still open are closed by this."""
        for key, wait in self._open.items():
            self._close(key, wait)
        self._open = {}
        waits = [*self._migration.waits(), *self._others.waits()]
        waits.sort(key=lambda wait: (wait.first_seen_ns, wait.waiter.pid))
        return Folded(tuple(waits), self._migration.dropped + self._others.dropped)

    def _compare_clocks(self, snapshot: Snapshot, clock_us: int) -> ClockBounds:
        times = snapshot.asked_ns, clock_us, snapshot.answered_ns
        self._clock = self._clock.narrowed(*times) if self._clock else ClockBounds.of(*times)
        return self._clock

    def _begin(self, waiting: Waiting, sighting: Sighting, clock: ClockBounds, clock_us: int) -> _Open:
        first_ns = clock.not_before(waiting.since_us, clock_us - waiting.since_us)
        if self._seen_until_ns is not None:
            first_ns = max(first_ns, self._seen_until_ns)
        # the migration may have come to its next statement between our look at it and the snapshot
        later = sighting.after.statement is not None and sighting.after.started_ns <= first_ns
        waiter = party(waiting.session, sighting.after if later else sighting.before, self._scripts)
        return _Open(waiter, waiting.relation, first_ns, first_ns, {})

    def _merge(self, wait: _Open, waiting: Waiting, state: MigrationState) -> None:
        wait.relation = wait.relation or waiting.relation
        for obstacle in waiting.obstacles:
            pid = obstacle.session.pid
            known = wait.blockers.get(pid)
            if known is None:
                blocker = Blocker(
                    party(obstacle.session, state, self._scripts), obstacle.mode, obstacle.queued
                )
                if len(wait.blockers) < MOST_BLOCKERS or blocker.party.role is Role.MIGRATION:
                    wait.blockers[pid] = blocker
            else:
                wait.blockers[pid] = _stronger(known, obstacle)

    def _close(self, key: _Key, wait: _Open) -> None:
        ended = LockWait(
            waiter=wait.waiter,
            blockers=tuple(wait.blockers.values()),
            lock_type=key.lock_type,
            mode=key.mode,
            relation=wait.relation,
            first_seen_ns=wait.first_ns,
            last_seen_ns=wait.last_ns,
        )
        if ended.waiter.role is Role.MIGRATION:
            self._migration.add(ended)
        elif ended.at_least_ns >= SHORTEST_KEPT_NS:
            self._others.add(ended)


class _Longest:
    """As many of the longest waits as there is room for."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._heap: list[tuple[int, int, LockWait]] = []
        self._number = count()
        self.dropped = 0

    def add(self, wait: LockWait) -> None:
        entry = (wait.at_least_ns, next(self._number), wait)
        if len(self._heap) < self._room:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
            self.dropped += 1

    def waits(self) -> list[LockWait]:
        return [wait for _, _, wait in self._heap]


def _key(waiting: Waiting) -> _Key:
    return _Key(waiting.session.pid, waiting.lock_type, waiting.object, waiting.mode, waiting.since_us)


def _stronger(known: Blocker, seen: Obstacle) -> Blocker:
    """What is known of a blocker, and what was seen later: to hold a lock is more than to ask for it."""
    if known.queued and not seen.queued:
        return replace(known, mode=seen.mode, queued=False)
    if known.queued is seen.queued and seen.mode and _strength(seen.mode) > _strength(known.mode):
        return replace(known, mode=seen.mode)
    return known


def _strength(mode: LockMode | None) -> int:
    return mode.strength if mode else 0
