"""Plans, compatibility and drift, as every form of the report shows them."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from rehearse.acts.compatibility import cells, stale
from rehearse.engines.postgres.plan_text import without_literals
from rehearse.model.compatibility import CachedPlans, CompatibilityFacts
from rehearse.model.drift import Drift, DriftFacts
from rehearse.model.plans import Execution, PlansFacts, Refused, StatementPlans, TableReads
from rehearse.model.record import RunRecord, Trial
from rehearse.model.relation import Relation
from rehearse.model.trials import SchemaDifference, TrialKind
from rehearse.model.workload import Outcome, SampleColumns, Version
from rehearse.report.document import json_document
from rehearse.report.html import render_html
from rehearse.report.markdown import render_markdown
from rehearse.report.terminal import print_report
from rehearse.report.trials import Result, trial_views
from tests.report.records import instant_alter

TABLE = Relation("public", "orders")


def read(blocks: float, plan: str) -> Execution:
    return Execution(4, (0.001,), (TableReads(TABLE, 0, blocks),), plan=(plan,))


GOOD, BAD = read(4, "Index Scan using <i> on orders"), read(400, "Seq Scan on orders")
REFUSED = Execution(4, refusals=(Refused("42703", "column <b> does not exist", 4),))
STATEMENTS = (
    StatementPlans("slow", 0, Version.OLD, GOOD, BAD),
    StatementPlans("broken", 1, Version.OLD, GOOD, REFUSED),
    StatementPlans("early", 0, Version.NEW, REFUSED, GOOD),
    StatementPlans("wrong", 0, Version.NEW, REFUSED, REFUSED),
    StatementPlans("later", 0, Version.NEW, Execution(0), GOOD),
)
PLANS = Trial(TrialKind.PLANS, plans=PlansFacts(STATEMENTS))
COMPATIBILITY = Trial(
    TrialKind.COMPATIBILITY,
    compatibility=CompatibilityFacts(cells(STATEMENTS), (CachedPlans("slow", 7),)),
)
DRIFT = Trial(
    TrialKind.DRIFT,
    drift=DriftFacts(3, "", (Drift(SchemaDifference("index", "<i>", None, "CREATE INDEX"), TABLE),)),
)


def a_record() -> RunRecord:
    record, _ = instant_alter()
    return replace(record, trials=(*record.trials, PLANS, COMPATIBILITY, DRIFT))


def test_a_cell_holds_what_its_schema_alone_refuses() -> None:
    table = {
        (c.application.value, c.schema.value): (c.fits, [r.script for r in c.refused])
        for c in cells(STATEMENTS)
    }
    assert table == {
        ("old", "old"): (True, []),
        ("old", "new"): (False, ["broken"]),
        ("new", "old"): (False, ["early", "wrong"]),
        ("new", "new"): (True, ["wrong"]),
    }


def test_every_form_of_the_report_shows_them() -> None:
    record = a_record()
    results = [(view.kind, view.result) for view in trial_views(record)]
    assert results == [("plans", Result.FOUND), ("compatibility", Result.FOUND), ("drift", Result.FOUND)]
    page = render_html(record, None)
    for text in ("Index Scan using &lt;i&gt; on orders", "Seq Scan on orders", "42703 column &lt;b&gt; does"):
        assert text in page
    assert "<i>" not in page
    stream = io.StringIO()
    print_report(record, Console(file=stream, width=120))
    for shown in (stream.getvalue(), render_markdown(record)):
        assert "slow, statement 1: 4 blocks before, 400 after" in shown
        assert "broken, statement 2: 42703" in shown
        assert "7 transactions of slow met 0A000" in shown
        assert "is in production alone" in shown
        assert "1 statement explained before and after" in shown
        told = " ".join(shown.replace("│", " ").split())
        for reason in (
            "broken, statement 2 (old application), which does not run on the migrated schema (42703)",
            "early, statement 1 (new application), which does not run on the old schema (42703)",
            "later, statement 1 (new application), which was not reached on the old schema",
        ):
            assert f"not compared: {reason}" in told.replace("\\", "")
    document = json_document(record, "report.html")
    assert isinstance(document["plans"], list)
    assert len(document["plans"]) == len(STATEMENTS)
    assert isinstance(document["compatibility"], dict)
    assert document["compatibility"]["cached_plans"] == {"slow": 7}
    assert isinstance(document["drift"], list)
    assert [each["production"] for each in document["drift"] if isinstance(each, dict)] == ["CREATE INDEX"]


def test_no_value_of_a_condition_is_kept() -> None:
    text = (
        """((name = 'O''Brien x'::text) AND ("a 1" > '-2'::integer) AND (n1 = 17) AND """
        """(x = E'\\\\n') AND (y < -3.5))"""
    )
    kept = without_literals(text)
    assert kept == """((name = ?::text) AND ("a 1" > ?::integer) AND (n1 = ?) AND (x = ?) AND (y < ?))"""


def test_cached_plans_are_counted_by_script() -> None:
    samples = SampleColumns(scripts=("a", "b"), sqlstates=("23505", "0A000"))
    ended = ((0, Outcome.OK, -1), (1, Outcome.ERROR, 1), (1, Outcome.RETRIED, 1), (0, Outcome.ERROR, 0))
    for script, outcome, code in ended:
        samples.script.append(script)
        samples.outcome.append(outcome)
        samples.sqlstate.append(code)
    assert stale(samples) == (CachedPlans("b", 2),)
    assert stale(SampleColumns(scripts=("a",))) == ()
