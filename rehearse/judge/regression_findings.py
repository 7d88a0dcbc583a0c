"""The findings of `query-regression` that plans explain, with the plans before and after."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.regressions import Regression
from rehearse.model.migration import Statement
from rehearse.model.plans import BareKey, CountedStatement, Execution
from rehearse.model.relation import quote_name
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

QUERY_REGRESSION = "query-regression"
LOOK = (
    "Look at its plans (EXPLAIN) after the migration: a foreign key without an index on its columns makes "
    "every DELETE on the parent read the child; a new column type may not fit an index; after a rewrite, "
    "ANALYZE."
)
_NODES = 6  # of a plan that one line shows
_BLOCK_BYTES = 8192
_CONDITIONS = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter", "Sort Key")


def planned(facts: Facts, each: Regression) -> Finding:
    """What the plans show."""
    sides = each.statement
    culprit = _culprit(facts, each)
    after = sides.after
    if after.timed_out:
        message = f"{sides.script} does not come to an end after the migration, where it did before"
        observed, limit = None, None
    elif not each.reads_more:
        took = statistics.median(sides.before.seconds), min(after.seconds)
        message = (
            f"{sides.script} takes {wording.seconds(took[1])} after the migration instead of "
            f"{wording.seconds(took[0])}"
        )
        observed, limit = (Quantity(seconds, Unit.SECONDS) for seconds in reversed(took))
    else:
        message = (
            f"{sides.script} reads {wording.factor(each.factor)} times as much after the migration as "
            f"before: {wording.count(after.blocks, 'block')} instead of {sides.before.blocks:,.0f}"
        )
        observed, limit = (Quantity(side.blocks, Unit.COUNT) for side in (after, sides.before))
    cause = _cause(each)
    return Finding(
        rule=QUERY_REGRESSION,
        severity=_severity(each),
        message=message + (f", because {cause}" if cause else ""),
        statement=culprit.index if culprit else None,
        subject=sides.script,
        observed=observed,
        limit=limit,
        evidence=tuple(_evidence(facts, each)),
        advice=_remedy(each),
    )


def with_counts(facts: Facts, finding: Finding) -> Finding:
    """The finding with what the server counted of its script under the traffic."""
    counted = facts.trial.counted if facts.trial else None
    if counted is None:
        told = ["pg_stat_statements is not loaded, or not in this database: what it counts is not measured"]
    else:
        told = [_counts(each) for each in counted if each.script == finding.subject]
        told = told or ["pg_stat_statements did not see this script in both phases: not measured"]
    return replace(finding, evidence=(*finding.evidence, *told))


def _counts(each: CountedStatement) -> str:
    before, after = (
        f"{wording.seconds(side.seconds)} and {wording.count(side.blocks, 'block')} each in "
        f"{wording.count(side.calls, 'call')}"
        for side in (each.before, each.after)
    )
    return f"pg_stat_statements, statement {each.index + 1}: {before} of the baseline, {after} after it"


def _severity(each: Regression) -> Severity:
    """What a VACUUM mends that comes by itself will be mended; nothing brings statistics that are gone, as
    rows that a rewrite moves do not count as changed.
    """
    if each.recovers and not each.unanalyzed:
        return Severity.WARNING
    return Severity.FAILURE if each.fails else Severity.WARNING


def _cause(each: Regression) -> str:
    if each.lost:
        return f"the index {wording.listed([str(lost.index) for lost in each.lost])} is gone"
    if each.recovers:
        if each.unanalyzed:
            return f"there are no statistics for {wording.listed([str(one) for one in each.unanalyzed])}"
        return f"{each.table} was not vacuumed since"
    if each.bare and any("Trigger for constraint" in line for line in each.statement.after.plan):
        key = each.bare[0]
        return f"the foreign key {quote_name(key.constraint)} has no index on {_columns(key)}"
    return ""


def _culprit(facts: Facts, each: Regression) -> Statement | None:
    """The statement that took the index away, made the foreign key, or wrote the table anew."""
    gone = {lost.index for lost in each.lost}
    for statement in facts.statements:
        effects = statement.effects
        if effects is None or not facts.committed(statement):
            continue
        locked = {lock.relation for lock in effects.locks}
        key = bool(each.bare) and "REFERENCES" in statement.text.upper() and each.table in locked
        rewritten = any(work.table == each.table for work in effects.rewritten)
        if gone & locked if gone else key or rewritten:
            return statement
    return None


def _evidence(facts: Facts, each: Regression) -> Iterable[str]:
    sides = each.statement
    script = next((s for s in facts.record.scripts if s.name == sides.script), None)
    if script is not None and 0 <= sides.index < len(script.statements):
        yield f"the statement: {wording.excerpt(script.statements[sides.index], 200)}"
    yield f"plan before: {_outline(sides.before)}"
    yield f"plan after: {_outline(sides.after)}"
    if each.recovers and sides.vacuumed is not None:
        yield f"plan after VACUUM (ANALYZE): {_outline(sides.vacuumed)}"
    if each.growth is None:
        yield f"how many rows {each.table or 'its tables'} has in production is not given: it grows with them"
    elif each.rows_after > each.rows_before:
        rows = wording.about_rows(each.rows_after * each.growth)
        yield f"at production size one execution reads {rows}, one after the other"
    else:
        blocks = sides.after.blocks * each.growth
        yield f"at production size that is about {wording.size(blocks * _BLOCK_BYTES)} for one execution"


def _outline(execution: Execution) -> str:
    """The plan in one line: its nodes, without conditions."""
    lines = [line.strip().removeprefix("-> ") for line in execution.plan if not _is_condition(line)]
    if not lines:
        return "cancelled after some time" if execution.timed_out else "not known"
    shown = lines[:_NODES]
    more = [f"{len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    return "; ".join([*shown, *more])


def _is_condition(line: str) -> bool:
    return line.lstrip().startswith(_CONDITIONS)


def _columns(key: BareKey) -> str:
    return f"{key.table} ({', '.join(quote_name(column) for column in key.columns)})"


def _remedy(each: Regression) -> str:
    if each.lost:
        definition = each.lost[0].definition.replace("INDEX", "INDEX CONCURRENTLY", 1)
        return (
            f"Keep {each.lost[0].index}: this script uses it. Where another index is to take its place, "
            f"create that first, and compare the plans again. To have it back: {definition};"
        )
    if each.recovers:
        return f"VACUUM (ANALYZE) {each.table}; -- or ANALYZE alone, as the last step of the migration"
    if each.bare:
        return f"CREATE INDEX CONCURRENTLY ON {_columns(each.bare[0])}; -- before the foreign key"
    return LOOK
