"""`replica-lag`: a standby falls behind the migration, or cancels its readers to keep up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import find_missed
from rehearse.judge.replica import lag_max_s
from rehearse.judge.rules.rule import Rule
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationRun, Statement
from rehearse.model.relation import Relation
from rehearse.model.replica import ReplicaFacts
from rehearse.model.trials import TrialKind
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_CONFLICTS = "replica.conflicts"
_WRITES_MUCH = frozenset(("long-transaction", "rewrite-under-lock", "index-build-blocks-writes"))
_QUIET_HOUR = (
    "Take the lock when nobody reads for long on the standbys, or end their long readers first. "
    "hot_standby_feedback = on keeps rows that they still need, and does nothing about locks; a longer "
    "max_standby_streaming_delay lets readers finish, and the standby fall behind meanwhile."
)


def _check(facts: Facts) -> Iterable[Finding]:
    trial = facts.record.trial(TrialKind.REPLICA)
    found = trial.replica if trial is not None else None
    yield from _missed(facts, found)
    if trial is None or found is None or trial.migration is None:
        return
    if found.caught_up_ns is None:
        yield _never(found)
    gated = any(gate.metric == _CONFLICTS for gate in facts.gates)
    locks = tuple(_exclusive(trial.migration))
    if found.conflict_count and not gated:
        yield _cancelled(found, locks)
    elif locks and not found.reader_s:
        yield _untried(found, locks)


def _missed(facts: Facts, found: ReplicaFacts | None) -> Iterable[Finding]:
    """Gates: lag goes with what writes much, conflicts with nothing that others have found."""
    told = _evidence(found) if found is not None else ()
    lag = find_missed(facts, RULE.id, lambda metric: metric.startswith("replica.lag"), _WRITES_MUCH)
    conflicts = find_missed(facts, RULE.id, lambda metric: metric == _CONFLICTS, frozenset())
    for finding in lag:
        yield replace(finding, evidence=(*finding.evidence, *told))
    for finding in conflicts:
        failed = finding.severity is Severity.FAILURE
        advice = _QUIET_HOUR if failed else finding.advice
        yield replace(finding, evidence=(*finding.evidence, *told), advice=advice)


def _never(found: ReplicaFacts) -> Finding:
    waited = wording.nanoseconds(found.waited_ns)
    return Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED,
        message=(
            f"the standby had not caught up {waited} after the migration's end: how far behind it falls is "
            "not known"
        ),
        observed=Quantity(lag_max_s(found), Unit.SECONDS),
        evidence=_evidence(found),
        advice="Lower max_standby_streaming_delay in [database.settings], or rehearse with fewer rows.",
    )


def _cancelled(found: ReplicaFacts, locks: tuple[tuple[Statement, Relation], ...]) -> Finding:
    by_lock = bool(dict(found.conflicts).get("lock")) and bool(locks)
    why = f": they stood in the way of {wording.place(locks[0][0])}" if by_lock else ""
    return Finding(
        rule=RULE.id,
        severity=Severity.WARNING,
        message=(
            f"replay cancelled {wording.count(found.conflict_count, 'reader')} on the standby{why}; it fell "
            f"{wording.seconds(lag_max_s(found))} behind"
        ),
        statement=locks[0][0].index if by_lock else None,
        subject=str(locks[0][1]) if by_lock else "",
        observed=Quantity(float(found.conflict_count), Unit.COUNT),
        evidence=_evidence(found),
        advice=_QUIET_HOUR,
    )


def _untried(found: ReplicaFacts, locks: tuple[tuple[Statement, Relation], ...]) -> Finding:
    statement, table = locks[0]
    delay = dict(found.settings).get("max_standby_streaming_delay", "")
    return Finding(
        rule=RULE.id,
        severity=Severity.NOTE,
        message=(
            f"{wording.place(statement)} takes ACCESS EXCLUSIVE on {table}, whose replay waits on a standby "
            f"behind whoever reads it there, for up to max_standby_streaming_delay ({delay}), and then "
            "cancels them; no long reader was there"
        ),
        statement=statement.index,
        subject=str(table),
        evidence=_evidence(found),
        advice='[trials] standby_reader = "5s" holds one open.',
    )


def _exclusive(run: MigrationRun) -> Iterable[tuple[Statement, Relation]]:
    """Locks that are replayed: ACCESS EXCLUSIVE alone, on what was there before."""
    for statement in run.statements:
        for lock in statement.effects.locks if statement.effects else ():
            if lock.mode is LockMode.ACCESS_EXCLUSIVE and not lock.created_here:
                yield statement, lock.table


def _evidence(found: ReplicaFacts) -> tuple[str, ...]:
    lines = [
        f"at most {wording.seconds(lag_max_s(found))} and {wording.size(found.unreplayed_max_bytes)} behind",
        f"{wording.size(found.wal_bytes)} of log were written during the migration",
        f"{wording.count(found.finished, 'transaction')} of readers finished on the standby",
    ]
    if found.caught_up_ns is not None:
        lines.append(f"it had caught up {wording.nanoseconds(found.caught_up_ns)} after the migration's end")
    lines += [f"conflicts over {kind}: {count:,}" for kind, count in found.conflicts]
    lines += [
        f"{each.script or 'the reader that was held open'}: {each.sqlstate}, {each.count:,} times"
        for each in found.cancelled
    ]
    lines += [f"{name} = {value}" for name, value in found.settings]
    return tuple(lines)


RULE = Rule(
    id="replica-lag",
    severity=Severity.FAILURE,
    reason=(
        "A standby replays with one process what the primary wrote with many. A migration that writes much "
        "makes it fall behind, and whoever reads there reads what was true a while ago. Replay of an ACCESS "
        "EXCLUSIVE lock waits for readers on the standby, and everything behind it waits as well; after "
        "max_standby_streaming_delay the readers are cancelled."
    ),
    safe_way=(
        "Batches with pauses, watched by the replicas' lag. Strong locks when nobody reads for long on the "
        "standbys, and with nothing long after them in the same transaction."
    ),
    check=_check,
)
