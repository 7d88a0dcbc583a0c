"""`data-loss`: columns and tables that held data are gone."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import advice, wording
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name
from rehearse.model.verdict import Finding, Quantity, Severity, Unit


def _check(facts: Facts) -> Iterable[Finding]:
    expendable = frozenset(_plain(name) for name in facts.record.scenario.migration.expendable)
    made_here: set[Relation] = set()
    for statement in facts.statements:
        if statement.effects is None:
            continue
        if facts.committed(statement):
            yield from _columns(statement, expendable, made_here)
            yield from _relations(statement, expendable, made_here)
        made_here |= {lock.relation for lock in statement.effects.locks if lock.created_here}


def _columns(statement: Statement, expendable: frozenset[str], made_here: set[Relation]) -> Iterable[Finding]:
    for change in statement.effects.columns if statement.effects else ():
        names = _names(change.table) | {f"{name}.{change.column}" for name in _names(change.table)}
        if change.what != "dropped" or change.rows_with_data == 0 or change.table in made_here:
            continue
        if not names & expendable:
            what = f"{change.table}.{quote_name(change.column)}"
            yield _finding(statement, f"drops the column {what}", what, change.rows_with_data)


def _relations(
    statement: Statement, expendable: frozenset[str], made_here: set[Relation]
) -> Iterable[Finding]:
    for change in statement.effects.relations if statement.effects else ():
        if change.what not in ("dropped", "truncated") or change.rows == 0 or change.relation in made_here:
            continue
        if not _names(change.relation) & expendable:
            verb = "drops" if change.what == "dropped" else "empties"
            yield _finding(
                statement, f"{verb} the table {change.relation}", str(change.relation), change.rows
            )


def _names(relation: Relation) -> set[str]:
    """The ways in which a person may name it, without quotes."""
    return {relation.name, f"{relation.schema}.{relation.name}"}


def _plain(name: str) -> str:
    return name.replace('"', "").strip()


def _finding(statement: Statement, what: str, subject: str, rows: int | None) -> Finding:
    held = "which may have held data (it was not counted)"
    if rows is not None:
        held = f"which held data in {wording.count(rows, 'row')}"
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=f"{wording.place(statement)} {what}, {held}",
        statement=statement.index,
        subject=subject,
        observed=None if rows is None else Quantity(float(rows), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=("no rollback brings it back: a down migration can only restore the empty column or table",),
        advice=advice.expendable(_plain(subject)),
    )


RULE = Rule(
    id="data-loss",
    severity=Severity.FAILURE,
    reason=(
        "A column or table that held data is dropped or emptied. Once committed, nothing but a backup brings "
        "the data back, and a down migration only restores the shape."
    ),
    safe_way=(
        "Stop using it first, keep it for a release (rename a table away), then drop it; and name it in "
        "[migration] expendable to say that its data may go."
    ),
    check=_check,
)
