"""`workload-missed-table`: the migration touches what the workload never puts to the test."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.heat import guarded
from rehearse.judge.rules.rule import Rule
from rehearse.model.locks import LockMode
from rehearse.model.migration import HeldLock, Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

_TABLES = ("table", "partitioned table", "materialized view", "index", "partitioned index")
_SYSTEM = ("pg_catalog", "information_schema", "pg_toast")
_ADVICE = (
    "Give the workload a script that does to this table what the application does (SELECT, INSERT, UPDATE), "
    "or leave [workload] scripts out, and one is inferred."
)


def _check(facts: Facts) -> Iterable[Finding]:
    yield from _without_footprint(facts)
    told: set[Relation] = set()
    for statement in facts.statements:
        for lock in _locks(facts, statement):
            table = guarded(lock)
            problem = _problem(facts, statement, lock)
            if problem and table not in told:
                told.add(table)
                yield _finding(statement, table, problem)
        for table in _changed(statement):
            if table not in told and not facts.heat.modes(table) and table not in facts.created:
                told.add(table)
                yield _finding(statement, table, "changes it, and no script of the workload touches it")
    yield from _silent_scripts(facts)


def _locks(facts: Facts, statement: Statement) -> Iterable[HeldLock]:
    """Locks that can be in somebody's way, on tables that were there before."""
    effects = statement.effects
    written = {relation for relation, rows in effects.rows_changed if rows} if effects else set()
    for lock in effects.locks if effects else ():
        if lock.created_here or lock.kind not in _TABLES or guarded(lock) in facts.created:
            continue
        if lock.relation.schema in _SYSTEM or lock.relation.schema.startswith("pg_temp"):
            continue
        strong = lock.mode.strength >= LockMode.SHARE_UPDATE_EXCLUSIVE.strength
        if strong or (lock.mode is LockMode.ROW_EXCLUSIVE and lock.relation in written):
            yield lock


def _problem(facts: Facts, statement: Statement, lock: HeldLock) -> str:
    """What was not put to the test; empty where all was."""
    table = guarded(lock)
    modes = facts.heat.modes(table)
    if not modes:
        if _is_partition_of_touched(facts, statement, lock):
            return ""
        return f"takes {lock.mode.sql} on it, and no script of the workload touches it"
    blocks_only_writes = lock.mode.blocks_writes and not lock.mode.blocks_reads
    reads_only = not any(mode.conflicts_with(LockMode.SHARE) for mode in modes)
    if blocks_only_writes and reads_only and lock.kind in ("table", "partitioned table"):
        return f"takes {lock.mode.sql} on it, which stops writes, and the workload never writes it"
    return ""


def _is_partition_of_touched(facts: Facts, statement: Statement, lock: HeldLock) -> bool:
    """A statement on a partitioned table locks every partition, and a script reaches only those that
    its rows are in: the others are put to the test by their like. Told by the name and the same lock.
    """
    return any(
        other.kind == "partitioned table"
        and other.mode is lock.mode
        and facts.heat.modes(other.relation)
        and lock.relation.name.startswith(other.relation.name)
        for other in (statement.effects.locks if statement.effects else ())
    )


def _changed(statement: Statement) -> Iterable[Relation]:
    effects = statement.effects
    if effects:
        yield from (change.table for change in effects.columns)
        yield from (change.relation for change in effects.relations)


def _finding(statement: Statement, table: Relation, problem: str) -> Finding:
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=f"{wording.place(statement)} concerns {table}: it {problem}",
        statement=statement.index,
        subject=str(table),
        advice=_ADVICE,
    )


def _without_footprint(facts: Facts) -> Iterable[Finding]:
    """Scripts of which nobody knows what they touch; those that come after the migration meet none of it."""
    known = {footprint.script for footprint in facts.record.footprints} | facts.new_scripts
    missing = [script.name for script in facts.record.scripts if script.name not in known]
    if missing or not facts.record.scripts:
        names = wording.listed(missing) if missing else "the workload"
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=f"it is not known which tables {names} locks, so nothing can be said of who would wait",
            subject=missing[0] if missing else "",
        )


def _silent_scripts(facts: Facts) -> Iterable[Finding]:
    """Scripts on the migration's tables that were never due from its start on."""
    traffic, after = facts.traffic, facts.after
    if traffic is None or after is None:
        return
    concerned = {
        script
        for statement in facts.statements
        for lock in _locks(facts, statement)
        for script in facts.heat.touched_by(guarded(lock))
    }
    since = traffic.due & traffic.within(after)
    for script in sorted(concerned):
        if not (since & traffic.of_script(script)).any():
            yield Finding(
                rule=RULE.id,
                severity=RULE.severity,
                message=f"{script} works on the migration's tables, and none of it was due since it began",
                subject=script,
                advice="Raise [workload] rate, the script's weight, or the length of the recovery.",
            )


RULE = Rule(
    id="workload-missed-table",
    severity=Severity.UNMEASURED,
    reason=(
        "The migration locks or changes a table that no script of the workload touches, or stops writes to "
        "one that it only reads. That nobody was kept waiting says nothing, then, about the application."
    ),
    safe_way="Give the workload a script for the table, or let one be inferred.",
    check=_check,
)
