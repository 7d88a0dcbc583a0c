"""`wal-volume`: the migration writes more write-ahead log than the gate allows."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_missed(facts, RULE.id, lambda metric: metric.startswith("wal."))


RULE = Rule(
    id="wal-volume",
    severity=Severity.FAILURE,
    reason=(
        "All that the migration writes goes through the write-ahead log, to every replica and into the "
        "archive. More at a stretch than they can take makes replicas lag and disks fill."
    ),
    safe_way="Batches with pauses; no rewrite of what need not be rewritten.",
    check=_check,
)
