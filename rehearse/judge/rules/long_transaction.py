"""`long-transaction`: a great part of a table is changed in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rehearse.judge import advice, victims, wording
from rehearse.judge.facts import Facts
from rehearse.judge.projection import WHOLE_TABLE_SHARE, Cost
from rehearse.judge.rules.rule import Rule
from rehearse.judge.sizing import severity_of_rows, size_up
from rehearse.judge.traffic import Span
from rehearse.model.locks import LockMode
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

# A transaction seen for less says nothing: the polling has its own grain.
_SHORTEST_NS = 50_000_000
_REHEARSE_MORE = (
    "If its batches are of a fixed size, rehearse with many times as many rows of {table}. Else: "
)


def _check(facts: Facts) -> Iterable[Finding]:
    for table, statements in _changes(facts).items():
        by_transaction: dict[int, list[tuple[Statement, int]]] = {}
        for statement, rows in statements:
            by_transaction.setdefault(statement.transaction, []).append((statement, rows))
        for parts in by_transaction.values():
            rows = sum(changed for _, changed in parts)
            if facts.tables.share(table, rows) >= WHOLE_TABLE_SHARE:
                yield _finding(facts, table, [s for s, _ in parts], rows)
    yield from _unbatched(facts)


def _changes(facts: Facts) -> dict[Relation, list[tuple[Statement, int]]]:
    """Rows changed in tables of the traffic, by table; not where a stronger lock was held already (that
    has a rule of its own).
    """
    found: dict[Relation, list[tuple[Statement, int]]] = {}
    for statement in facts.statements:
        locked = {hold.table for hold in facts.holds_under(statement)}
        changed = statement.effects.rows_changed if statement.effects else ()
        for table, rows in changed:
            if rows and facts.heat.modes(table) and table not in locked:
                found.setdefault(table, []).append((statement, rows))
    return found


def _unbatched(facts: Facts) -> Iterable[Finding]:
    """Blocks and procedures that commit, but were in one transaction for most of their time: rows
    that they changed in it cannot be counted, only the tables they wrote to are known.
    """
    for statement in facts.statements:
        effects = statement.effects
        longest = effects.longest_transaction_ns if effects else None
        cost = facts.costs.get(statement.index)
        if effects is None or cost is None or longest is None or longest < _SHORTEST_NS:
            continue
        written = [lock.relation for lock in effects.locks if lock.mode is LockMode.ROW_EXCLUSIVE]
        hot = [table for table in written if facts.heat.modes(table) and table not in facts.created]
        if hot and 2 * longest > cost.busy_ns:
            yield _one_piece(facts, statement, hot, longest)


def _one_piece(facts: Facts, statement: Statement, tables: Sequence[Relation], longest_ns: int) -> Finding:
    loops = statement.command == "CALL" or re.search(r"\bLOOP\b", statement.text, re.IGNORECASE)
    lasted = Quantity(longest_ns / 1e9, Unit.SECONDS)
    cost = facts.costs[statement.index]
    return Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED if loops else RULE.severity,
        message=(
            f"{wording.place(statement)} commits as it goes, but was in a single transaction for "
            f"{wording.nanoseconds(longest_ns)} of its {wording.nanoseconds(cost.busy_ns)}, and writes to "
            f"{wording.listed([str(table) for table in tables])}: these are not batches"
            + (" at the size rehearsed" if loops else "")
        ),
        statement=statement.index,
        subject=str(tables[0]),
        observed=lasted,
        evidence=_victims(facts, [cost]),
        advice=(_REHEARSE_MORE.format(table=tables[0]) if loops else "")
        + advice.batches(statement, tables[0], _key(facts, tables[0])),
    )


def _finding(facts: Facts, table: Relation, statements: Sequence[Statement], rows: int) -> Finding:
    costs = [facts.costs[s.index] for s in statements if s.index in facts.costs]
    heaviest = max(costs, key=lambda cost: cost.busy_ns).statement
    projected = [cost.projected_s for cost in costs]
    known = None if None in projected else sum(p for p in projected if p is not None)
    sizing = size_up(facts, costs, known_s=known)
    share = facts.tables.share(table, rows)
    size = "" if facts.tables.find(table) is None else f" ({share:.0%} of it)"
    return Finding(
        rule=RULE.id,
        severity=severity_of_rows(sizing.severity, rows, known=known is not None),
        message=(
            f"{wording.place(heaviest)} changes {wording.count(rows, 'row')} of {table}{size} in one "
            f"transaction, and keeps them locked to its end. {sizing.sentence}"
        ),
        statement=heaviest.index,
        subject=str(table),
        observed=sizing.observed,
        limit=sizing.limit,
        evidence=(*_log_written(costs), *_bloat(table), *_victims(facts, costs)),
        advice=advice.batches(heaviest, table, _key(facts, table)),
    )


def _key(facts: Facts, table: Relation) -> tuple[str, ...]:
    known = facts.tables.find(table)
    return known.key if known else ()


def _log_written(costs: Sequence[Cost]) -> Iterable[str]:
    sizes = [effects.wal_bytes or 0 for cost in costs if (effects := cost.statement.effects)]
    if sum(sizes):
        yield f"it wrote {wording.size(sum(sizes))} of write-ahead log, which every replica has to replay"


def _bloat(table: Relation) -> Iterable[str]:
    yield (
        f"updated and deleted rows stay in {table} as dead ones until after its end, and no VACUUM can "
        "remove dead rows of any table meanwhile"
    )


def _victims(facts: Facts, costs: Sequence[Cost]) -> tuple[str, ...]:
    started = min(cost.statement.started_ns for cost in costs)
    transactions = {cost.statement.transaction for cost in costs}
    spans = facts.run.transactions if facts.run else ()
    ended = max(
        [cost.statement.ended_ns for cost in costs]
        + [span.ended_ns for span in spans if span.index in transactions]
    )
    return victims.of_span(facts, Span(started, ended))


RULE = Rule(
    id="long-transaction",
    severity=Severity.FAILURE,
    reason=(
        "An UPDATE or DELETE of a great part of a table in one transaction locks every row it has changed "
        "until the end: whoever of the application writes one of them waits for all. It also writes that "
        "much write-ahead log at a stretch, doubles the table, and keeps VACUUM from removing dead rows."
    ),
    safe_way="Batches by key of some thousand rows, each committed by itself, with a pause between them.",
    check=_check,
)
