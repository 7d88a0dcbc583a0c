"""`adversary-missing`: company that the scenario asked for was not there."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    for kind in facts.trial.missing_adversaries if facts.trial else ():
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            subject=kind,
            message=f"the adversary {kind} was not there when the migration should have met it",
            evidence=facts.trial.notes if facts.trial else (),
            advice="Its note says what it met; mend its table, start or duration in [[adversaries]].",
        )


RULE = Rule(
    id="adversary-missing",
    severity=Severity.UNMEASURED,
    reason=(
        "The scenario asked for company, a long reader or an open transaction, and it could not start, ended "
        "early or lost its connection. What the migration would have done beside it was not seen."
    ),
    safe_way="Mend the adversary's table, start or duration, and run again.",
    check=_check,
)
