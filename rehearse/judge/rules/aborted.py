"""`aborted`: a gate of the user's broke the migration off."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.gates import number
from rehearse.judge.rules.rule import Rule
from rehearse.judge.stalls import blamed
from rehearse.judge.traffic import Span
from rehearse.model.gates import METRIC_KINDS
from rehearse.model.migration import StatementOutcome
from rehearse.model.verdict import Finding, Quantity, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    aborted = facts.trial.aborted if facts.trial else None
    if aborted is None:
        return
    gate = next((gate for gate in facts.record.scenario.aborts if gate.text == aborted.gate), None)
    unit = METRIC_KINDS[(gate.metric.name if gate else aborted.gate.split(" ")[0])].unit
    run = facts.run
    during = blamed(Span(aborted.at_ns - 1, aborted.at_ns), run) if run else None
    after_s = (aborted.at_ns - run.started_ns) / 1e9 if run else 0.0
    left = [s for s in facts.statements if s.outcome is StatementOutcome.NOT_RUN]
    evidence = [f"{wording.seconds(max(0.0, after_s))} after the migration began"]
    if left:
        evidence.append(f"{wording.count(len(left), 'statement')} did not run")
    evidence.append("what would have come of it later is not known; no other trial was made")
    yield Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=(
            f"the migration was broken off by the gate {aborted.gate}: it was {number(aborted.value, unit)}"
            + (f" while {wording.place(during)} ran" if during else "")
        ),
        statement=during.index if during else None,
        observed=Quantity(aborted.value, unit),
        limit=Quantity(gate.limit, unit) if gate else None,
        evidence=tuple(evidence),
    )


RULE = Rule(
    id="aborted",
    severity=Severity.FAILURE,
    reason=(
        "A gate under [abort] came true while the migration ran, so it was cancelled and the run ended "
        "early. Whatever else it would have done, it has done more than it may."
    ),
    safe_way=(
        "See what the other findings say of the statement that ran. In production, let the same limit break "
        "it off: a lock_timeout and a statement_timeout."
    ),
    check=_check,
)
