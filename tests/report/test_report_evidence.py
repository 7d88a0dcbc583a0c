"""What several findings have in evidence is printed once, and referred to."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, Severity
from rehearse.report.evidence import said_once
from rehearse.report.html import render_html
from rehearse.report.markdown import render_markdown
from rehearse.report.terminal import print_report
from tests.report import records

WAITS = tuple(f"script {n} waited for SHARE on orders: 1 wait seen" for n in range(1, 5))
REFERENCE = "4 lines more, as they stand above under "


def finding(rule: str, *evidence: str, subject: str = "", severity: Severity = Severity.FAILURE) -> Finding:
    return Finding(rule, severity, f"{rule} has something to say", subject=subject, evidence=evidence)


def test_a_line_stands_under_the_first_finding_that_has_it() -> None:
    told = said_once(
        [
            finding("stall", "a", *WAITS, subject="write"),
            finding("latency", *WAITS, "b"),
            finding("errors", "b", "a", "c"),
            finding("duration", *WAITS, "b"),
        ]
    )
    assert [lines for _, lines in told] == [
        ("a", *WAITS),
        ("b", f"{REFERENCE}stall (write)"),
        ("b", "a", "c"),  # two lines are no longer than a reference to them
        ("5 lines more, as they stand above under stall (write) and latency",),
    ]


def judged() -> RunRecord:
    record, _ = records.naive_index()
    assert record.judgement is not None
    found = (
        finding("latency", *WAITS, "only here", severity=Severity.WARNING),
        finding("stall", *WAITS, subject="write"),
        finding("duration", *WAITS, severity=Severity.NOTE),
    )
    return replace(record, judgement=replace(record.judgement, findings=found))


def test_each_form_of_the_report_says_it_once() -> None:
    record = judged()
    out = io.StringIO()
    print_report(record, Console(file=out, width=300), "")
    for text in (out.getvalue(), render_markdown(record), render_html(record, None)):
        assert text.count("script 3 waited for SHARE on orders") == 1
        assert text.count(REFERENCE) == 2
        assert text.index("stall has something") < text.index("script 3 waited") < text.index("only here")
