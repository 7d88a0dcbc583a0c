"""`not-restartable`: broken off midway, the migration cannot simply be run again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import MigrationRun, Statement
from rehearse.model.record import TrialKind
from rehearse.model.trials import Interruption, SchemaDifference
from rehearse.model.verdict import Finding, Severity

_MOST = 12
_EXISTS = frozenset(
    {"42P07", "42701", "42710", "42P06", "42723"}
)  # a table, column, object, schema, function
_GONE = frozenset({"42P01", "42703", "42704", "42883"})
_CREATES = re.compile(
    r"^CREATE\s+(?:UNIQUE\s+)?"
    r"(?:TABLE|INDEX(?:\s+CONCURRENTLY)?|SEQUENCE|SCHEMA|EXTENSION|MATERIALIZED\s+VIEW)\b",
    re.IGNORECASE,
)

_DROPS = re.compile(
    r"\b(DROP\s+(?:COLUMN|CONSTRAINT|INDEX(?:\s+CONCURRENTLY)?|TABLE|VIEW))\s+(?!IF\b)", re.IGNORECASE
)


def _check(facts: Facts) -> Iterable[Finding]:
    trial = facts.record.trial(TrialKind.INTERRUPTION)
    found = trial.interruption if trial else None
    run = trial.migration if trial else None
    if found is None or run is None:
        return
    told: set[tuple[int | None, str]] = set()
    for one in found.interruptions:
        finding = _finding(one, run)
        if finding is not None and (finding.statement, finding.subject) not in told:
            told.add((finding.statement, finding.subject))
            yield finding


def _finding(one: Interruption, run: MigrationRun) -> Finding | None:
    """One interruption that a second run does not mend; None where it does, or where none landed."""
    if not one.reached or one.again is None:
        return None
    where = "before" if one.part == 0 else "in"
    broken = f"{one.blow.value} {where} {wording.place(run.statements[one.statement])}"
    failed = one.again.failed
    if failed is not None:
        state = f" with {failed.sqlstate}" if failed.sqlstate else ""
        said = wording.excerpt(failed.message or "the server did not say why", 300)
        known = _known(failed, run)
        return Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"{broken}, it cannot be run again: {wording.place(known or failed)} fails{state}: {said}"
            ),
            statement=one.statement if known is None else known.index,
            subject=f"again: {failed.sqlstate or failed.command}",
            evidence=tuple(_left(one)),
            advice=_mend(failed, one),
        )
    if one.schema:
        return Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"{broken} and run again, it succeeds, and makes another thing than when not broken off"
            ),
            statement=one.statement,
            subject=f"{one.schema[0].kind} {one.schema[0].name}",
            evidence=tuple(_line(each) for each in one.schema[:_MOST]),
            advice=_mend(run.statements[one.statement], one),
        )
    return None


def _known(failed: Statement, run: MigrationRun) -> Statement | None:
    """`failed` as a statement of the first run; None where that had none like it, as a tool that is run again
    sends other statements before it gets there.
    """
    if run.tool is None:
        return failed
    return next((s for s in run.statements if s.text == failed.text), None)


def _left(one: Interruption) -> Iterable[str]:
    for index in one.remains.invalid_indexes:
        yield f"it left the index {index} INVALID"
    for table, name in one.remains.unvalidated:
        yield f"it left the constraint {name} of {table} NOT VALID"
    invalid = {str(index) for index in one.remains.invalid_indexes}
    for each in [each for each in one.left if each.name not in invalid][:_MOST]:
        yield f"it left {each.name} written in part" if each.kind == "data" else f"it left {_line(each)}"


def _line(each: SchemaDifference) -> str:
    if each.kind == "data":
        return (
            f"other values in {each.name} than where it is not broken off: rows that were done are done again"
        )
    if each.kind == "ledger":
        return f"the ledger {each.name}, which says that it was applied"
    if each.before is None:
        return f"the {each.kind} {each.name}: {each.after}".rstrip(": ")
    if each.after is None:
        return f"no {each.kind} {each.name}, which was: {each.before}".rstrip(": ")
    return f"the {each.kind} {each.name} as {each.after}, which was: {each.before}"


def _mend(failed: Statement, one: Interruption) -> str:
    """How to write it so that it can be run twice."""
    lines = [
        f"DROP INDEX CONCURRENTLY IF EXISTS {index};  -- before it is made, which IF NOT EXISTS would skip"
        for index in one.remains.invalid_indexes
    ]
    if not lines and one.schema and one.schema[0].kind == "data":
        return (
            "Write it so that a row that was done is not done again: into a new column, WHERE it IS NULL; or "
            "with a mark of how far it came, written in the same transaction."
        )
    text = " ".join(failed.text.split())
    if not lines and failed.sqlstate in _EXISTS:
        lines = [_if_not_exists(text)]
    if not lines and failed.sqlstate in _GONE and re.match(r"(DROP|ALTER)\b", text, re.IGNORECASE):
        lines = [f"{_DROPS.sub(lambda match: f'{match[1]} IF EXISTS ', text)};"]
    return "\n".join(
        lines
        or [
            (
                "Write each step so that it can be run twice (IF NOT EXISTS, IF EXISTS, WHERE ... IS NULL), "
                "or put those that belong together into one transaction."
            )
        ]
    )


def _if_not_exists(text: str) -> str:
    made = _CREATES.sub(lambda match: f"{match[0]} IF NOT EXISTS", text)
    if made == text:
        made = re.sub(r"\bADD\s+COLUMN\s+(?!IF\b)", "ADD COLUMN IF NOT EXISTS ", text, flags=re.IGNORECASE)
    if made == text:
        made = re.sub(
            r"\bADD\s+CONSTRAINT\s+(\S+)", r"DROP CONSTRAINT IF EXISTS \1, ADD CONSTRAINT \1", text,
            flags=re.IGNORECASE,
        )  # fmt: skip
    return f"{made};"


RULE = Rule(
    id="not-restartable",
    severity=Severity.FAILURE,
    reason=(
        "A migration that is broken off (a deploy that times out, a server that fails over) leaves some of "
        "its steps done. Running it again fails on those, or passes them by and leaves something half made."
    ),
    safe_way=(
        "One transaction for what belongs together; and where that cannot be (CONCURRENTLY, batches), steps "
        "that can be run twice: IF NOT EXISTS, DROP INDEX CONCURRENTLY IF EXISTS before the index, WHERE ... "
        "IS NULL in a backfill."
    ),
    check=_check,
)
