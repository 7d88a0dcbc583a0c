"""Holds: a lock in the traffic's way, from the statement that took it to the end of its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rehearse.judge.heat import Heat, guarded, is_index
from rehearse.judge.projection import Cost, Work, greatest_growth, summed
from rehearse.model.growth import Bounds
from rehearse.model.locks import LockMode
from rehearse.model.migration import HeldLock, LockEvidence, MigrationRun, Statement
from rehearse.model.relation import Relation
from rehearse.model.waits import LockWait, Role


@dataclass(frozen=True, slots=True)
class Taking:
    """A statement that took a lock on `table` (`index`: on one of its indexes) that keeps scripts out."""

    statement: Statement
    table: Relation
    mode: LockMode
    scripts: tuple[str, ...]
    evidence: LockEvidence
    index: Relation | None = None
    span_ns: tuple[int, int] | None = None  # where it was not held to the end of the statement
    after_weaker: bool = False  # the statement also took a weaker one, maybe earlier, that keeps scripts out

    @property
    def sql(self) -> str:
        """`ACCESS EXCLUSIVE on orders`."""
        where = f"index {self.index} of {self.table}" if self.index else str(self.table)
        return f"{self.mode.sql} on {where}"


def locks_told(takings: Iterable[Taking]) -> list[str]:
    """As `Taking.sql`, but the indexes of a table that are locked in one mode are counted."""
    groups: dict[tuple[Relation, LockMode, bool], list[Taking]] = {}
    for taking in takings:
        groups.setdefault((taking.table, taking.mode, taking.index is not None), []).append(taking)
    return [
        group[0].sql if len(group) == 1 else f"{mode.sql} on {len(group)} indexes of {table}"
        for (table, mode, _), group in groups.items()
    ]


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

    def strongest_at(self, statement: Statement) -> Taking:
        """The strongest of those that were taken by the time `statement` was through."""
        taken = [taking for taking in self.takings if taking.statement.index <= statement.index]
        return max(taken or self.takings[:1], key=lambda taking: taking.mode.strength)

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
        return tuple(cost for cost in self.costs if cost.grows)

    @property
    def constant_s(self) -> float:
        """The part of `held_s` that does not grow: other statements, pauses, waits for further locks."""
        return max(0.0, self.held_s - sum(cost.busy_s for cost in self.growing))

    @property
    def projected_s(self) -> float | None:
        """How long it would be held in production; None where that is not known."""
        bounds = self.bounds_s
        return None if bounds is None else bounds.point

    @property
    def bounds_s(self) -> Bounds | None:
        """`projected_s`, and how certain it is."""
        known = summed([cost.bounds_s for cost in self.growing], self.constant_s)
        if known is None or not self.possible:
            return known
        most_s = self.most_s
        return None if most_s is None else replace(known, high=max(known.high, most_s))

    @property
    def possible(self) -> tuple[Work, ...]:
        """What may have been done to whole tables under it, by a statement that commits as it goes."""
        return tuple(work for cost in self.costs for work in cost.possible)

    @property
    def most_s(self) -> float | None:
        """How long it would be held in production if all of the time went into what is `possible`; None where
        production's rows are not known.
        """
        growth = greatest_growth(self.possible)
        return None if growth is None else self.held_s * max(1.0, growth)

    @property
    def least_projected_s(self) -> float:
        """The part of `projected_s` that is known."""
        return self.constant_s + sum(cost.projected_s or 0.0 for cost in self.growing)


def find_holds(
    run: MigrationRun, heat: Heat, costs: Mapping[int, Cost], waits: Iterable[LockWait] = ()
) -> tuple[Hold, ...]:
    """Every hold of the migration, by transaction and the statement that began it. `costs` is by index;
    `waits` tell when a statement that asked again and again for a lock had it in the end.
    """
    own = [wait for wait in waits if wait.waiter.role is Role.MIGRATION]
    by_place: dict[tuple[int, Relation], list[Taking]] = {}
    for statement in run.statements:
        for taking in takings_of(statement, heat):
            by_place.setdefault((statement.transaction, taking.table), []).append(taking)
    return tuple(
        _hold(run, table, transaction, tuple(takings), costs, own)
        for (transaction, table), takings in by_place.items()
    )


def takings_of(statement: Statement, heat: Heat) -> Iterable[Taking]:
    """The locks of `statement` that keep some script out."""
    for lock in statement.effects.locks if statement.effects else ():
        scripts = heat.kept_out(statement, lock)
        if scripts:
            weaker = any(heat.kept_out(statement, replace(lock, mode=mode)) for mode in lock.weaker)
            yield _taking(statement, lock, scripts, after_weaker=weaker)


def _taking(statement: Statement, lock: HeldLock, scripts: tuple[str, ...], *, after_weaker: bool) -> Taking:
    return Taking(
        statement=statement,
        table=guarded(lock),
        mode=lock.mode,
        scripts=scripts,
        evidence=lock.evidence,
        index=lock.relation if is_index(lock) else None,
        span_ns=lock.span_ns,
        after_weaker=after_weaker,
    )


def _hold(
    run: MigrationRun,
    table: Relation,
    transaction: int,
    takings: tuple[Taking, ...],
    costs: Mapping[int, Cost],
    waits: Sequence[LockWait],
) -> Hold:
    first = takings[0].statement
    spans = [taking.span_ns for taking in takings if taking.span_ns]
    under = tuple(
        costs[s.index]
        for s in run.statements
        if s.transaction == transaction and s.index >= first.index and s.index in costs
    )
    span = next((t for t in run.transactions if t.index == transaction), None)
    last_ns = max((cost.statement.ended_ns for cost in under), default=first.ended_ns)
    start_ns = first.started_ns + (costs[first.index].waited_ns if first.index in costs else 0)
    start_ns = max(start_ns, _asked_last_ns(takings, waits))
    end_ns = max(last_ns, span.ended_ns) if span else last_ns
    if len(spans) == len(takings):  # a statement that commits as it goes: its longest transaction
        start_ns, end_ns = max(spans, key=lambda longest: longest[1] - longest[0])
    return Hold(table, transaction, takings, under, min(start_ns, end_ns), end_ns)


def _asked_last_ns(takings: Sequence[Taking], waits: Iterable[LockWait]) -> int:
    """Until when the first lock was still waited for, where it had been asked for in vain before: a loop
    around a lock_timeout does not hold it between its attempts. 0 where there was no such loop, and where the
    statement may have held a weaker lock on the table all the while.
    """
    first = takings[0].statement
    if not first.retries or any(taking.after_weaker for taking in takings if taking.statement is first):
        return 0
    modes = {taking.mode for taking in takings if taking.statement is first}
    return max(
        (
            wait.last_seen_ns
            for wait in waits
            if wait.waiter.statement == first.index
            and wait.relation == takings[0].table
            and {wait.mode} == modes
        ),
        default=0,
    )
