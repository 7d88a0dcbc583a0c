"""`invalid-index-left`: an index that is kept up and of no use to anyone."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import integrity_of
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import Statement, StatementOutcome
from rehearse.model.record import TrialKind
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    seen: set[Relation] = set()
    for statement in facts.statements:
        for index in statement.effects.invalid_indexes if statement.effects else ():
            if not _mended(facts, statement, index):
                seen.add(index)
                yield _finding(statement, index)
    yield from _in_quiet(facts, seen)
    yield from _broken_off(facts, seen)


def _broken_off(facts: Facts, seen: set[Relation]) -> Iterable[Finding]:
    """Those that stay when the migration is broken off, and is not mended by running it again."""
    trial = facts.record.trial(TrialKind.INTERRUPTION)
    for one in trial.interruption.interruptions if trial and trial.interruption else ():
        for index in one.remains.invalid_indexes:
            if index in seen:
                continue
            seen.add(index)
            again = "fails" if one.again and one.again.failed else "keeps it"
            yield Finding(
                rule=RULE.id,
                severity=RULE.severity,
                message=(
                    f"broken off ({one.blow.value}), the migration leaves the index {index} INVALID; running "
                    f"it again {again}"
                ),
                statement=one.statement,
                subject=str(index),
                advice=f"DROP INDEX CONCURRENTLY IF EXISTS {index};  -- as the step before it is made",
            )


def _in_quiet(facts: Facts, seen: set[Relation]) -> Iterable[Finding]:
    """Those that the catalog has after the migration ran in quiet, whoever made them."""
    found = integrity_of(facts)
    for index in found.remains.invalid_indexes if found else ():
        if index not in seen:
            yield Finding(
                rule=RULE.id,
                severity=RULE.severity,
                message=f"the migration leaves the index {index} INVALID, even with no traffic in its way",
                subject=str(index),
                advice=f"DROP INDEX CONCURRENTLY {index};\n-- or REINDEX INDEX CONCURRENTLY {index};",
            )


def _mended(facts: Facts, statement: Statement, index: Relation) -> bool:
    """Whether a later statement dropped it, or built it again."""
    return any(
        later.index > statement.index
        and later.outcome is StatementOutcome.OK
        and later.effects is not None
        and index not in later.effects.invalid_indexes
        and (
            any(build.index == index for build in later.effects.built)
            or (later.command.startswith("DROP INDEX") and index.name in later.text)
        )
        for later in facts.statements
    )


def _finding(statement: Statement, index: Relation) -> Finding:
    said = f"{statement.sqlstate}: {statement.message}"
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=(
            f"{wording.place(statement)} leaves the index {index} INVALID: kept up by every write, used by "
            "no query"
        ),
        statement=statement.index,
        subject=str(index),
        evidence=(said,) if statement.sqlstate and statement.message else (),
        advice=(
            f"DROP INDEX CONCURRENTLY {index};\n-- then create it again, without a short lock_timeout or "
            "statement_timeout, and with no long transaction open (it waits for every old snapshot)"
        ),
    )


RULE = Rule(
    id="invalid-index-left",
    severity=Severity.FAILURE,
    reason=(
        "CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY that fail midway leave an index marked INVALID. "
        "Every write keeps it up, no query uses it, and where it is unique it may go on refusing rows."
    ),
    safe_way=(
        "Drop it with DROP INDEX CONCURRENTLY and try again. CONCURRENTLY waits for all older snapshots of "
        "the database, also those that never touched the table: do not give it a short lock_timeout."
    ),
    check=_check,
)
