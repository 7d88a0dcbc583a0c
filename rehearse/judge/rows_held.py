"""Rows that a transaction keeps locked for longer than the application may be kept waiting, however few they
are: the traffic may never have come for just these, and in production somebody does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from rehearse.judge import victims, wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import says
from rehearse.judge.parts import bound_of
from rehearse.judge.projection import WHOLE_TABLE_SHARE, Cost
from rehearse.judge.traffic import Span
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_WAITS = frozenset({LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE})  # whoever asks for these asks for rows
_ADVICE = (
    "Write the rows of {table} last, right before the COMMIT, and leave what takes long (work on other "
    "tables, calls, pauses) to transactions of their own; work in batches that are committed one by one."
)


@dataclass(frozen=True, slots=True)
class RowsHeld:
    """Rows of one table that one transaction locked, from `span.start_ns` to its end: `seconds` at
    production size, at least.
    """

    table: Relation
    statement: Statement  # the first that locked any
    rows: int
    span: Span
    seconds: float

    @property
    def held_s(self) -> float:
        """How long they were locked in the rehearsal."""
        return max(0, self.span.end_ns - self.span.start_ns) / 1e9


def find_rows_held(
    facts: Facts,
    rule: str,
    told: Collection[tuple[int, Relation]],
    only_adds: Callable[[Statement], bool],
) -> Iterable[Finding]:
    """One warning for each table, of the transaction that keeps rows of it locked the longest, if that is
    beyond the budget. `told` are transactions and tables of which more has been said; a statement that
    `only_adds` rows locks none that was there.
    """
    by_table: dict[Relation, list[RowsHeld]] = {}
    for held in (*_in_transactions(facts, only_adds), *_over_commits(facts)):
        place = (held.statement.transaction, held.table)
        if held.seconds > facts.budget_s and place not in told and not _shut(facts, *place):
            by_table.setdefault(held.table, []).append(held)
    for found in by_table.values():
        yield _finding(facts, rule, found)


def _in_transactions(facts: Facts, only_adds: Callable[[Statement], bool]) -> Iterator[RowsHeld]:
    locked: dict[tuple[int, Relation], list[tuple[Statement, int]]] = {}
    for statement in facts.statements:
        effects = statement.effects
        if effects is None or effects.longest_transaction_ns is not None:
            continue
        for table, rows in _rows(facts, statement, effects, added=only_adds(statement)):
            if rows and _is_hot(facts, table):
                locked.setdefault((statement.transaction, table), []).append((statement, rows))
    for (transaction, table), parts in locked.items():
        yield _held(facts, transaction, table, parts)


def _rows(
    facts: Facts, statement: Statement, effects: Effects, *, added: bool
) -> Iterator[tuple[Relation, int]]:
    """Those it changed, and those it locked where they are not so many that `rows-locked` looks at them.
    What was `added` is locked for nobody; the rows of tables that only a trigger can have changed are.
    """
    if statement.command.startswith("REFRESH MATERIALIZED VIEW"):
        return  # nobody else writes rows of one
    named = any(says(statement, table.name) for table, _ in effects.rows_changed)
    for table, rows in effects.rows_changed:
        if not added or (named and not says(statement, table.name)):
            yield table, rows
    for table, rows in effects.rows_locked:
        if facts.tables.share(table, rows) < WHOLE_TABLE_SHARE:
            yield table, rows


def _is_hot(facts: Facts, table: Relation) -> bool:
    return bool(facts.heat.modes(table) & _WAITS) and table not in facts.created


def _held(facts: Facts, transaction: int, table: Relation, parts: list[tuple[Statement, int]]) -> RowsHeld:
    first = parts[0][0]
    costs = [
        cost
        for cost in facts.costs.values()
        if cost.statement.transaction == transaction and cost.statement.index >= first.index
    ]
    start_ns = first.started_ns + (facts.costs[first.index].waited_ns if first.index in facts.costs else 0)
    ends = [cost.statement.ended_ns for cost in costs]
    ends += (
        [span.ended_ns for span in facts.run.transactions if span.index == transaction] if facts.run else []
    )
    span = Span(start_ns, max([start_ns, *ends]))
    changed = {statement.index: rows for statement, rows in parts}
    growing = [cost for cost in costs if cost.grows and not _is_batch(facts, cost, table, changed)]
    constant_s = max(0.0, (span.end_ns - start_ns) / 1e9 - sum(cost.busy_s for cost in growing))
    seconds = constant_s + sum(_least_s(cost) for cost in growing)
    return RowsHeld(table, first, sum(rows for _, rows in parts), span, seconds)


def _is_batch(facts: Facts, cost: Cost, table: Relation, changed: dict[int, int]) -> bool:
    """Whether its text lets it change no more rows in production: it may take longer to find them there, and
    locks them then.
    """
    rows = changed.get(cost.statement.index, 0)
    return rows > 0 and bound_of(facts, cost.statement, table, rows) is not None


def _least_s(cost: Cost) -> float:
    return cost.busy_s if cost.projected_s is None else cost.projected_s


def _over_commits(facts: Facts) -> Iterator[RowsHeld]:
    """Of a statement that commits as it goes: its longest transaction, and at most all rows it changed."""
    for statement in facts.statements:
        effects = statement.effects
        for total in effects.totals if effects and effects.longest_transaction_ns else ():
            if total.changed and not total.created_here and _is_hot(facts, total.table):
                longest_ns = (effects.longest_transaction_ns or 0) if effects else 0
                span = Span(max(statement.started_ns, statement.ended_ns - longest_ns), statement.ended_ns)
                yield RowsHeld(total.table, statement, total.changed, span, longest_ns / 1e9)


def _shut(facts: Facts, transaction: int, table: Relation) -> bool:
    """Whether a lock on the whole table keeps the traffic out for too long as it is, and is told of."""
    return any(
        hold.transaction == transaction
        and hold.table == table
        and max(hold.held_s, hold.least_projected_s) > facts.budget_s
        for hold in facts.holds
    )


def _finding(facts: Facts, rule: str, found: list[RowsHeld]) -> Finding:
    held = max(found, key=lambda each: each.seconds)
    statement, here = held.statement, wording.seconds(held.held_s)
    grows = held.seconds > 1.05 * held.held_s
    long = f"up to {wording.seconds(held.seconds)} at production size, {here} here" if grows else here
    evidence = [
        "who writes or locks one of them waits so long; this traffic may not have come for just these rows",
        "as long as the transaction is open, no VACUUM can remove dead rows of any table",
    ]
    if len(found) > 1:
        evidence.append(f"{wording.count(len(found) - 1, 'other transaction')} of the migration also do")
    return Finding(
        rule=rule,
        severity=Severity.WARNING,
        message=(
            f"{wording.place(statement)} locks {wording.count(held.rows, 'row')} of {held.table}, and its "
            f"transaction keeps them locked for {long}, against a budget of {wording.seconds(facts.budget_s)}"
        ),
        statement=statement.index,
        subject=str(held.table),
        observed=Quantity(held.seconds, Unit.SECONDS),
        limit=Quantity(facts.budget_s, Unit.SECONDS),
        evidence=(*evidence, *victims.of_span(facts, held.span)),
        advice=_ADVICE.format(table=held.table),
    )
