"""`disk-headroom`: the migration needs more room on the disk than the gate allows."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_missed(facts, RULE.id, lambda metric: metric.startswith("disk."))


RULE = Rule(
    id="disk-headroom",
    severity=Severity.FAILURE,
    reason=(
        "A rewrite keeps the old table until it commits, an index build sorts in temporary files beside "
        "what it writes, and updated rows stay until a vacuum. A disk that fills up stops the migration, "
        "and then every write of the application."
    ),
    safe_way="Make room first, or go in batches with a vacuum in between.",
    check=_check,
)
