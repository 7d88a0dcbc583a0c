"""`rows-locked`: a great part of a table's rows is locked to the end of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rehearse.judge import victims, wording
from rehearse.judge.batches import Shapes, is_batch, transactions_by_shape
from rehearse.judge.blocks import may_be_batches
from rehearse.judge.facts import Facts
from rehearse.judge.projection import WHOLE_TABLE_SHARE, Cost, summed
from rehearse.judge.rules.rule import Rule
from rehearse.judge.sizing import severity_of_rows, size_up
from rehearse.judge.traffic import Span
from rehearse.model.locks import LockMode
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

_WAITS = frozenset({LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE})  # whoever asks for these asks for rows


def _check(facts: Facts) -> Iterable[Finding]:
    told: set[tuple[int, Relation]] = set()
    shapes = transactions_by_shape(facts)
    for statement in facts.statements:
        found = _most(facts, statement, shapes)
        if found and (statement.transaction, found[0]) not in told:
            told.add((statement.transaction, found[0]))
            yield _finding(facts, statement, *found)
        yield from _over_commits(facts, statement)


def _over_commits(facts: Facts, statement: Statement) -> Iterable[Finding]:
    """A statement that commits as it goes: how many rows were locked at a time is not known, only how many
    it read, and in how many transactions.
    """
    effects, cost = statement.effects, facts.costs.get(statement.index)
    if effects is None or cost is None:
        return
    longest_ns = effects.longest_transaction_ns or 0
    pieces = effects.transactions or (1 if 2 * longest_ns > cost.busy_ns else None)
    for total in effects.totals if pieces else ():
        rows = min(total.read, total.rows) // (pieces or 1)
        if (
            total.locks_rows
            and not total.created_here
            and facts.heat.modes(total.table) & _WAITS
            and facts.tables.share(total.table, rows) >= WHOLE_TABLE_SHARE
            and not may_be_batches(statement, effects, rows)
        ):
            yield _possible(statement, total.table, min(total.read, total.rows), effects.transactions)


def _possible(statement: Statement, table: Relation, rows: int, transactions: int | None) -> Finding:
    among = f" in {wording.count(transactions, 'transaction')}" if transactions else ""
    return Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED,
        message=(
            f"{wording.place(statement)} reads {wording.count(rows, 'row')} of {table}{among}, and locks "
            "what a FOR UPDATE or FOR SHARE in it returns: how many it keeps locked at a time is not known"
        ),
        statement=statement.index,
        subject=str(table),
        advice=(
            f"Lock no more rows of {table} in a transaction than are written in it, in batches by key of "
            "some thousand; or write the SELECT outside of the block, as a statement of its own: then its "
            "rows are counted."
        ),
    )


def _most(facts: Facts, statement: Statement, shapes: Shapes) -> tuple[Relation, int] | None:
    """The table of the traffic of which it locked the greatest part; None where that is none, a lock on
    the whole table keeps the traffic out as it is, or it is one of several batches of a fixed size.
    """
    stopped = {hold.table for hold in facts.holds_under(statement)}
    found = [
        (table, rows)
        for table, rows in (statement.effects.rows_locked if statement.effects else ())
        if table not in stopped
        and facts.heat.modes(table) & _WAITS
        and facts.tables.share(table, rows) >= WHOLE_TABLE_SHARE
        and not is_batch(facts, table, [(statement, rows)], shapes)
    ]
    return max(found, key=lambda one: facts.tables.share(*one), default=None)


def _finding(facts: Facts, statement: Statement, table: Relation, rows: int) -> Finding:
    costs = [
        facts.costs[other.index]
        for other in facts.statements
        if other.transaction == statement.transaction and other.index >= statement.index
        if other.index in facts.costs
    ]
    growing = [cost for cost in costs if cost.grows]
    span = _span(facts, statement, costs)
    held_s = max(0, span.end_ns - span.start_ns) / 1e9
    constant_s = max(0.0, held_s - sum(cost.busy_s for cost in growing))
    bounds = summed((cost.bounds_s for cost in growing), constant_s)
    sizing = size_up(facts, growing, constant_s, known_s=None if bounds is None else bounds.point)
    part = min(1.0, facts.tables.share(table, rows))  # the traffic may have added some
    share = "" if facts.tables.find(table) is None else f" ({part:.0%} of it)"
    return Finding(
        rule=RULE.id,
        severity=severity_of_rows(sizing.severity, rows, known=bounds is not None),
        message=(
            f"{wording.place(statement)} locks {wording.count(rows, 'row')} of {table}{share} without "
            f"changing them, and keeps them locked to the end of its transaction. {sizing.sentence}"
        ),
        statement=statement.index,
        subject=str(table),
        observed=sizing.observed,
        limit=sizing.limit,
        evidence=(
            f"they were locked for {wording.seconds(held_s)}; who writes or locks one of them waits so long",
            *victims.of_span(facts, span),
        ),
        advice=(
            f"Lock the rows of {table} that are about to be written, in batches by key of some thousand, "
            "each in a transaction of its own; to keep everybody out of a small table for a moment, say so "
            "with LOCK TABLE."
        ),
    )


def _span(facts: Facts, statement: Statement, costs: Sequence[Cost]) -> Span:
    spans = facts.run.transactions if facts.run else ()
    ended = [cost.statement.ended_ns for cost in costs]
    ended += [span.ended_ns for span in spans if span.index == statement.transaction]
    cost = facts.costs.get(statement.index)
    began_ns = statement.started_ns + (cost.waited_ns if cost else 0)
    return Span(began_ns, max(ended, default=statement.ended_ns))


RULE = Rule(
    id="rows-locked",
    severity=Severity.FAILURE,
    reason=(
        "SELECT ... FOR UPDATE (or FOR SHARE) over a great part of a table locks each of these rows until "
        "its transaction ends, though it changes none of them: whoever of the application writes one of "
        "them, or locks it in turn, waits for all of the transaction. No lock on the table shows it."
    ),
    safe_way="Batches by key of some thousand rows, each locked, written and committed by itself.",
    check=_check,
)
