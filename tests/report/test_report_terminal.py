"""The terminal's report: the verdict first, everything literal, no colour where none is wanted."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from rehearse.report.terminal import print_report
from tests.report import golden, records

PATH = "reports/20250301T120000Z-run/report.html"


def printed(name: str, width: int = 80, *, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    print_report(records.ALL[name]()[0], console, PATH)
    return out.getvalue()


@pytest.mark.parametrize("name", sorted(records.ALL))
def test_golden(name: str) -> None:
    lines = (line.rstrip() for line in printed(name).splitlines())
    golden.check(f"{name}.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", sorted(records.ALL))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_and_has_no_escapes(name: str, width: int) -> None:
    text = printed(name, width)
    assert "\x1b" not in text
    assert all(len(line) <= width for line in text.splitlines() if PATH not in line)


def test_the_verdict_comes_first() -> None:
    text = printed("naive-index")
    order = [
        "NO-GO",
        "Longest stall",
        "index-build-blocks-writes",
        "stall.max <= 1s",
        "unbounded-lock-queue",
        PATH,
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_the_statement_is_quoted_once() -> None:
    assert printed("naive-index").count("    CREATE INDEX orders_customer_id_idx ON") == 1


def test_brackets_are_not_markup() -> None:
    text = printed("hostile", terminal=True)
    assert "[red]" in text


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[" in printed("naive-index", terminal=True)


def test_data_cannot_steer_the_terminal() -> None:
    record, _ = records.naive_index()
    run = record.trials[0].migration
    assert run is not None
    bad = replace(run.statements[0], text="SELECT '\x1b]0;title\x07\x1b[2J'")
    trial = replace(record.trials[0], migration=replace(run, statements=(bad,)))
    out = io.StringIO()
    print_report(replace(record, trials=(trial,)), Console(file=out, width=80), PATH)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
