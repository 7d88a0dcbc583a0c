"""The judgement: from a record and its samples to findings and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge.accepted import settle
from rehearse.judge.down import check_down, unmet, way_back
from rehearse.judge.facts import Facts, derive
from rehearse.judge.gates import evaluate_abort
from rehearse.judge.rules import CLOSING, GATED, MEASURED, RULES, STRUCTURAL
from rehearse.judge.rules.rule import Rule
from rehearse.judge.scaling import Totals, growths
from rehearse.model.gates import MetricRef
from rehearse.model.growth import Bounds
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateResult, GateStatus, Growth, Judgement, Severity, Verdict
from rehearse.model.workload import SampleColumns

_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_RULE_RANK = {rule.id: rank for rank, rule in enumerate(RULES)}


def judge(record: RunRecord, samples: SampleColumns | None, down: SampleColumns | None = None) -> Judgement:
    """Conclude from what was measured, by the gates of the record's scenario.

    The same input gives the same judgement: there is no clock in it and no chance. `samples` None means
    that there are none; what they would have shown is then unmeasured, never passed. `down` are those of the
    way back, where the traffic met it. Raises RecordError where the samples cannot be read.
    """
    facts = derive(record, samples)
    back = way_back(record, down)
    if back is not None:
        facts = replace(facts, measures=replace(facts.measures, down=back.measures))
    found = [*_run((*STRUCTURAL, *MEASURED), facts)]
    gated, asked = _gated_on_the_way_back(record, back)
    found += gated
    facts = replace(facts, found=tuple(found))
    found += _run(GATED, facts)
    settled = settle(record, found, (*facts.gates, *asked), facts.stalls)
    closing = _run(CLOSING, replace(facts, found=tuple(found)))
    findings = sorted([*settled.findings, *closing], key=_place)
    aborts = [evaluate_abort(gate, facts.measures) for gate in record.scenario.aborts]
    gates = (*settled.gates, *aborts)
    return Judgement(
        verdict=verdict_of(findings, gates),
        findings=tuple(findings),
        gates=gates,
        metrics=facts.measures.quantities(),
        stalls=facts.stalls,
        checked=tuple(rule.id for rule in RULES),
        growths=_growths(facts),
    )


def _gated_on_the_way_back(
    record: RunRecord, back: Facts | None
) -> tuple[tuple[Finding, ...], tuple[GateResult, ...]]:
    """What the rules find on the way back, and what became of the gates that ask for it."""
    if back is None:
        none = unmet(record)
        nothing = replace(derive(replace(record, trials=()), None), gates=none)
        return check_down(nothing, GATED) if none else (), none
    found = check_down(back, STRUCTURAL)
    return (*found, *check_down(replace(back, found=found), GATED)), back.gates


def verdict_of(findings: Iterable[Finding], gates: Iterable[GateResult]) -> Verdict:
    """Any failure that is not accepted makes NO_GO; else anything unmeasured makes INCONCLUSIVE; else GO."""
    severities = {finding.severity for finding in findings}
    statuses = {gate.status for gate in gates if gate.accepted is None}
    if Severity.FAILURE in severities or GateStatus.FAILED in statuses:
        return Verdict.NO_GO
    if Severity.UNMEASURED in severities or GateStatus.UNMEASURED in statuses:
        return Verdict.INCONCLUSIVE
    return Verdict.GO


def _growths(facts: Facts) -> tuple[Growth, ...]:
    if facts.scale is None:
        return ()

    def bounds(name: str) -> Bounds | None:
        return facts.measures.bounds(MetricRef(name))

    names = ("duration.projected", "blocking.projected", "wal.projected", "disk.projected")
    return growths(facts.scale, facts.costs, facts.heat, Totals(*map(bounds, names)))


def _run(rules: Iterable[Rule], facts: Facts) -> list[Finding]:
    return [finding for rule in rules for finding in rule.check(facts)]


def _place(finding: Finding) -> tuple[int, int, int, str, str]:
    """By severity, then in the order of the migration, structure first; what concerns no statement comes
    last.
    """
    statement = 2**31 if finding.statement is None else finding.statement
    return (
        _RANK[finding.severity],
        statement,
        _RULE_RANK[finding.rule],
        finding.subject,
        finding.message,
    )
