"""`duration`: the migration takes longer than the gate allows."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_missed(facts, RULE.id, lambda metric: metric.startswith("duration"))


RULE = Rule(
    id="duration",
    severity=Severity.FAILURE,
    reason=(
        "The migration as a whole, here or projected to production rows, takes longer than the gate allows: "
        "longer than a deployment waits, or than a maintenance window lasts."
    ),
    safe_way="Take the long, harmless part out of the deployment: backfills, validations, concurrent builds.",
    check=_check,
)
