"""`rollback-incomplete`: after up and down, not everything is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import expendable
from rehearse.judge.rules.rule import Rule
from rehearse.model.record import TrialKind
from rehearse.model.relation import quote_name
from rehearse.model.trials import Difference, RollbackFacts, SchemaDifference, TableIntegrity
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_MOST = 25  # differences that one finding names
_WORDS = {
    Difference.CUT: "cut off",
    Difference.ROUNDED: "rounded",
    Difference.SHIFTED: "moved in time",
    Difference.RECODED: "re-encoded",
    Difference.NULLED: "NULL",
    Difference.FILLED: "no longer NULL",
    Difference.CHANGED: "different",
}


def _check(facts: Facts) -> Iterable[Finding]:
    trial = facts.record.trial(TrialKind.ROLLBACK)
    found = trial.rollback if trial else None
    if found is None:
        return
    if not found.has_down:
        yield _finding(
            Severity.NOTE,
            "there is no down migration: the way back was not rehearsed",
            advice="Write one, [migration] down, or know how to go forward from a failure.",
        )
    elif found.down is not None and found.down.failed is not None:
        yield _failed(found)
    if found.schema:
        yield _schema(found.schema)
    for table in found.tables:
        yield from _data(facts, table)


def _failed(found: RollbackFacts) -> Finding:
    failed = found.down.failed if found.down else None
    assert failed is not None
    state = f" with {failed.sqlstate}" if failed.sqlstate else ""
    said = wording.excerpt(failed.message or "the server did not say why", 300)
    return _finding(
        Severity.FAILURE,
        f"{wording.place(failed)} of the way back failed{state}: {said}",
        advice="A way back that fails is none: mend it, and write each step so that it can be run twice.",
    )


def _schema(found: Sequence[SchemaDifference]) -> Finding:
    what = wording.listed([f"the {each.kind} {each.name} {_state(each)}" for each in found], 3)
    lines = [_line(each) for each in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"and {wording.count(len(found) - _MOST, 'more difference')}")
    return _finding(
        Severity.FAILURE,
        f"after up and down the schema is not what it was: {what}",
        subject=f"{found[0].kind} {found[0].name}",
        observed=Quantity(float(len(found)), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=tuple(lines),
        advice="Undo in the down migration everything that up does, in the opposite order.",
    )


def _state(difference: SchemaDifference) -> str:
    if difference.before is None:
        return "is left over"
    return "is gone" if difference.after is None else "is another one"


def _line(difference: SchemaDifference) -> str:
    name = f"{difference.kind} {difference.name}"
    if difference.before is None:
        return f"{name} is left over: {difference.after}".rstrip(": ")
    if difference.after is None:
        return f"{name} is gone: {difference.before}".rstrip(": ")
    return f"{name} was: {difference.before}; is: {difference.after}"


def _data(facts: Facts, table: TableIntegrity) -> Iterable[Finding]:
    """What no down migration brings back, or did not."""
    lines = list(_losses(facts, table))
    if lines:
        yield _finding(
            Severity.WARNING,
            f"after up and down the data of {table.table} are not what they were: {wording.listed(lines, 3)}",
            subject=str(table.table),
            evidence=tuple(lines) if len(lines) > 1 else (),
            advice=(
                "What up takes away, down cannot bring back: keep the old values beside the new ones until "
                "there is no going back."
            ),
        )


def _losses(facts: Facts, table: TableIntegrity) -> Iterator[str]:
    if table.after is None:
        yield f"all of its {wording.count(table.rows_before, 'row')} are gone"
        return
    if table.lost and not expendable(facts, table.table):
        yield f"{wording.count(table.lost, 'row')} of {table.rows_before:,} are gone"
    if table.added:
        yield f"{wording.count(table.added, 'row')} came on top"
    for column in table.columns:
        name = quote_name(column.column)
        if expendable(facts, table.table, column.column):
            continue
        if column.after is None and column.values:
            yield f"{name} is gone, with {wording.count(column.values, 'value')}"
        if column.differences:
            kinds = wording.listed([f"{rows:,} {_WORDS[kind]}" for kind, rows in column.differences])
            yield f"in {name} {kinds}"


def _finding(
    severity: Severity,
    message: str,
    *,
    subject: str = "down",
    observed: Quantity | None = None,
    limit: Quantity | None = None,
    evidence: tuple[str, ...] = (),
    advice: str = "",
) -> Finding:
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=message,
        subject=subject,
        observed=observed,
        limit=limit,
        evidence=evidence,
        advice=advice,
    )


RULE = Rule(
    id="rollback-incomplete",
    severity=Severity.FAILURE,
    reason=(
        "The down migration fails, or does not lead back to the schema there was: something is forgotten or "
        "left over. It is run when things go wrong, which is no time to find that out."
    ),
    safe_way=(
        "Rehearse up and down together, undo every step of up in the opposite order, and keep what down "
        "cannot bring back (dropped columns, converted values) beside the new until there is no way back."
    ),
    check=_check,
)
