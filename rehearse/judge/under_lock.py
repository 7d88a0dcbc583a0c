"""Work over whole tables while a lock keeps the traffic out: what three rules have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rehearse.judge import advice, victims, wording
from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold, Taking, locks_told
from rehearse.judge.projection import Cost, Work, WorkKind
from rehearse.judge.sizing import size_up
from rehearse.model.migration import LockEvidence, StatementOutcome
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding

_SOURCE = {
    LockEvidence.TRANSACTION: "",
    LockEvidence.SAMPLED: " (seen from another session)",
    LockEvidence.DOCUMENTED: " (as documented; it could not be read)",
}
Describe = Callable[[Sequence[Hold], Sequence[Taking]], str]


def find_work(facts: Facts, rule: str, kind: WorkKind, describe: Describe) -> Iterable[Finding]:
    """One finding for each statement whose main work is of `kind` and which itself took a lock that
    keeps scripts out. `describe` completes the sentence with what is kept out.
    """
    for cost in facts.costs.values():
        takings = takings_by(facts, cost)
        if takings and kind is own_kind(cost):
            yield _finding(facts, rule, cost, takings, describe)


def takings_by(facts: Facts, cost: Cost) -> tuple[Taking, ...]:
    """The locks that the statement itself took against the traffic, strongest first."""
    found = [t for hold in facts.holds for t in hold.takings if t.statement is cost.statement]
    worked = {work.table for work in cost.works}
    return tuple(sorted(found, key=lambda taking: (-taking.mode.strength, taking.table not in worked)))


def own_kind(cost: Cost) -> WorkKind | None:
    """The kind under which the statement's work is reported: an index build reads its table as well,
    and a rewrite rebuilds its indexes. None where it only changed rows, or did nothing that grows.
    """
    kinds = {work.kind for work in cost.works}
    order = (WorkKind.REWRITE, WorkKind.BUILD, WorkKind.SCAN)
    return next((kind for kind in order if kind in kinds), None)


def _finding(facts: Facts, rule: str, cost: Cost, takings: Sequence[Taking], describe: Describe) -> Finding:
    statement = cost.statement
    kind = own_kind(cost)
    works = [work for work in cost.works if work.kind is kind]
    sizing = size_up(facts, [cost], known_s=cost.projected_s)
    holds = facts.holds_under(statement)
    tables = wording.listed(_names(works))
    verb = kind.value if kind else ""
    return Finding(
        rule=rule,
        severity=sizing.severity,
        message=(
            f"{wording.place(statement)} {verb} {tables} under {takings[0].sql}, which "
            f"{describe(holds, takings)}. {sizing.sentence}"
        ),
        statement=statement.index,
        subject=_subject(works, takings),
        observed=sizing.observed,
        limit=sizing.limit,
        evidence=(*evidence_of(cost, takings), *_victims(facts, takings, holds)),
        advice=advice.for_statement(statement, takings[0].table),
    )


def evidence_of(cost: Cost, takings: Sequence[Taking]) -> tuple[str, ...]:
    """Lock, work and own wait, as facts."""
    lines = _lock_lines(takings)
    lines += [f"it {work.kind.value} {work.table}: {wording.count(work.rows, 'row')}" for work in cost.works]
    if cost.waited_ns:
        lines.append(f"before that it waited for locks for at least {wording.nanoseconds(cost.waited_ns)}")
    if cost.statement.outcome is not StatementOutcome.OK:
        lines.append(f"the statement ended as {cost.statement.outcome.value}")
    return tuple(lines)


def _lock_lines(takings: Sequence[Taking]) -> list[str]:
    """One for each table, and one for all of its indexes that were locked alike."""
    groups: dict[tuple[LockEvidence, tuple[str, ...]], list[Taking]] = {}
    for taking in takings:
        groups.setdefault((taking.evidence, taking.scripts), []).append(taking)
    return [
        f"it took {lock}{_SOURCE[evidence]}, which keeps out {wording.listed(scripts)}"
        for (evidence, scripts), group in groups.items()
        for lock in locks_told(group)
    ]


def _victims(facts: Facts, takings: Sequence[Taking], holds: Sequence[Hold]) -> tuple[str, ...]:
    tables = {taking.table for taking in takings}
    lines = [line for hold in holds if hold.table in tables for line in victims.of_hold(facts, hold)]
    return tuple(dict.fromkeys(lines))


def _names(works: Iterable[Work]) -> list[str]:
    return [str(table) for table in sorted({work.table for work in works})]


def _subject(works: Sequence[Work], takings: Sequence[Taking]) -> str:
    """The hot table that was worked on; failing that, the one that was locked."""
    locked: set[Relation] = {taking.table for taking in takings}
    hot = [work.table for work in works if work.table in locked]
    return str(hot[0] if hot else takings[0].table)
