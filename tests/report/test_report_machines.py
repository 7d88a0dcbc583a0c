"""What other programs read: Markdown of a forge, JUnit XML, and the JSON document."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.report.document import json_document
from rehearse.report.junit import render_junit
from rehearse.report.markdown import LONGEST, block, code, render_markdown, text
from tests.report import golden, records
from tests.report.build import NAIVE_INDEX

NAMES = sorted(records.ALL)


@pytest.mark.parametrize("name", NAMES)
def test_golden_markdown(name: str) -> None:
    golden.check(f"{name}.md", render_markdown(records.ALL[name]()[0]))


@pytest.mark.parametrize("name", NAMES)
def test_golden_junit(name: str) -> None:
    golden.check(f"{name}.xml", render_junit(records.ALL[name]()[0]))


@pytest.mark.parametrize("name", NAMES)
def test_golden_json(name: str) -> None:
    document = json_document(records.ALL[name]()[0], "reports/run/report.html")
    golden.check(f"{name}.json", json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


@given(st.text())
def test_markdown_text_is_inert(value: str) -> None:
    line = text(value)
    assert "\n" not in line
    assert "<" not in line
    assert not re.search(r"@\w", line)
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]]", line)


@given(st.text())
def test_inline_code_cannot_be_left(value: str) -> None:
    line = code(value)
    assert line.count("`") == 2
    assert line.startswith("`")
    assert line.endswith("`")
    assert not re.search(r"(?<!\\)\|", line)


@given(st.text(alphabet="`a\n ~", max_size=40))
def test_a_fence_cannot_be_closed_from_within(value: str) -> None:
    opening, *inside, closing = block(value)
    assert opening == closing + "sql"
    assert closing not in "\n".join(inside)


def test_mentions_and_issue_numbers_are_not_links() -> None:
    line = text("@octocat fixes #12, see https://example.org")
    assert "@octocat" not in line
    assert "#12" not in line
    assert "://" not in line


def test_a_comment_is_never_too_long() -> None:
    record, _ = records.naive_index()
    assert record.judgement is not None
    many = tuple(
        Finding(
            "stall", Severity.FAILURE, f"finding {i} " + "x" * 400, evidence=("e" * 500,), advice="a;\n" * 300
        )
        for i in range(300)
    )
    comment = render_markdown(replace(record, judgement=replace(record.judgement, findings=many)))
    assert len(comment) < LONGEST
    assert re.search(r"\d+ findings more in the full report", comment)
    assert "### Gates" in comment


@pytest.mark.parametrize("name", NAMES)
def test_junit_is_valid_and_counts_itself(name: str) -> None:
    record, _ = records.ALL[name]()
    root = ET.fromstring(render_junit(record).encode())
    (suite,) = root
    cases = suite.findall("testcase")
    for element in (root, suite):
        assert element.get("tests") == str(len(cases))
        assert element.get("failures") == str(len(suite.findall("testcase/failure")))
        assert element.get("errors") == str(len(suite.findall("testcase/error")))


def red(name: str) -> set[str]:
    root = ET.fromstring(render_junit(records.ALL[name]()[0]).encode())
    return {
        case.attrib["name"] for case in root.iter("testcase") if len(case) and case[0].tag != "system-out"
    }


def test_what_makes_a_build_red() -> None:
    assert red("concurrent-index") == set()
    assert red("instant-alter") == set()
    assert {"go or no-go", "stall.max <= 1s", "index-build-blocks-writes"} <= red("naive-index")
    assert "unbounded-lock-queue" not in red("naive-index")
    assert red("inconclusive") == {"go or no-go", "stall.max <= 1s", "workload-missed-table"}
    assert red("aborted") == {"go or no-go"}


def test_rules_that_found_nothing_pass() -> None:
    record, _ = records.concurrent_index()
    assert record.judgement is not None
    record = replace(record, judgement=replace(record.judgement, checked=("stall", "data-loss")))
    root = ET.fromstring(render_junit(record).encode())
    names = [
        case.attrib["name"] for case in root.iter("testcase") if case.attrib["classname"].endswith(".rules")
    ]
    assert names == ["stall", "data-loss"]


@given(st.text())
def test_junit_holds_any_message(message: str) -> None:
    record, _ = records.inconclusive()
    assert record.judgement is not None
    finding = replace(record.judgement.findings[0], message=message, evidence=(message,), advice=message)
    judged = replace(record.judgement, findings=(finding,))
    ET.fromstring(render_junit(replace(record, judgement=judged)).encode())


def test_the_document_has_what_the_command_line_promises() -> None:
    record, _ = records.naive_index()
    document = json_document(record, "reports/run/report.html")
    assert document["verdict"] == "NO_GO"
    assert document["exit_code"] == 1
    assert document["report"] == "reports/run/report.html"
    findings = document["findings"]
    assert isinstance(findings, list)
    first = findings[0]
    assert isinstance(first, dict)
    assert first["rule"] == "index-build-blocks-writes"
    assert first["severity"] == "failure"
    assert first["statement"] == NAIVE_INDEX
    metrics = document["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["stall.max"] == 2.9
    assert metrics["errors.rate"] == 0.0
    judgement = records.naive_index()[0].judgement
    assert judgement is not None
    assert set(metrics) == {name for name, _ in judgement.metrics}


def test_what_was_not_measured_is_null() -> None:
    document = json_document(records.inconclusive()[0], "x")
    metrics = document["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["stall.max"] is None
    assert (document["verdict"], document["exit_code"]) == ("INCONCLUSIVE", 4)


def test_a_run_that_died_has_the_exit_code_it_is_given() -> None:
    record = records.aborted()[0]
    assert json_document(record, "")["exit_code"] == 4
    document = json_document(record, "", exit_code=3)
    assert (document["exit_code"], document["verdict"], document["error"]) == (
        3,
        "INCONCLUSIVE",
        "the disk is full",
    )


def test_the_document_is_strict_json() -> None:
    record, _ = records.naive_index()
    assert record.judgement is not None
    endless = (("stall.max", Quantity(float("inf"), Unit.SECONDS)),)
    record = replace(record, judgement=replace(record.judgement, metrics=endless))
    json.dumps(json_document(record, ""), allow_nan=False)
