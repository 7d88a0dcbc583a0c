"""What is accepted stays in every report, with who, why and until when; and a gate says what it could see."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree as ET

from rich.console import Console

from rehearse.model.accepted import Accepted
from rehearse.model.record import RunRecord
from rehearse.model.repeats import Repeat
from rehearse.model.verdict import GateStatus, Quantity, Severity, Unit, Verdict
from rehearse.report.digest import headline
from rehearse.report.document import json_document
from rehearse.report.html import render_html
from rehearse.report.junit import render_junit
from rehearse.report.markdown import render_markdown
from rehearse.report.terminal import print_report
from tests.report import records

TAKEN = Accepted("the window <b>is</b> announced", date(2031, 1, 12), "dba", "failure")


def accepted() -> RunRecord:
    """The naive index, of which everything that failed is accepted."""
    made = records.naive_index()[0]
    judgement = made.judgement
    assert judgement is not None
    findings = [
        replace(f, severity=Severity.ACCEPTED, accepted=TAKEN, evidence=(str(TAKEN), *f.evidence))
        if f.severity is Severity.FAILURE
        else f
        for f in judgement.findings
    ]
    gates = [
        replace(gate, accepted=TAKEN if gate.status is GateStatus.FAILED else None)
        for gate in judgement.gates
    ]
    gates[0] = replace(gates[0], resolution=Quantity(0.125, Unit.SECONDS))
    whole = replace(judgement, verdict=Verdict.GO, findings=tuple(findings), gates=tuple(gates))
    return replace(made, judgement=whole, repeats=(Repeat(Verdict.GO, (), (("duration", 1.5),)),))


def test_people_read_it_in_every_report() -> None:
    out = io.StringIO()
    print_report(accepted(), Console(file=out, width=100))
    pages = (out.getvalue(), render_markdown(accepted()), render_html(accepted(), None))
    for page in pages:
        assert "accepted" in page
        assert "2031-01-12" in page
        assert "announced" in page
        assert "125 ms or more" in page.replace("\n", " ")
    assert "accepted risk" in headline(accepted()).why
    assert "<b>is</b>" not in pages[1] + pages[2]


def test_programs_read_it() -> None:
    document = json_document(accepted(), "report.html")
    findings, gates, repeats = document["findings"], document["gates"], document["repeats"]
    assert isinstance(findings, list)
    assert isinstance(gates, list)
    told = [f for f in findings if isinstance(f, dict) and f["severity"] == "accepted"]
    assert told
    said: dict[str, object] = {"until": "2031-01-12", "by": "dba", "severity": "failure"}
    assert all(f["accepted"] == said | {"reason": "the window <b>is</b> announced"} for f in told)
    assert isinstance(gates[0], dict)
    assert gates[0]["smallest_difference"] == 0.125
    assert repeats == [{"verdict": "GO", "against": [], "noisy": False, "metrics": {"duration": 1.5}}]


def test_a_ci_server_sees_it_as_skipped() -> None:
    suite = ET.fromstring(render_junit(accepted()))
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    skipped = {name for name, case in cases.items() if case.find("skipped") is not None}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert "index-build-blocks-writes" in skipped
    assert not failed
    assert suite.get("skipped") == str(len(skipped))
