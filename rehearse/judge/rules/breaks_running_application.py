"""`breaks-running-application`: the old application fails during the migration, or after it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence

from rehearse.judge import advice, wording
from rehearse.judge.compatibility import Clash, clashes, texts, vanished
from rehearse.judge.facts import Facts
from rehearse.judge.refusals import CACHED_PLAN, Refusal, first_tries
from rehearse.judge.rights import connections_refused, permissions_gone
from rehearse.judge.rules.rule import Rule
from rehearse.judge.traffic import Span
from rehearse.judge.untried import defaults_gone, later_connections
from rehearse.model.compatibility import SchemaVersion
from rehearse.model.locks import LockMode
from rehearse.model.migration import ColumnChange, Statement, StatementOutcome
from rehearse.model.record import Phase
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
    "42P10": "its ON CONFLICT finds no unique index to go by",
    "42501": "it is not permitted any more",
    "0A000": "its prepared statements return another type (cached plan must not change result type)",
    "23502": "it leaves a column NULL that must not be",
    "23503": "it refers to a parent that does not exist, or deletes one that is referred to",
    "23505": "it writes what must be unique now",
    "23514": "it writes what a CHECK forbids now",
    "22001": "it writes values that are too long now",
    "22003": "it writes values that are out of range now",
}
_FORGET = (
    "Where it is raised behind a function, as that of a trigger: sessions keep the plans of a function, made "
    "for the old types, until it is changed itself; end the migration's transaction with ALTER FUNCTION "
    "name() RESET ALL for each. Else: "
)
_NAME = re.compile(r"""(?:"(?:[^"]|"")*"|\((?:[^()"]|"(?:[^"]|"")*")*\)|[^\s"(])+""")


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
    yield from permissions_gone(facts, RULE.id)
    yield from connections_refused(facts, RULE.id)
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
    if refusal.unseen:
        message += "; too few came afterwards to see whether it goes on with statements prepared again"
    return Finding(
        rule=RULE.id,
        severity=_severity(refusal),
        message=message,
        statement=culprit.index if culprit else None,
        subject=refusal.script,
        observed=Quantity(float(refusal.count), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=tuple(_evidence(facts, refusal)),
        advice=_more_recovery(facts, refusal) if refusal.unseen else _advice(refusal, culprit),
    )


def _severity(refusal: Refusal) -> Severity:
    if refusal.unseen:
        return Severity.UNMEASURED
    return Severity.WARNING if refusal.recovered else RULE.severity


def _more_recovery(facts: Facts, refusal: Refusal) -> str:
    """So that by chance every connection has met each statement again, in half of the time."""
    wanted = 4 * first_tries(refusal, facts.record)
    recovery = facts.trial.phase(Phase.RECOVERY) if facts.trial else None
    sent = 0
    if recovery is not None and facts.traffic is not None:
        due = facts.traffic.due & facts.traffic.of_script(refusal.script)
        sent = int((due & facts.traffic.within(Span(recovery.start_ns, recovery.end_ns))).sum())
    lasted_s = (recovery.end_ns - recovery.start_ns) / 1e9 if recovery else 0.0
    option = f"--recovery {math.ceil(lasted_s * wanted / sent)}s" if sent else "--recovery"
    return (
        f"Rehearse with a longer recovery ({option}), a higher rate, or fewer clients than "
        f"{facts.record.scenario.workload.clients}: about {wanted:,} transactions of {refusal.script} after "
        "the migration would show it."
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
    that changed a schema before the first failure was seen, of a table that the script uses if there is one.
    """
    named = _taker(facts, refusal.kind, [failing_text(facts, refusal)])
    if named is not None:
        return named
    # what a transaction changes is seen when all of it is through
    under_way = {s.transaction for s in facts.statements if s.started_ns <= refusal.first_ns}
    run = [
        s
        for s in facts.statements
        if s.transaction in under_way and s.outcome is not StatementOutcome.NOT_RUN and s.effects is not None
    ]
    begun = [s for s in run if s.effects and (s.effects.locks or s.effects.columns or s.effects.relations)]
    functions = [s for s in run if s.command in ("CREATE FUNCTION", "CREATE PROCEDURE")]
    used = {
        relation
        for footprint in facts.record.footprints
        if footprint.script == refusal.script
        for relation, _ in footprint.locks
    }
    changed = [s for s in begun if _changes_schema(s)]
    of_its_own = [s for s in changed if s.effects and any(lock.table in used for lock in s.effects.locks)]
    return next((found[-1] for found in (of_its_own, changed, begun, functions) if found), None)


def _changes_schema(statement: Statement) -> bool:
    """Whether it holds more than what reading and writing rows takes."""
    effects = statement.effects
    return effects is not None and bool(
        effects.columns
        or effects.relations
        or any(
            lock.mode.strength > LockMode.ROW_EXCLUSIVE.strength and not lock.created_here
            for lock in effects.locks
        )
    )


def _taker(facts: Facts, sqlstate: str, failing: Sequence[str]) -> Statement | None:
    """The statement of the migration that changed a name which one of `failing` uses: what is not there was
    dropped or renamed; a mismatch of types may be that of any column with another type.
    """
    if sqlstate not in ("42703", "42P01", "42804", "42883"):
        return None
    gone = sqlstate in ("42703", "42P01")
    for wanted in (("dropped", "renamed"), ("retyped",)) if gone else (("retyped",), ("dropped", "renamed")):
        for statement in facts.statements:
            names = _changed_names(statement, wanted)
            if any(_mentions(text, name) for name in names for text in failing):
                return statement
    return None


def _changed_names(statement: Statement, wanted: Collection[str]) -> Iterable[str]:
    if statement.effects:
        yield from (change.column for change in statement.effects.columns if change.what in wanted)
        yield from (change.relation.name for change in statement.effects.relations if change.what in wanted)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None


def _advice(refusal: Refusal, culprit: Statement | None) -> str:
    if refusal.kind == CACHED_PLAN:
        return (
            "Let the driver prepare again on 0A000 (or DISCARD ALL, or reconnect). In place of SELECT * "
            "name the columns, so that a new one changes no result; a column of another type always does."
        )
    if refusal.kind.startswith(("23", "22", "44", "P0")):
        return (
            "Deploy an application that satisfies the new rule first, or give the column a default; add the "
            "constraint when no old version runs any more."
        )
    what = f"what {wording.place(culprit)} changes" if culprit else "what is changed"
    return (_FORGET if refusal.kind == "42804" else "") + advice.rename_first(what)


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
            if _is_passing(facts, statement, change):
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


def _is_passing(facts: Facts, statement: Statement, gone: ColumnChange) -> bool:
    """Whether the name was only given on the way, or is given to another column in the same transaction."""
    for other in facts.statements:
        for change in other.effects.columns if other.effects else ():
            if change.what != "renamed" or (change.table, change.after) != (gone.table, gone.column):
                continue
            if other.index < statement.index or other.transaction == statement.transaction:
                return True
    return False


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
