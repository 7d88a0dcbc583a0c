"""`stall`: work was due and none of it finished; also blocking gates that no structure explains."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import LOCK_RULES, find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    yield from find_missed(facts, RULE.id, lambda metric: metric.startswith("stall."))
    explained = any(f.severity is Severity.FAILURE and f.rule in LOCK_RULES for f in facts.found)
    if not explained:
        yield from find_missed(facts, RULE.id, lambda metric: metric.startswith("blocking."))


RULE = Rule(
    id="stall",
    severity=Severity.FAILURE,
    reason=(
        "For longer than the gate allows, transactions of the application were due and none of them "
        "finished, or the migration held or waited for a lock in their way. This is what users notice first: "
        "the application stands still."
    ),
    safe_way=(
        "Look at the statement that ran meanwhile: take its lock with a lock_timeout, for a moment only, and "
        "do the long part of its work without the lock."
    ),
    check=_check,
)
