"""`errors`: more transactions failed than the gate allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.missed_gates import ERROR_RULES, find_missed
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity

_MOST = 8


def _check(facts: Facts) -> Iterable[Finding]:
    for finding in find_missed(facts, RULE.id, lambda name: name.startswith("errors."), ERROR_RULES):
        if finding.severity is Severity.FAILURE:
            yield replace(finding, evidence=(*_who_failed(facts), *finding.evidence))
        else:
            yield finding


def _who_failed(facts: Facts) -> tuple[str, ...]:
    worst = sorted((r for r in facts.refusals if not r.recovered and not r.unseen), key=lambda r: -r.excess)
    return tuple(
        f"{r.script}: {r.kind} in {r.count:,} of {wording.count(r.due, 'transaction')} "
        f"(before: {r.count_before:,} of {r.due_before:,})"
        for r in worst[:_MOST]
        if r.excess > 0
    )


RULE = Rule(
    id="errors",
    severity=Severity.FAILURE,
    reason=(
        "More transactions of the application failed, or never finished, than the gate allows, not counting "
        "those that failed at the same rate before the migration, and cached plans that were prepared again."
    ),
    safe_way=(
        "The SQLSTATEs say why: names and constraints are told under breaks-running-application, deadlocks "
        "under deadlock; what never finished was waiting for a lock."
    ),
    check=_check,
)
