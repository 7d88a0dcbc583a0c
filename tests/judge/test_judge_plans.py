"""Statements that read far more after the migration than before it: what counts, what fails, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.judge import judge
from rehearse.judge.regressions import is_costlier
from rehearse.model.plans import (
    Execution,
    LostIndex,
    PlansFacts,
    Refused,
    StatementPlans,
    TableReads,
    Unanalyzed,
)
from rehearse.model.record import RunRecord, ScriptInfo, Trial, TrialKind
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity
from rehearse.model.workload import Version
from tests.judge.build import ORDERS, migration, record, statement, tables

INDEX = Relation("public", "orders_note")
SECONDS = (0.001, 0.0012)


def executed(
    rows: float,
    blocks: float,
    *,
    seconds: tuple[float, ...] = SECONDS,
    refused: str = "",
    index: bool = False,
) -> Execution:
    return Execution(
        draws=2,
        seconds=() if refused else seconds,
        reads=(TableReads(ORDERS, rows, blocks),),
        indexes=(INDEX,) if index else (),
        plan=("Seq Scan on orders (1 rows, 9 blocks)",),
        refusals=(Refused(refused, "no", 2),) if refused else (),
    )


GOOD = executed(0, 4, index=True)
SCAN = executed(30_000, 400)


@pytest.mark.parametrize(
    ("before", "after", "costlier"),
    [
        (GOOD, SCAN, True),
        (GOOD, GOOD, False),
        (SCAN, GOOD, False),
        (executed(900, 9), executed(2_000, 12), False),
        (executed(0, 4), executed(900, 45), False),  # a small table, wherever it is
        (executed(0, 4), executed(0, 60), True),  # through an index, but ten times as much
        (GOOD, executed(0, 4, seconds=(0.2, 0.3)), True),
        (GOOD, executed(0, 4, seconds=(0.2, 0.001)), False),  # one slow answer is not a slow plan
        (executed(0, 4, refused="42703"), SCAN, False),  # it never worked
        (GOOD, executed(0, 0, refused="42703"), False),  # for another rule
        (GOOD, executed(0, 0, refused="57014"), True),
        (executed(0, 0, refused="57014"), executed(0, 0, refused="57014"), False),
        (GOOD, Execution(0), False),  # not reached
    ],
)
def test_what_is_far_costlier(before: Execution, after: Execution, costlier: bool) -> None:
    assert is_costlier(before, after) is costlier


@settings(max_examples=50)
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_reads_the_same_is_never_costlier(rows: float, blocks: float) -> None:
    same = executed(rows, blocks)
    assert not is_costlier(same, same)


def judged(each: StatementPlans, *, production: int | None, **facts: object) -> list[Finding]:
    made: RunRecord = replace(
        record(migration(statement("DROP INDEX orders_note"))), tables=tables(production, rows=30_000)
    )
    trial = Trial(TrialKind.PLANS, plans=PlansFacts((each,), **facts))  # type: ignore[arg-type] # causes alone
    made = replace(made, scripts=(ScriptInfo("read", 1, ("SELECT 1",)),), trials=(*made.trials, trial))
    return [finding for finding in judge(made, None).findings if finding.rule == "query-regression"]


def plans(before: Execution, after: Execution, vacuumed: Execution | None = None) -> StatementPlans:
    return StatementPlans("read", 0, Version.OLD, before, after, vacuumed)


@pytest.mark.parametrize(
    ("production", "severity"),
    [(None, Severity.FAILURE), (200_000_000, Severity.FAILURE), (30_000, Severity.WARNING)],
)
def test_a_scan_weighs_as_production_is_large(production: int | None, severity: Severity) -> None:
    lost = LostIndex(INDEX, ORDERS, "CREATE INDEX orders_note ON public.orders USING btree (note)")
    (finding,) = judged(plans(GOOD, SCAN), production=production, lost=(lost,))
    assert finding.severity is severity
    assert "because the index orders_note is gone" in finding.message
    assert "CREATE INDEX CONCURRENTLY orders_note ON" in finding.advice
    assert len([line for line in finding.evidence if line.startswith("plan ")]) == 2


def test_what_a_vacuum_mends_is_a_warning_unless_statistics_are_gone() -> None:
    each = plans(GOOD, SCAN, GOOD)
    (dead,) = judged(each, production=200_000_000)
    assert (dead.severity, "not vacuumed" in dead.message) == (Severity.WARNING, True)
    (gone,) = judged(each, production=200_000_000, unanalyzed=(Unanalyzed(ORDERS, "note"),))
    assert gone.severity is Severity.FAILURE
    assert "no statistics for orders.note" in gone.message
    (still,) = judged(plans(GOOD, SCAN, SCAN), production=200_000_000)
    assert still.severity is Severity.FAILURE
