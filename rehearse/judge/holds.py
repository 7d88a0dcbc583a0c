"""Holds: a lock in the traffic's way, from the statement that took it to the end of its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearse.judge.heat import Heat, guarded, is_index
from rehearse.judge.projection import Cost
from rehearse.model.locks import LockMode
from rehearse.model.migration import HeldLock, LockEvidence, MigrationRun, Statement
from rehearse.model.relation import Relation


@dataclass(frozen=True, slots=True)
class Taking:
    """A statement that took a lock on `table` (`index`: on one of its indexes) that keeps scripts out."""

    statement: Statement
    table: Relation
    mode: LockMode
    scripts: tuple[str, ...]
    evidence: LockEvidence
    index: Relation | None = None

    @property
    def sql(self) -> str:
        """`ACCESS EXCLUSIVE on orders`."""
        where = f"index {self.index} of {self.table}" if self.index else str(self.table)
        return f"{self.mode.sql} on {where}"


@dataclass(frozen=True, slots=True)
class Hold:
    """One table of the traffic, locked against it from `start_ns` to the end of the transaction.

    `takings` are all conflicting locks on it in that transaction, in order; the first began the hold.
    `costs` are the statements executed while it was held.
    """

    table: Relation
    transaction: int
    takings: tuple[Taking, ...]
    costs: tuple[Cost, ...]
    start_ns: int
    end_ns: int

    @property
    def taken_by(self) -> Statement:
        """The statement that took the first of its locks."""
        return self.takings[0].statement

    @property
    def strongest(self) -> Taking:
        """The strongest of its locks."""
        return max(self.takings, key=lambda taking: taking.mode.strength)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts it keeps out."""
        return tuple(sorted({script for taking in self.takings for script in taking.scripts}))

    @property
    def held_s(self) -> float:
        """How long it was held in the rehearsal."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def growing(self) -> tuple[Cost, ...]:
        """The statements under it whose time grows with a table."""
        return tuple(cost for cost in self.costs if cost.works)

    @property
    def constant_s(self) -> float:
        """The part of `held_s` that does not grow: other statements, pauses, waits for further locks."""
        return max(0.0, self.held_s - sum(cost.busy_s for cost in self.growing))

    @property
    def projected_s(self) -> float | None:
        """How long it would be held in production; None where that is not known."""
        grown = [cost.projected_s for cost in self.growing]
        known = [seconds for seconds in grown if seconds is not None]
        return None if len(known) < len(grown) else self.constant_s + sum(known)

    @property
    def least_projected_s(self) -> float:
        """The part of `projected_s` that is known."""
        return self.constant_s + sum(cost.projected_s or 0.0 for cost in self.growing)


def find_holds(run: MigrationRun, heat: Heat, costs: Mapping[int, Cost]) -> tuple[Hold, ...]:
    """Every hold of the migration, by transaction and the statement that began it. `costs` is by index."""
    by_place: dict[tuple[int, Relation], list[Taking]] = {}
    for statement in run.statements:
        for taking in takings_of(statement, heat):
            by_place.setdefault((statement.transaction, taking.table), []).append(taking)
    return tuple(
        _hold(run, table, transaction, tuple(takings), costs)
        for (transaction, table), takings in by_place.items()
    )


def takings_of(statement: Statement, heat: Heat) -> Iterable[Taking]:
    """The locks of `statement` that keep some script out."""
    for lock in statement.effects.locks if statement.effects else ():
        scripts = heat.kept_out(statement, lock)
        if scripts:
            yield _taking(statement, lock, scripts)


def _taking(statement: Statement, lock: HeldLock, scripts: tuple[str, ...]) -> Taking:
    index = lock.relation if is_index(lock) else None
    return Taking(statement, guarded(lock), lock.mode, scripts, lock.evidence, index)


def _hold(
    run: MigrationRun,
    table: Relation,
    transaction: int,
    takings: tuple[Taking, ...],
    costs: Mapping[int, Cost],
) -> Hold:
    first = takings[0].statement
    under = tuple(
        costs[s.index]
        for s in run.statements
        if s.transaction == transaction and s.index >= first.index and s.index in costs
    )
    span = next((t for t in run.transactions if t.index == transaction), None)
    last_ns = max((cost.statement.ended_ns for cost in under), default=first.ended_ns)
    start_ns = first.started_ns + (costs[first.index].waited_ns if first.index in costs else 0)
    end_ns = max(last_ns, span.ended_ns) if span else last_ns
    return Hold(table, transaction, takings, under, min(start_ns, end_ns), end_ns)
