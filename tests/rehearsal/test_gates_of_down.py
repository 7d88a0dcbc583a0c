"""Gates on the way back where the traffic never met it: not measured, and said how it could be."""

from __future__ import annotations

from dataclasses import replace

from rehearse.judge.down import without_way_back
from rehearse.judge.judge import judge
from rehearse.model.verdict import GateStatus, Severity, Verdict
from rehearse.scenario.gates import parse_gate_expression, with_gates
from tests.report import records

TEXTS = ("stall.max{phase=down} <= 1s", "latency.p99{phase=down} <= 3x latency.p99{phase=baseline}")


def test_a_way_back_that_nobody_tried_is_not_measured() -> None:
    record, samples = records.concurrent_index()
    gates = with_gates((), [parse_gate_expression(text) for text in TEXTS])
    record = replace(record, scenario=replace(record.scenario, gates=gates))
    judgement = judge(record, samples)
    assert judgement.verdict is not Verdict.GO
    found = {gate.gate: gate for gate in judgement.gates}
    findings = {finding.gate: finding for finding in judgement.findings}
    for text in TEXTS:
        assert found[text].status is GateStatus.UNMEASURED
        assert "rollback_traffic = true" in found[text].note
        assert findings[text].severity is Severity.UNMEASURED
        assert findings[text].message.startswith("on the way back, ")
    assert dict(judgement.metrics)["stall.max{phase=down}"] is None
    # the traffic trial is not made again for want of it
    assert not judge(without_way_back(record), samples).gates
