"""JUnit XML for CI servers: one test case for the verdict, one a gate, one a rule.

What was not measured is an `<error>`, so that an INCONCLUSIVE run is red: unmeasured is never passed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateResult, GateStatus, Severity, Verdict
from rehearse.report import digest
from rehearse.report import format as fmt

# What XML 1.0 allows; control characters and lone surrogates are not in it.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    """`result` is failure, error, skipped (a risk that is accepted), or empty for a pass; `output` is what a
    passing case says besides.
    """

    group: str
    name: str
    result: str = ""
    message: str = ""
    detail: str = ""
    output: str = ""


def render_junit(record: RunRecord) -> str:
    """The XML document, with its declaration."""
    cases = [_verdict_case(record), *_gate_cases(record), *_rule_cases(record)]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.result == "failure" for case in cases)),
        "errors": str(sum(case.result == "error" for case in cases)),
        "skipped": str(sum(case.result == "skipped" for case in cases)),
    }
    root = ET.Element("testsuites", {"name": "rehearse", **counts})
    name = _clean(record.scenario.name)
    suite = ET.SubElement(
        root,
        "testsuite",
        {"name": name, "timestamp": _clean(record.started_at), "time": _time(record), **counts},
    )
    for case in cases:
        _append(suite, name, case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _time(record: RunRecord) -> str:
    trial = digest.main_trial(record)
    if trial is None or not trial.phases:
        return "0.000"
    return f"{(trial.phases[-1].end_ns - trial.phases[0].start_ns) / 1e9:.3f}"


def _append(suite: ET.Element, scenario: str, case: _Case) -> None:
    element = ET.SubElement(
        suite,
        "testcase",
        {"classname": f"{scenario}.{case.group}", "name": _clean(case.name), "time": "0.000"},
    )
    if case.result == "skipped":
        ET.SubElement(element, "skipped", {"message": _clean(case.message)}).text = _clean(case.detail)
    elif case.result:
        result = ET.SubElement(element, case.result, {"message": _clean(case.message), "type": case.group})
        result.text = _clean(case.detail)
    elif case.output:
        ET.SubElement(element, "system-out").text = _clean(case.output)


def _clean(text: str) -> str:
    """`text` without what XML cannot hold."""
    return _FORBIDDEN.sub(" ", text)


def _verdict_case(record: RunRecord) -> _Case:
    headline = digest.headline(record)
    result = {Verdict.GO: "", Verdict.NO_GO: "failure", Verdict.INCONCLUSIVE: "error"}[headline.verdict]
    message = f"{headline.word}: {headline.why}"
    return _Case("verdict", "go or no-go", result, message, message, output=message)


def _gate_cases(record: RunRecord) -> list[_Case]:
    return [_gate_case(gate) for gate in (record.judgement.gates if record.judgement else ())]


def _gate_case(gate: GateResult) -> _Case:
    result = {GateStatus.PASSED: "", GateStatus.FAILED: "failure", GateStatus.UNMEASURED: "error"}[
        gate.status
    ]
    if gate.accepted:
        result = "skipped"
    observed, limit = fmt.apart(gate.observed, gate.limit)
    words = f"{gate.gate}: {observed}" + (f", limit {limit}" if gate.limit is not None else "")
    note = digest.gate_note(gate)
    words += f" ({note})" if note else ""
    return _Case("gates", gate.gate, result, words, words, output=words)


def _rule_cases(record: RunRecord) -> list[_Case]:
    """A case a rule: red if any of its findings is, with all of them in it."""
    if record.judgement is None:
        return []
    ranked = digest.ranked(record.judgement.findings)
    fired = {rule: [f for f in ranked if f.rule == rule] for rule in dict.fromkeys(f.rule for f in ranked)}
    quiet = [rule for rule in record.judgement.checked if rule not in fired]
    return [_rule_case(record, rule, found) for rule, found in fired.items()] + [
        _Case("rules", rule) for rule in quiet
    ]


def _rule_case(record: RunRecord, rule: str, found: Sequence[Finding]) -> _Case:
    severities = {finding.severity for finding in found}
    result = ""
    if Severity.FAILURE in severities:
        result = "failure"
    elif Severity.UNMEASURED in severities:
        result = "error"
    elif Severity.ACCEPTED in severities:
        result = "skipped"
    detail = "\n\n".join(_finding_text(record, finding) for finding in found)
    return _Case("rules", rule, result, found[0].message, detail, output=detail)


def _finding_text(record: RunRecord, finding: Finding) -> str:
    lines = [f"{finding.severity.value}: {finding.message}", *(f"- {line}" for line in finding.evidence)]
    statement = digest.blamed(record, finding)
    if statement:
        lines += [
            f"Statement {statement.index + 1} ({statement.file}:{statement.line}):",
            statement.text.strip(),
        ]
    if finding.advice:
        lines += ["Instead:", finding.advice.strip()]
    return "\n".join(lines)
