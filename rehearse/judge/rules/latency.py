"""`latency`: the application answered more slowly, or less often, than the gate allows."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_missed(facts, RULE.id, lambda metric: metric.startswith("latency.") or metric == "throughput")


RULE = Rule(
    id="latency",
    severity=Severity.FAILURE,
    reason=(
        "Response times, counted from the moment a transaction was due, or the number of transactions "
        "finished, missed a gate. Locks make a few transactions very late; work that takes the disk and the "
        "CPU makes all of them a little late."
    ),
    safe_way=(
        "Where locks are the cause, the structural findings say what to do. Else do the work in smaller "
        "portions with pauses, or at another time of day."
    ),
    check=_check,
)
