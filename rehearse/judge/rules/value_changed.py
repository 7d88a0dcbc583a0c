"""`value-changed`: values that were there are not what they were."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import expendable, integrity_of, retyping, says, writing
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name
from rehearse.model.trials import ColumnIntegrity, Difference, Misfit, TableIntegrity
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_WORDS = {
    Difference.CUT: "cut off",
    Difference.ROUNDED: "rounded",
    Difference.SHIFTED: "moved by whole quarters of an hour, as another time zone does",
    Difference.RECODED: "re-encoded (bytes, base64, hex, or another character set)",
    Difference.NULLED: "now NULL",
    Difference.CHANGED: "changed in another way",
}


def _check(facts: Facts) -> Iterable[Finding]:
    found = integrity_of(facts)
    seen: set[tuple[Relation, str]] = set()
    for table in found.tables if found else ():
        for column in table.columns:
            told = [(kind, rows) for kind, rows in column.differences if kind in _WORDS]
            if told and not expendable(facts, table.table, column.column):
                seen.add((table.table, column.column))
                yield _finding(facts, table, column, told)
    for misfit in found.misfits if found else ():
        if (misfit.table, misfit.column) not in seen and not expendable(facts, misfit.table, misfit.column):
            yield _would(facts, misfit)


def _would(facts: Facts, misfit: Misfit) -> Finding:
    """No rehearsed value was changed, because all of them fit; one that does not fit is."""
    statement = facts.statements[misfit.statement] if misfit.statement < len(facts.statements) else None
    what = f"{misfit.table}.{quote_name(misfit.column)}"
    where = wording.place(statement) if statement else "the migration"
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=(
            f"{where} changes values of {what} that do not fit {misfit.type_after} without an error: they "
            f"are {_WORDS[misfit.difference]}"
        ),
        statement=misfit.statement,
        subject=what,
        evidence=(
            f"tried on a value that makes use of all that {misfit.type} has room for",
            "the rehearsed values all fit: they are generated so that the migration can succeed",
        ),
        advice=_instead(misfit.table, misfit.column, misfit.type, misfit.type_after),
    )


def _finding(
    facts: Facts, table: TableIntegrity, column: ColumnIntegrity, told: list[tuple[Difference, int]]
) -> Finding:
    retyped = retyping(facts, table.table, column)
    statement = retyped or writing(facts, table, column.column)
    what = f"{table.table}.{quote_name(column.column)}"
    rows = sum(count for _, count in told)
    where = f"{wording.place(statement)} changes" if statement else "the migration changes"
    kinds = wording.listed([f"{count:,} {_WORDS[kind]}" for kind, count in told])
    severity = _severity({kind for kind, _ in told}, retyped, statement)
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=(f"{where} what stood in {what}: of {wording.count(column.values, 'value')} {kinds}"),
        statement=None if statement is None else statement.index,
        subject=what,
        observed=Quantity(float(rows), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT) if severity is Severity.FAILURE else None,
        evidence=tuple(_evidence(table, column, statement)),
        advice=_instead(table.table, column.column, column.type, column.type_after),
    )


def _severity(kinds: set[Difference], retyped: Statement | None, statement: Statement | None) -> Severity:
    """What is lost fails, unless an UPDATE was written to compute it; what is converted is shown."""
    if Difference.NULLED in kinds:
        return Severity.FAILURE
    if retyped is None and statement is not None:
        return Severity.WARNING
    if any(kind.loses for kind in kinds):
        return Severity.FAILURE
    if Difference.CHANGED in kinds and (retyped is None or not says(retyped, "USING")):
        return Severity.FAILURE
    return Severity.WARNING


def _evidence(table: TableIntegrity, column: ColumnIntegrity, statement: Statement | None) -> Iterable[str]:
    if column.type_after and column.type_after != column.type:
        yield f"its type was {column.type} and is {column.type_after}"
    if column.after and column.after != column.column:
        yield f"it is called {quote_name(column.after)} now"
    if table.keyed:
        yield f"found by comparing {wording.count(table.rows_before, 'row')} with the base, by their key"
    else:
        yield "the table has no key, so its values were compared as a heap: of what kind is a guess"
    calls = statement is not None and statement.command == "CALL"  # what its procedure does, it does not say
    if statement and not calls and not says(statement, column.column) and not says(statement, "TYPE"):
        yield "the statement does not name the column: a trigger or a cascade does it"


def _instead(table: Relation, column: str, before: str, after: str | None) -> str:
    name = quote_name(column)
    look = ""
    if after and after != before:
        where = f"({name})::{after}::{before} IS DISTINCT FROM {name}"
        look = f"SELECT count(*) FROM {table} WHERE {where};  -- what production would lose\n"  # noqa: S608 - advice, for a person to run
    plain = f"{table}.{name}".replace('"', "")
    return (
        f"{look}Put the new values into a column of their own, and keep the old one until nobody misses it. "
        f'If its data may go, say so: [migration] expendable = ["{plain}"].'
    )


RULE = Rule(
    id="value-changed",
    severity=Severity.FAILURE,
    reason=(
        "Values that were there before are cut, rounded, NULL or otherwise not what they were. The statement "
        "succeeds, nothing fails, and the loss is found weeks later."
    ),
    safe_way=(
        "Make a new column, fill it in batches, compare the two, switch the application over, and drop the "
        "old one in a later release; or look first whether any value would be changed."
    ),
    check=_check,
)
