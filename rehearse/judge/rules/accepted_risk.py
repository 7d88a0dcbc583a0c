"""`accepted-risk`: an acceptance that is of no use any more."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.accepted import described, settle
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    settled = settle(facts.record, facts.found, facts.gates, facts.stalls)
    for spec in settled.unused:
        yield _finding(
            f"nothing was found that is accepted as {described(spec)}",
            spec.reason,
            "Take it out of [[accept]].",
        )
    for spec in settled.expired:
        yield _finding(
            f"{described(spec)} was accepted until {spec.until.isoformat()}, and is no longer",
            spec.reason,
            "Mend what it accepts, or give it a new date, for a reason.",
        )


def _finding(message: str, reason: str, advice: str) -> Finding:
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=message,
        evidence=(f"the reason: {reason}",),
        advice=advice,
    )


RULE = Rule(
    id="accepted-risk",
    severity=Severity.NOTE,
    reason=(
        "A risk that the scenario accepts was not found, or its day has passed. What is accepted without "
        "need would hide the next one."
    ),
    safe_way="Accept one statement at a time, with a near day, and take it out when it is done.",
    check=_check,
)
