"""Rows that stay locked in production are not hidden behind a lock on a table that takes no time."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from rehearse.model.compatibility import CachedPlans, CompatibilityFacts
from rehearse.model.record import RunRecord, Trial, TrialKind
from rehearse.model.repeats import Repeat
from rehearse.model.verdict import Finding, Quantity, Severity, Verdict
from rehearse.report.digest import KeyNumber, key_numbers, metric
from rehearse.report.format import quantity
from rehearse.report.html import render_html
from rehearse.report.markdown import render_markdown
from rehearse.report.terminal import print_report
from tests.report import records
from tests.report.build import seconds


def locking(severity: Severity = Severity.FAILURE, *, given: bool = True) -> RunRecord:
    """A calm run, but for an UPDATE that locks rows for half an hour at production size."""
    made = records.instant_alter()[0]
    finding = Finding(
        "long-transaction",
        severity,
        "UPDATE changes 2,000,000 rows of orders in one transaction",
        statement=0,
        subject="orders",
        observed=seconds(2025.0),
        limit=seconds(1.0),
    )
    assert made.judgement is not None
    judged = replace(made.judgement, verdict=Verdict.NO_GO, findings=(finding,))
    tables = tuple(t if given else replace(t, production_rows=None) for t in made.tables)
    return replace(made, judgement=judged, tables=tables)


def tile(record: RunRecord) -> KeyNumber:
    return next(number for number in key_numbers(record) if number.label == "Blocking at production size")


def test_the_tile_has_the_longest_time_and_its_name() -> None:
    number = tile(locking())
    assert number.value == "33 min 45 s"
    assert number.bad
    assert "rows of orders locked (long-transaction)" in number.detail


def test_every_form_of_the_report_says_it() -> None:
    made = locking()
    console = Console(file=io.StringIO(), width=120)
    print_report(made, console)
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), render_markdown(made), render_html(made, None)):
        assert "rows of orders locked (long-transaction)" in text


def test_without_production_rows_nothing_is_claimed() -> None:
    number = tile(locking(given=False))
    assert number.missing
    assert number.bad
    assert "production rows not given" in number.detail


def test_a_note_leaves_the_tile_alone() -> None:
    assert tile(locking(Severity.NOTE)).value == tile(records.instant_alter()[0]).value


def test_the_whole_migrations_time_stands_beside_what_is_blocked() -> None:
    made = records.instant_alter()[0]
    assert made.judgement is not None
    known = {**dict(made.judgement.metrics), "duration.projected": seconds(2025.0)}
    judged = replace(made, judgement=replace(made.judgement, metrics=tuple(known.items())))
    assert tile(judged).detail.endswith("; the migration takes 33 min 45 s")


def test_numbers_of_one_trial_say_so_and_what_several_have() -> None:
    made = records.instant_alter()[0]
    one = metric(made, "latency.p99{phase=migration}")
    assert one is not None
    repeats = tuple(
        Repeat(Verdict.GO, metrics=(("latency.p99{phase=migration}", one.value * times),), noisy=noisy)
        for times, noisy in ((1.0, False), (3.0, False), (100.0, True))
    )
    asked = replace(made, repeats=repeats, scenario=replace(made.scenario, repeat=3))
    mean = quantity(Quantity(one.value * 2, one.unit))
    said = key_numbers(asked)[1].detail
    assert said.startswith(f"in the trial shown; {mean} on average of 2; ")
    # made again for the machine's sake alone, the gates are judged by the trial that is shown
    by_itself = replace(made, repeats=repeats)
    assert key_numbers(by_itself) == key_numbers(made)


def test_cached_plans_stand_beside_the_errors_that_they_are_not_among() -> None:
    made = records.instant_alter()[0]
    trial = Trial(
        TrialKind.COMPATIBILITY, compatibility=CompatibilityFacts((), cached=(CachedPlans("a", 5),))
    )
    told = replace(made, trials=(*made.trials, trial))
    assert key_numbers(told)[2].detail == "0 failed or unfinished; 5 cached plans apart"
