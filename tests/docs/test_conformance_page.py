"""docs/conformance.md says what the catalogue and the answers that are kept say."""

from __future__ import annotations

from conformance.catalogue import CATALOGUE
from conformance.held_out import HELD_OUT
from conformance.page import PAGE, load, with_tables
from conformance.rehearsals import QUEUE, Answer
from conformance.results import Result, line, summary
from conformance.row import GO, NO_GO
from conformance.services import SERVICES


def test_the_page_has_the_answers_that_are_kept() -> None:
    text = PAGE.read_text()
    assert with_tables(text, load()) == text, "python -m conformance --write makes the page anew"


def test_every_answer_that_is_kept_is_of_an_example() -> None:
    names = {row.name for row in (*CATALOGUE, *HELD_OUT, *SERVICES)}
    for server, rows in load().items():
        assert rows.keys() <= names, server


def test_an_answer_agrees_only_with_the_verdict_and_its_reason() -> None:
    scan = next(row for row in CATALOGUE if row.verdict is NO_GO and row.rule == "scan-under-lock")
    assert Answer("NO_GO", ("latency", "scan-under-lock")).agrees(scan)
    assert not Answer("NO_GO", ("latency",)).agrees(scan)
    assert not Answer("INCONCLUSIVE", ("scan-under-lock",)).agrees(scan)
    warned = next(row for row in CATALOGUE if row.verdict is GO and row.warns)
    assert Answer("GO", warnings=(QUEUE,)).agrees(warned)
    assert not Answer("GO").agrees(warned)


def test_a_flip_is_told() -> None:
    row = next(row for row in CATALOGUE if row.verdict is GO and not row.warns)
    result = Result(row, (Answer("GO"), Answer("INCONCLUSIVE", why="the machine was busy")))
    assert not result.agreed
    assert line(result).startswith("DIFFER")
    assert "the machine was busy" in line(result)
    assert summary([result]) == f"0 of 1 examples, 0 of 1 rows; flips: {row.name}"
