"""Blocks and procedures that commit as they go, and may have worked on whole tables while they kept the
traffic out: which of their transactions did what is not known, only how long each lock can have been held.
"""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold
from rehearse.judge.projection import WorkKind
from rehearse.model.migration import Effects, Statement
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

# Batches of no more rows than this are what is advised, whatever part of a small table they are.
BATCH_ROWS = 10_000


def may_be_batches(statement: Statement, effects: Effects, rows: float) -> bool:
    """Whether `rows` changed or locked in one transaction can be one of many batches of a fixed size."""
    loops = effects.loops if effects.loops is not None else statement.command == "CALL"
    return loops and rows <= BATCH_ROWS


def find_possible(facts: Facts, rule: str, kind: WorkKind) -> Iterable[Finding]:
    """One finding for each statement whose heaviest possible work is of `kind`, if a lock over it might be
    held for longer than the budget in production.
    """
    for cost in facts.costs.values():
        kinds = {work.kind for work in cost.possible}
        heaviest = WorkKind.SCAN if WorkKind.SCAN in kinds else WorkKind.ROWS
        holds = [hold for hold in facts.holds if cost in hold.costs and hold.possible]
        if not holds or kind is not heaviest:
            continue
        hold = max(holds, key=lambda each: float("inf") if each.most_s is None else each.most_s)
        if hold.most_s is None or hold.most_s > facts.budget_s:
            yield _finding(facts, rule, hold)


def _finding(facts: Facts, rule: str, hold: Hold) -> Finding:
    statement, most_s = hold.taken_by, hold.most_s
    works = [work for work in hold.possible if work.kind is hold.possible[0].kind]
    did = f"{works[0].kind.value} {wording.listed(sorted({str(work.table) for work in works}))}"
    budget = wording.seconds(facts.budget_s)
    then = (
        "How many rows there are in production is not given."
        if most_s is None
        else f"If it does, the lock may be held for about {wording.seconds(most_s)} at production size, "
        f"against a budget of {budget}."
    )
    return Finding(
        rule=rule,
        severity=Severity.UNMEASURED,
        message=(
            f"{wording.place(statement)} takes {hold.strongest.sql}, for {wording.seconds(hold.held_s)} at "
            f"most here, {did}, and commits as it goes: whether it does both in one transaction cannot be "
            f"told. {then}"
        ),
        statement=statement.index,
        subject=str(hold.table),
        observed=Quantity(hold.held_s if most_s is None else most_s, Unit.SECONDS),
        limit=Quantity(facts.budget_s, Unit.SECONDS),
        evidence=(
            f"{hold.strongest.sql} keeps out {wording.listed(hold.scripts)}",
            *(
                f"over all of its transactions it {work.kind.value} {work.table}: "
                f"{wording.count(work.rows, 'row')}"
                for work in hold.possible
            ),
        ),
        advice=(
            f"Write what takes the lock on {hold.table} outside of the block, as a statement of its own, and "
            "leave to the block only what it changes in batches: then both can be told apart."
        ),
    )
