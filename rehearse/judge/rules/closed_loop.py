"""`closed-loop`: the traffic waited with the server, so nobody knows how long others would have waited."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    load = facts.record.scenario.workload
    if not load.closed_loop:
        return
    gates = [gate.metric for gate in facts.gates if gate.metric.startswith("latency.")]
    yield Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED if gates else Severity.WARNING,
        message=(
            f"the traffic ran in a closed loop: {load.clients} clients wait for their answers before they "
            "send again, so that times in which the server stood still are hardly among the latencies"
        ),
        subject="workload.rate",
        evidence=tuple(f"not measured by it: {metric}" for metric in gates),
        advice=(
            "Give [workload] rate a number, somewhat below what this closed loop reached; or switch the "
            "gates on latency off, and let stalls, locks and errors decide."
        ),
    )


RULE = Rule(
    id="closed-loop",
    severity=Severity.UNMEASURED,
    reason=(
        "In a closed loop a client sends its next transaction when it has the answer to the one before. A "
        "lock of three seconds makes each client late once; the thousands of transactions that users would "
        "have begun meanwhile are never sent, and no percentile shows them (coordinated omission)."
    ),
    safe_way="Rehearse with a rate, which is an open loop; closed loops are for what a server can do.",
    check=_check,
)
