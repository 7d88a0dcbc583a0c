"""The judgement: from a record and its samples to findings and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge.facts import Facts, derive
from rehearse.judge.rules import GATED, MEASURED, RULES, STRUCTURAL
from rehearse.judge.rules.rule import Rule
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateResult, GateStatus, Judgement, Severity, Verdict
from rehearse.model.workload import SampleColumns

_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_RULE_RANK = {rule.id: rank for rank, rule in enumerate(RULES)}


def judge(record: RunRecord, samples: SampleColumns | None) -> Judgement:
    """Conclude from what was measured, by the gates of the record's scenario.

    The same input gives the same judgement: there is no clock in it and no chance. `samples` None means
    that there are none; what they would have shown is then unmeasured, never passed. Raises RecordError
    where the samples cannot be read.
    """
    facts = derive(record, samples)
    found = _run((*STRUCTURAL, *MEASURED), facts)
    facts = replace(facts, found=tuple(found))
    findings = sorted([*found, *_run(GATED, facts)], key=_place)
    return Judgement(
        verdict=verdict_of(findings, facts.gates),
        findings=tuple(findings),
        gates=facts.gates,
        metrics=facts.measures.quantities(),
        stalls=facts.stalls,
        checked=tuple(rule.id for rule in RULES),
    )


def verdict_of(findings: Iterable[Finding], gates: Iterable[GateResult]) -> Verdict:
    """Any failure makes NO_GO; else anything unmeasured makes INCONCLUSIVE; else GO."""
    severities = {finding.severity for finding in findings}
    statuses = {gate.status for gate in gates}
    if Severity.FAILURE in severities or GateStatus.FAILED in statuses:
        return Verdict.NO_GO
    if Severity.UNMEASURED in severities or GateStatus.UNMEASURED in statuses:
        return Verdict.INCONCLUSIVE
    return Verdict.GO


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
