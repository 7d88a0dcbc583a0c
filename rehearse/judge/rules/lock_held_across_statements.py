"""`lock-held-across-statements`: long work in a transaction that already keeps the application out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rehearse.judge import advice, victims, wording
from rehearse.judge.blocks import find_possible
from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold
from rehearse.judge.projection import Cost, WorkKind
from rehearse.judge.rules.rule import Rule
from rehearse.judge.sizing import Sizing, size_up
from rehearse.judge.standstill import MEND, standstills_of
from rehearse.judge.under_lock import own_kind
from rehearse.model.verdict import Finding, Quantity, Severity, Unit


def _check(facts: Facts) -> Iterable[Finding]:
    seen: set[tuple[int, ...]] = set()
    for hold in sorted(facts.holds, key=_first_and_strongest):
        long = _long_work(facts, hold)
        key = tuple(cost.statement.index for cost in long)
        if long and key not in seen:  # the same work under several tables' locks is told once
            seen.add(key)
            yield _finding(facts, hold, long)
    yield from find_possible(facts, RULE.id, WorkKind.ROWS)


def _first_and_strongest(hold: Hold) -> tuple[int, int, int]:
    """Of the locks that one statement takes, the one that keeps out the most is told of."""
    return hold.transaction, hold.taken_by.index, -hold.strongest.mode.strength


def _long_work(facts: Facts, hold: Hold) -> tuple[Cost, ...]:
    """The statements to blame: those after the one that took the lock whose time grows, or that one
    itself where it changed rows (a DO block); failing that, whatever came later, if the lock is held for
    longer than the budget.
    """
    first = hold.taken_by.index
    grows = [c for c in hold.growing if c.statement.index > first or own_kind(c) is None]
    if grows:
        return tuple(grows)
    later = [c for c in hold.costs if c.statement.index > first]
    if later and not hold.growing and hold.held_s > facts.budget_s:
        return (max(later, key=lambda cost: cost.busy_ns),)
    return ()


def _finding(facts: Facts, hold: Hold, long: Sequence[Cost]) -> Finding:
    sizing = _size(facts, hold, long)
    heaviest = max(long, key=lambda cost: cost.busy_ns).statement
    first = hold.taken_by
    strongest = hold.strongest_at(heaviest)
    lock = strongest.sql
    if heaviest is first:
        did = "changes rows" if facts.costs[first.index].works else "does work that grows with the tables"
        message = f"{wording.place(first)} takes {lock} and {did} in the same transaction"
    else:
        message = (
            f"{wording.place(heaviest)} runs while {lock}, held since {wording.place(strongest.statement)}, "
            "is still held"
        )
    return Finding(
        rule=RULE.id,
        severity=sizing.severity,
        message=f"{message}. {sizing.sentence}",
        statement=heaviest.index,
        subject=str(hold.table),
        observed=sizing.observed,
        limit=sizing.limit,
        evidence=(
            f"{hold.table} was locked for {wording.seconds(hold.held_s)}, to the end of the transaction",
            f"it keeps out {wording.listed(hold.scripts)}",
            *(
                f"under it: {wording.place(cost.statement)}, {wording.seconds(cost.busy_s)}"
                for cost in hold.costs
                if cost.busy_ns
            ),
            *victims.of_hold(facts, hold),
        ),
        advice=MEND if _disturbed(facts, hold, long) else advice.SPLIT,
        disturbed=_disturbed(facts, hold, long),
    )


def _size(facts: Facts, hold: Hold, long: Sequence[Cost]) -> Sizing:
    if any(cost.grows for cost in long):
        return size_up(facts, hold.growing, hold.constant_s, known_s=hold.projected_s)
    sentence = (
        f"It was held for {wording.seconds(hold.held_s)}, against a budget of "
        f"{wording.seconds(facts.budget_s)}"
    )
    disturbed = _disturbed(facts, hold, long)
    return Sizing(
        Severity.UNMEASURED if disturbed else Severity.FAILURE,
        Quantity(hold.held_s, Unit.SECONDS),
        Quantity(facts.budget_s, Unit.SECONDS),
        f"{sentence}, but for most of it this machine stood still." if disturbed else f"{sentence}.",
    )


def _disturbed(facts: Facts, hold: Hold, long: Sequence[Cost]) -> bool:
    """Whether nothing but a standstill of the machine made a lock outlast the budget."""
    if any(cost.grows for cost in long):
        return False
    return standstills_of(facts.trial).stretched(hold, facts.budget_s)


RULE = Rule(
    id="lock-held-across-statements",
    severity=Severity.FAILURE,
    reason=(
        "A lock is held to the end of its transaction. An ADD COLUMN is instant, but in one transaction with "
        "the backfill and the index builds that follow, its ACCESS EXCLUSIVE lock stays until all of them "
        "are done, and so long the application stands still."
    ),
    safe_way=(
        "One transaction for each statement that takes a strong lock, with nothing long after it; backfill "
        "in batches, index builds and validations outside of it. Mind that many migration tools wrap a "
        "file in one transaction unless told otherwise."
    ),
    check=_check,
)
