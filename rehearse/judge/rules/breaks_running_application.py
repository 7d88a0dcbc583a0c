"""`breaks-running-application`: the old application fails during the migration, or after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rehearse.judge import advice, wording
from rehearse.judge.compatibility import Clash, clashes, texts, vanished
from rehearse.judge.facts import Facts
from rehearse.judge.refusals import CACHED_PLAN, Refusal
from rehearse.judge.rules.rule import Rule
from rehearse.judge.untried import defaults_gone, later_connections
from rehearse.model.compatibility import SchemaVersion
from rehearse.model.migration import Statement, StatementOutcome
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import Version

# Undefined or mistyped names, constraints, values that do not fit, errors that triggers raise. Locks,
# time-outs, deadlocks and lost connections are for other rules.
_CLASSES = ("0A", "22", "23", "38", "39", "42", "44", "P0")
_MEANING = {
    "42703": "a column it uses is not there",
    "42P01": "a table it uses is not there",
    "42883": "a function or operator it uses is not there",
    "42804": "a column has another type",
    "42501": "it is not permitted any more",
    "0A000": "its prepared statements return another type (cached plan must not change result type)",
    "23502": "it leaves a column NULL that must not be",
    "23503": "it refers to a parent that does not exist, or deletes one that is referred to",
    "23505": "it writes what must be unique now",
    "23514": "it writes what a CHECK forbids now",
    "22001": "it writes values that are too long now",
    "22003": "it writes values that are out of range now",
}
_NAME = re.compile(r"""(?:"(?:[^"]|"")*"|\((?:[^()"]|"(?:[^"]|"")*")*\)|[^\s"(])+""")
_TAKES_RIGHTS = re.compile(
    r"\bREVOKE\b|\b(?:ENABLE|FORCE)\s+ROW\s+LEVEL\s+SECURITY\b|\b(?:CREATE|ALTER)\s+POLICY\b", re.IGNORECASE
)


def _check(facts: Facts) -> Iterable[Finding]:
    new = facts.new_scripts
    for refusal in facts.refusals:
        if refusal.script not in new and is_breach(refusal):
            yield _finding(facts, refusal)
    for clash in clashes(facts, Version.OLD, SchemaVersion.NEW):
        lost = clash.vanishes
        yield vanished(facts, clash, RULE.id, "the running") if lost else _quiet(facts, clash)
    yield from _unseen(facts)
    yield from _granted(facts)
    yield from _untried_permissions(facts)
    yield from defaults_gone(facts, RULE.id)
    yield from later_connections(facts, RULE.id)


def is_breach(refusal: Refusal) -> bool:
    """Whether an application and the schema do not go together."""
    return refusal.kind.startswith(_CLASSES) and refusal.excess > 0 and len(refusal.kind) == 5


def meaning_of(sqlstate: str) -> str:
    """What an SQLSTATE says of the application; empty where that is not told."""
    return _MEANING.get(sqlstate, "")


def _finding(facts: Facts, refusal: Refusal) -> Finding:
    culprit = _culprit(facts, refusal)
    meaning = _MEANING.get(refusal.kind, "")
    recovered = refusal.recovered
    count = wording.count(refusal.count, "transaction")
    message = f"{count} of {refusal.script} failed with {refusal.kind}"
    message += f": {meaning}" if meaning else ""
    message += f", since {wording.place(culprit)}" if culprit else ""
    message += "; it went on as soon as the statements were prepared again" if recovered else ""
    return Finding(
        rule=RULE.id,
        severity=Severity.WARNING if recovered else Severity.FAILURE,
        message=message,
        statement=culprit.index if culprit else None,
        subject=refusal.script,
        observed=Quantity(float(refusal.count), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=tuple(_evidence(facts, refusal)),
        advice=_advice(refusal, culprit),
    )


def _quiet(facts: Facts, clash: Clash) -> Finding:
    """What the migrated schema refuses when nobody else is there, and the old one takes."""
    meaning = _MEANING.get(clash.sqlstate, "")
    failing = list(texts(facts, clash.script, clash.refused))
    culprit = _taker(facts, clash.sqlstate, failing)
    return Finding(
        rule=RULE.id,
        severity=Severity.FAILURE,
        message=(
            f"the migrated schema refuses {clash.script} with {clash.sqlstate}"
            + (f": {meaning}" if meaning else f": {clash.refused[0].message}")
        ),
        statement=culprit.index if culprit else None,
        subject=clash.script,
        observed=Quantity(float(len(clash.refused)), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=(
            *(f"what fails: {wording.excerpt(text)}" for text in failing),
            "tried by itself with the same values on both schemas; the old one takes them",
        ),
        advice=advice.rename_first(
            f"what {wording.place(culprit)} changes" if culprit else "what is changed"
        ),
    )


def _evidence(facts: Facts, refusal: Refusal) -> Iterable[str]:
    text = failing_text(facts, refusal)
    if text:
        yield f"what fails: {wording.excerpt(text)}"
    yield (
        f"{refusal.count:,} of {wording.count(refusal.due, 'transaction')} that were due; "
        f"before the migration {refusal.count_before:,} of {refusal.due_before:,}"
    )
    run = facts.run
    if run and not refusal.recovered:
        later = "still failing" if refusal.last_ns > run.ended_ns else "failing"
        since = (refusal.last_ns - run.started_ns) / 1e9
        yield f"{later} {wording.seconds(max(0.0, since))} after the migration began"


def failing_text(facts: Facts, refusal: Refusal) -> str:
    """The statement of the script that failed most often; empty where it is not known."""
    script = next((s for s in facts.record.scripts if s.name == refusal.script), None)
    if script is None or not 0 <= refusal.statement < len(script.statements):
        return ""
    return script.statements[refusal.statement]


def _culprit(facts: Facts, refusal: Refusal) -> Statement | None:
    """The statement that took away or changed what the failing text names; failing that, the last one
    that changed a schema before the first failure was seen.
    """
    named = _taker(facts, refusal.kind, [failing_text(facts, refusal)])
    if named is not None:
        return named
    begun = [
        s
        for s in facts.statements
        if s.started_ns <= refusal.first_ns
        and s.outcome is not StatementOutcome.NOT_RUN
        and s.effects is not None
        and (s.effects.locks or s.effects.columns or s.effects.relations)
    ]
    return begun[-1] if begun else None


def _taker(facts: Facts, sqlstate: str, failing: Sequence[str]) -> Statement | None:
    """The statement of the migration that changed a name which one of `failing` uses."""
    if sqlstate not in ("42703", "42P01", "42804", "42883"):
        return None
    for statement in facts.statements:
        if any(_mentions(text, name) for name in _changed_names(statement) for text in failing):
            return statement
    return None


def _changed_names(statement: Statement) -> Iterable[str]:
    if statement.effects:
        yield from (change.column for change in statement.effects.columns)
        yield from (change.relation.name for change in statement.effects.relations)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None


def _advice(refusal: Refusal, culprit: Statement | None) -> str:
    if refusal.kind == CACHED_PLAN:
        return (
            "Name the columns instead of SELECT *, so that a new column changes no result; let the driver "
            "prepare again on 0A000 (or DISCARD ALL, or reconnect)."
        )
    if refusal.kind.startswith(("23", "22", "44", "P0")):
        return (
            "Deploy an application that satisfies the new rule first, or give the column a default; add the "
            "constraint when no old version runs any more."
        )
    what = f"what {wording.place(culprit)} changes" if culprit else "what is changed"
    return advice.rename_first(what)


def _granted(facts: Facts) -> Iterable[Finding]:
    """What the migration demands of rows, and generation saw to: neither production's rows nor those that
    the application writes have been put to that test.
    """
    dataset = facts.record.dataset
    for precaution in dataset.precautions if dataset else ():
        yield Finding(
            rule=RULE.id,
            severity=Severity.WARNING,
            message=(
                f"rows were generated so that {precaution}: that production's rows do so, and those that the "
                "running application writes, was taken for granted"
            ),
            subject=_named(precaution),
            advice=(
                "Count the rows in production that do not, and look for statements of the application that "
                "would write such; or give them as [workload] scripts."
            ),
        )


def _named(precaution: str) -> str:
    """What a precaution begins with: a name, with blanks where it has them, in quotes or in parentheses."""
    match = _NAME.match(precaution)
    return match.group() if match else ""


def _untried_permissions(facts: Facts) -> Iterable[Finding]:
    """Rights that are taken away do not concern the traffic, which runs as the owner of everything."""
    hot = {relation for footprint in facts.record.footprints for relation, _ in footprint.locks}
    for statement in facts.statements:
        tables = [str(table) for table in sorted(hot) if _mentions(statement.text, table.name)]
        if tables and facts.committed(statement) and _TAKES_RIGHTS.search(statement.text):
            yield Finding(
                rule=RULE.id,
                severity=Severity.UNMEASURED,
                message=(
                    f"{wording.place(statement)} takes rights on {wording.listed(tables)} away, and the "
                    "traffic runs as a superuser, whom it does not concern: the application's role was "
                    "not tried"
                ),
                statement=statement.index,
                subject=tables[0],
                advice="Try the application's statements under its own role (SET ROLE) on a copy.",
            )


def _unseen(facts: Facts) -> Iterable[Finding]:
    """Columns that went away or were renamed, of which no script speaks: whether the application uses
    them was not put to the test.
    """
    new = facts.new_scripts
    texts = [text for script in facts.record.scripts if script.name not in new for text in script.statements]
    for statement in facts.statements:
        for change in statement.effects.columns if statement.effects else ():
            if change.what not in ("dropped", "renamed") or not facts.committed(statement):
                continue
            if change.table in facts.created or any(_mentions(text, change.column) for text in texts):
                continue
            name = f"{change.table}.{change.column}"
            yield Finding(
                rule=RULE.id,
                severity=Severity.WARNING,
                message=(
                    f"{wording.place(statement)} takes away {name}, and no script of the workload mentions "
                    "it: be sure that no running application does"
                ),
                statement=statement.index,
                subject=name,
                advice=advice.rename_first(name),
            )


RULE = Rule(
    id="breaks-running-application",
    severity=Severity.FAILURE,
    reason=(
        "The application that is running now goes on running while the schema changes, and for some time "
        "after. Its statements failed with errors that they never had before: a column or table is gone, a "
        "constraint refuses its rows, a result has another type than its prepared statement expects."
    ),
    safe_way=(
        "Expand, migrate, contract: add the new beside the old, deploy an application that uses it, and take "
        "the old away in a later migration, when no version that needs it is running."
    ),
    check=_check,
)
