"""`long-transaction`: a great part of a table is changed in one transaction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from rehearse.judge import advice, victims, wording
from rehearse.judge.batches import Shapes, is_batch, one_of_each_shape, transactions_by_shape
from rehearse.judge.blocks import may_be_batches
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import stands_for
from rehearse.judge.parts import Part, part_of
from rehearse.judge.projection import WHOLE_TABLE_SHARE, Cost, growth_of
from rehearse.judge.rows_held import find_rows_held
from rehearse.judge.rules.rule import Rule
from rehearse.judge.sizing import severity_of_rows, size_up
from rehearse.judge.traffic import Span
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, Statement, TableTotals
from rehearse.model.relation import Relation
from rehearse.model.target import EngineName
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

# A transaction seen for less says nothing: the polling has its own grain.
_SHORTEST_NS = 50_000_000
_REHEARSE_MORE = (
    "If its batches are of a fixed size, rehearse with many times as many rows of {table}. Else: "
)

_TELL_GROWTH = "Rehearse with --trials scale, which measures whether it grows with the table. Else: "


def _check(facts: Facts) -> Iterable[Finding]:
    told: set[tuple[int, Relation]] = set()
    found: list[Finding] = []
    shapes = transactions_by_shape(facts)
    for table, statements in _changes(facts).items():
        by_transaction: dict[int, list[tuple[Statement, int]]] = {}
        for statement, rows in statements:
            by_transaction.setdefault(statement.transaction, []).append((statement, rows))
        for transaction, parts in by_transaction.items():
            of_parts = list(_of_transaction(facts, table, parts, shapes))
            told |= {(transaction, table)} if of_parts else set()
            found += of_parts
    yield from one_of_each_shape(facts, found)
    of_blocks = list(_unbatched(facts))
    yield from of_blocks
    blocks = [s for s in facts.statements if s.index in {finding.statement for finding in of_blocks}]
    told |= {(s.transaction, total.table) for s in blocks if s.effects for total in s.effects.totals}
    yield from find_rows_held(facts, RULE.id, told, lambda statement: _only_adds(facts, statement))


def _of_transaction(
    facts: Facts, table: Relation, parts: Sequence[tuple[Statement, int]], shapes: Shapes
) -> Iterable[Finding]:
    rows = sum(changed for _, changed in parts)
    added = _added(facts, table, parts)
    batch = is_batch(facts, table, parts, shapes)
    if facts.tables.share(table, rows) >= WHOLE_TABLE_SHARE and not batch:
        if facts.tables.share(table, rows - added) >= WHOLE_TABLE_SHARE:
            yield _finding(facts, table, [s for s, _ in parts], rows)
            return
        yield _adding(facts, table, [s for s, _ in parts if _only_adds(facts, s)], added)
    rest = [(s, changed) for s, changed in parts if not (added and _only_adds(facts, s))]
    part = part_of(facts, table, rest)
    if part is not None:
        yield _partial(facts, table, rest, part)


def _added(facts: Facts, table: Relation, parts: Sequence[tuple[Statement, int]]) -> int:
    """How many of the rows are new ones; none where the data afterwards say otherwise, as where a trigger
    changes rows of the table it is on.
    """
    added = sum(changed for statement, changed in parts if _only_adds(facts, statement))
    compared = stands_for(facts, table)
    return 0 if compared is not None and compared.added < added else added


def _only_adds(facts: Facts, statement: Statement) -> bool:
    """Whether it adds rows and neither changes nor locks any that were there: those nobody else can see, or
    wait for, before it commits. MySQL locks what an INSERT selects from.
    """
    if statement.command.split(" ")[0] not in ("INSERT", "COPY"):
        return False
    if facts.record.scenario.database.engine is not EngineName.POSTGRES:
        return not re.search(r"\b(?:SELECT|TABLE|UPDATE|DELETE)\b", statement.text, re.IGNORECASE)
    return not re.search(r"\bDO\s+UPDATE\b", statement.text, re.IGNORECASE)


def _changes(facts: Facts) -> dict[Relation, list[tuple[Statement, int]]]:
    """Rows changed in tables of the traffic, by table; not where a stronger lock was held already (that
    has a rule of its own), and not those of a materialized view: nobody else writes rows of one.
    """
    found: dict[Relation, list[tuple[Statement, int]]] = {}
    for statement in facts.statements:
        if statement.command.startswith("REFRESH MATERIALIZED VIEW"):
            continue
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
        if effects is None or cost is None or longest is None:
            continue
        few = tuple(_few_pieces(facts, statement, effects, cost))
        yield from few
        if few or longest < _SHORTEST_NS:
            continue
        written = [lock.relation for lock in effects.locks if lock.mode is LockMode.ROW_EXCLUSIVE]
        hot = [
            table
            for table in written
            if facts.heat.modes(table) and table not in facts.created and _much(facts, effects, table)
        ]
        if hot and 2 * longest > cost.busy_ns:
            yield _one_piece(facts, statement, hot, longest)


def _much(facts: Facts, effects: Effects, table: Relation) -> bool:
    """Whether it changed a great part of the table over all of its transactions, as far as that is known."""
    changed = next((total.changed for total in effects.totals if total.table == table), 0)
    return not effects.totals or facts.tables.share(table, changed) >= WHOLE_TABLE_SHARE


def _few_pieces(facts: Facts, statement: Statement, effects: Effects, cost: Cost) -> Iterable[Finding]:
    """Where it changed so many rows in so few transactions that one of them must have changed a great part of
    the table, however they were divided.
    """
    for total in effects.totals if effects.transactions else ():
        rows = math.ceil(total.changed / (effects.transactions or 1))
        hot = facts.heat.modes(total.table) and not total.created_here
        large = facts.tables.share(total.table, rows) >= WHOLE_TABLE_SHARE or _many(facts, cost, total, rows)
        if hot and large and not may_be_batches(statement, effects, rows):
            yield _large_piece(facts, cost, total, rows)


def _many(facts: Facts, cost: Cost, total: TableTotals, rows: int) -> bool:
    """Whether a small part of the table, which no loop divides, is too much of it in production."""
    changes = [(cost.statement, rows)]
    part = None if _loops(cost.statement) else part_of(facts, total.table, changes)
    return part is not None and part.seconds is not None


def _large_piece(facts: Facts, cost: Cost, total: TableTotals, rows: int) -> Finding:
    statement, table = cost.statement, total.table
    loops = _loops(statement)
    known = facts.tables.find(table)
    growth = growth_of(known) if known else None
    longest_ns = statement.effects.longest_transaction_ns if statement.effects else None
    took_s = max(cost.busy_s * rows / total.changed, (longest_ns or 0) / 1e9)
    projected_s = None if growth is None else took_s * growth
    late = projected_s is not None and projected_s > facts.budget_s
    sized = RULE.severity if late else Severity.NOTE
    severity = severity_of_rows(sized, rows, known=projected_s is not None)
    small = facts.tables.share(table, rows) < WHOLE_TABLE_SHARE and 2 * total.read < total.rows
    if (loops or small) and severity is Severity.FAILURE:  # a fixed number, perhaps
        severity = Severity.UNMEASURED
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=(
            f"{wording.place(statement)} commits as it goes, but one of its transactions changes at least "
            f"{wording.count(rows, 'row')} of {table} ({facts.tables.share(table, rows):.0%} of it), and "
            "keeps them locked to its end"
        ),
        statement=statement.index,
        subject=str(table),
        observed=Quantity(took_s if projected_s is None else projected_s, Unit.SECONDS),
        limit=Quantity(facts.budget_s, Unit.SECONDS),
        evidence=_victims(facts, [cost]),
        advice=(_REHEARSE_MORE.format(table=table) if loops else "")
        + advice.batches(statement, table, _key(facts, table)),
    )


def _loops(statement: Statement) -> bool:
    effects = statement.effects
    if effects is not None and effects.loops is not None:
        return effects.loops
    return statement.command == "CALL" or bool(re.search(r"\bLOOP\b", statement.text, re.IGNORECASE))


def _one_piece(facts: Facts, statement: Statement, tables: Sequence[Relation], longest_ns: int) -> Finding:
    loops = _loops(statement)
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
    size = "" if facts.tables.find(table) is None else f" ({min(1.0, share):.0%} of it)"
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


def _partial(facts: Facts, table: Relation, changes: Sequence[tuple[Statement, int]], part: Part) -> Finding:
    """A small part of the table, which in production is many rows, for long."""
    costs = [facts.costs[s.index] for s, _ in changes if s.index in facts.costs]
    heaviest = max(costs, key=lambda cost: cost.busy_ns).statement
    rows = sum(changed for _, changed in changes)
    measured_s = sum(cost.busy_s for cost in costs)
    if part.seconds is None:
        severity = Severity.UNMEASURED if part.sure else Severity.WARNING
        then = f"Its production rows are not given: name those of {table}."
    else:
        severity = RULE.severity if part.sure else Severity.UNMEASURED
        many = f"{wording.about_rows(part.rows)}, locked for up to {wording.seconds(part.seconds)}"
        budget = f"against a budget of {wording.seconds(facts.budget_s)}"
        then = f"At production size that is {many}, {budget}."
        if not part.sure:
            then = (
                "Whether that grows with the table is not known: if it does, at production size it is "
                f"{many}, {budget}."
            )
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=(
            f"{wording.place(heaviest)} changes {wording.count(rows, 'row')} of {table} "
            f"({facts.tables.share(table, rows):.1%} of it) in one transaction, and keeps them locked to its "
            f"end. It took {wording.seconds(measured_s)} here. {then}"
        ),
        statement=heaviest.index,
        subject=str(table),
        observed=Quantity(measured_s if part.seconds is None else part.seconds, Unit.SECONDS),
        limit=Quantity(facts.budget_s, Unit.SECONDS),
        evidence=(*_log_written(costs), *_victims(facts, costs)),
        advice=("" if part.sure else _TELL_GROWTH) + advice.batches(heaviest, table, _key(facts, table)),
    )


def _adding(facts: Facts, table: Relation, statements: Sequence[Statement], rows: int) -> Finding:
    """Rows that were not there before: they are in nobody's way, but the transaction is as long."""
    costs = [facts.costs[s.index] for s in statements if s.index in facts.costs]
    heaviest = max(costs, key=lambda cost: cost.busy_ns).statement
    return Finding(
        rule=RULE.id,
        severity=Severity.WARNING,
        message=(
            f"{wording.place(heaviest)} adds {wording.count(rows, 'row')} to {table} in one transaction: "
            "nobody waits for rows that are not there yet, but who writes the same key does, to its end"
        ),
        statement=heaviest.index,
        subject=str(table),
        observed=Quantity(sum(cost.busy_s for cost in costs), Unit.SECONDS),
        evidence=(
            *_log_written(costs),
            "as long as it is open, no VACUUM can remove dead rows of any table",
            *_victims(facts, costs),
        ),
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
