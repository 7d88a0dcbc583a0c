"""The trials beside the traffic, as every form of the report shows them."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from rehearse.model.record import RunRecord, Trial
from rehearse.model.relation import Relation
from rehearse.model.trials import (
    Blow,
    ColumnIntegrity,
    Difference,
    IntegrityFacts,
    Interruption,
    InterruptionFacts,
    RollbackFacts,
    SchemaDifference,
    TableIntegrity,
    TrialKind,
)
from rehearse.report.document import json_document
from rehearse.report.html import render_html
from rehearse.report.markdown import render_markdown
from rehearse.report.terminal import print_report
from rehearse.report.trials import Result, trial_views
from tests.report.records import instant_alter

TABLE = Relation("public", "<b>orders</b>")
NOTE = ColumnIntegrity("note", "text", 90, "note", "varchar(9)", ((Difference.CUT, 1234),))
INTEGRITY = Trial(
    TrialKind.INTEGRITY,
    integrity=IntegrityFacts((TableIntegrity(TABLE, 90, TABLE, 87, lost=3, columns=(NOTE,)),), 4),
)
ROLLBACK = Trial(
    TrialKind.ROLLBACK,
    rollback=RollbackFacts(
        has_down=True, schema=(SchemaDifference("index", "gone_idx", "CREATE INDEX", None),)
    ),
)
INTERRUPTION = Trial(
    TrialKind.INTERRUPTION,
    interruption=InterruptionFacts((Interruption(Blow.KILLED, 1, 0.5, reached=True),)),
)
SCALE = Trial(TrialKind.SCALE, unmeasured="the disk is full")


def a_record(*trials: Trial) -> RunRecord:
    record, _ = instant_alter()
    return replace(record, trials=(*record.trials, *trials))


def test_each_trial_says_what_it_came_to() -> None:
    views = trial_views(a_record(INTEGRITY, ROLLBACK, INTERRUPTION, SCALE))
    assert [(view.kind, view.result) for view in views] == [
        ("integrity", Result.FOUND),
        ("rollback", Result.FOUND),
        ("interruption", Result.CLEAN),
        ("scale", Result.UNMEASURED),
    ]
    lines = "\n".join(line for view in views for line in view.lines)
    for said in ("1,234 cut off", "3 rows of 90 are gone", "the index gone_idx is gone", "the disk is full"):
        assert said in lines
    assert "killed in statement 2: run again, it ends as it should" in lines


def test_what_a_broken_migration_left_is_told_though_a_second_run_mends_it() -> None:
    left = (SchemaDifference("data", "orders.a", "", ""), SchemaDifference("ledger", "versions", "", ""))
    one = Interruption(Blow.TERMINATED, 1, 0.25, reached=True, left=left)
    trial = replace(INTERRUPTION, interruption=InterruptionFacts((one,)))
    (view,) = trial_views(a_record(trial))
    (line,) = view.lines
    assert line.startswith(
        "terminated 25 % into statement 2: left orders.a written in part; left the ledger "
    )
    assert line.endswith("versions saying it was applied; run again, it ends as it should")


def test_a_trial_that_was_not_finished_is_never_shown_as_clean() -> None:
    for kind in (TrialKind.INTEGRITY, TrialKind.ROLLBACK, TrialKind.INTERRUPTION):
        (view,) = trial_views(a_record(Trial(kind, unmeasured="no space left")))
        assert view.result is Result.UNMEASURED
    partly = replace(INTERRUPTION, interruption=InterruptionFacts((), ("the server is not ours",)))
    assert trial_views(a_record(partly))[0].result is Result.UNMEASURED


def test_every_form_shows_them_and_escapes_what_they_name() -> None:
    record = a_record(INTEGRITY, ROLLBACK)
    page = render_html(record, None)
    assert "Beside the traffic" in page
    assert "&lt;b&gt;orders" in page
    assert "<b>orders" not in page
    comment = render_markdown(record)
    assert "### Beside the traffic" in comment
    assert "<b>orders" not in comment
    screen = io.StringIO()
    print_report(record, Console(file=screen, width=110))
    assert "gone_idx is gone" in screen.getvalue()
    document = json_document(record, "")
    trials = document["beside_traffic"]
    assert isinstance(trials, list)
    kinds = [trial["kind"] for trial in trials if isinstance(trial, dict)]
    assert kinds == ["integrity", "rollback"]


def test_a_record_with_the_traffic_alone_says_nothing_of_others() -> None:
    assert "Beside the traffic" not in render_html(a_record(), None)
    assert "Beside the traffic" not in render_markdown(a_record())
