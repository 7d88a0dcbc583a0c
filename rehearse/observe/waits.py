"""Questions to the waits of a trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationRun, Statement, WorkPhase
from rehearse.model.relation import Relation
from rehearse.model.waits import LockWait, Role


def observed(run: MigrationRun, waits: Iterable[LockWait], phases: Iterable[WorkPhase]) -> MigrationRun:
    """`run` with what was seen of its statements from outside: own waits, retries, phases of work."""
    own = [wait for wait in waits if wait.waiter.role is Role.MIGRATION]
    seen = list(phases)
    return replace(run, statements=tuple(_observed(s, own, seen) for s in run.statements))


def _observed(statement: Statement, own: Iterable[LockWait], phases: Iterable[WorkPhase]) -> Statement:
    retries, retried_ns = lock_retries(own, statement)
    return replace(
        statement,
        waited_ns=migration_wait_ns(own, statement),
        retries=retries,
        retried_ns=retried_ns,
        phases=tuple(phase for phase in phases if phase.statement == statement.index),
    )


def lock_retries(waits: Iterable[LockWait], statement: Statement) -> tuple[int, int]:
    """How often `statement` asked again for a table lock that it had waited for in vain, and how long (ns) it
    had waited each time before the last: both lower bounds, as short waits may go unseen. Who is granted
    a lock does not wait for it again, unless it let go of it meanwhile: a statement that commits as it
    goes is not told from one that tries again.
    """
    asked: dict[tuple[int, Relation | None, LockMode | None], list[LockWait]] = defaultdict(list)
    for wait in waits:
        inside = statement.started_ns <= wait.first_seen_ns and wait.last_seen_ns <= statement.ended_ns
        if inside and wait.waiter.role is Role.MIGRATION and wait.lock_type == "relation":
            asked[wait.waiter.pid, wait.relation, wait.mode].append(wait)
    in_vain = [wait for tries in asked.values() for wait in sorted(tries, key=_began)[:-1]]
    return len(in_vain), sum(wait.at_least_ns for wait in in_vain)


def _began(wait: LockWait) -> int:
    return wait.first_seen_ns


def migration_wait_ns(waits: Iterable[LockWait], statement: Statement) -> int:
    """How long the migration itself waited for locks while it executed `statement`: a lower bound, and at
    most as long as the statement. Waits of several sessions at once count once.
    """
    spans = sorted(
        (max(wait.first_seen_ns, statement.started_ns), min(wait.last_seen_ns, statement.ended_ns))
        for wait in waits
        if wait.waiter.role is Role.MIGRATION
    )
    total_ns, counted_to_ns = 0, statement.started_ns
    for start_ns, end_ns in spans:
        total_ns += max(0, end_ns - max(start_ns, counted_to_ns))
        counted_to_ns = max(counted_to_ns, end_ns)
    return total_ns


def behind_migration(waits: Iterable[LockWait]) -> tuple[LockWait, ...]:
    """Waits of others for something that the migration held or queued for, be it directly or behind a
    session that was itself waiting for the migration at the time. In the order given.
    """
    others = [wait for wait in waits if wait.waiter.role is not Role.MIGRATION]
    behind = [any(b.party.role is Role.MIGRATION for b in wait.blockers) for wait in others]
    found = True
    while found:
        found = False
        stopped = [wait for wait, is_behind in zip(others, behind, strict=True) if is_behind]
        for place, wait in enumerate(others):
            if not behind[place] and any(_blocks(other, wait) for other in stopped):
                behind[place] = found = True
    return tuple(wait for wait, is_behind in zip(others, behind, strict=True) if is_behind)


def longest_wait_behind_migration(
    waits: Iterable[LockWait], role: Role | None = Role.TRAFFIC
) -> LockWait | None:
    """The longest of them, of sessions of one role or (None) of any; None if nobody waited."""
    candidates = (wait for wait in behind_migration(waits) if role is None or wait.waiter.role is role)
    return max(candidates, key=lambda wait: wait.at_least_ns, default=None)


def _blocks(other: LockWait, wait: LockWait) -> bool:
    together = other.first_seen_ns <= wait.last_seen_ns and wait.first_seen_ns <= other.last_seen_ns
    return together and any(blocker.party.pid == other.waiter.pid for blocker in wait.blockers)
