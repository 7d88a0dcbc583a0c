"""The catalogue of operations as synthetic records: the right verdict, by the right rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.verdict import Severity
from tests.judge.build import (
    PRODUCTION,
    end_of,
    migration,
    record,
    samples,
)
from tests.judge.catalogue_columns import ROWS_1_TO_22, Row
from tests.judge.catalogue_tables import ROWS_23_TO_45

ROWS_OF_CATALOGUE = (*ROWS_1_TO_22, *ROWS_23_TO_45)


@pytest.mark.parametrize("row", ROWS_OF_CATALOGUE, ids=lambda row: row.number)
def test_the_catalogue(row: Row) -> None:
    run = migration(*row.statements)
    made = record(run, production=PRODUCTION, expendable=row.expendable, footprints=row.footprints)
    traffic = samples(end_ns=end_of(run)[1], blocked=row.blocked, failing=row.errors)
    judgement = judge(made, traffic)
    failures = {f.rule for f in judgement.findings if f.severity is Severity.FAILURE}
    warnings = {f.rule for f in judgement.findings if f.severity is Severity.WARNING}
    assert judgement.verdict is row.verdict, [f.message for f in judgement.findings]
    if row.rule:
        assert {row.rule, *row.also} <= failures, [f.message for f in judgement.findings]
        blamed = [f for f in judgement.findings if f.rule == row.rule and f.severity is Severity.FAILURE]
        assert all(f.advice for f in blamed)
    else:
        assert not failures
        assert ("unbounded-lock-queue" in warnings) == row.warns


@pytest.mark.parametrize("row", [r for r in ROWS_OF_CATALOGUE if r.warns], ids=lambda row: row.number)
def test_a_lock_timeout_takes_the_warning_away(row: Row) -> None:
    bounded = [replace(s, lock_timeout_ms=2000) for s in row.statements]
    made = record(migration(*bounded), expendable=row.expendable, footprints=row.footprints)
    judgement = judge(made, samples(end_ns=end_of(migration(*bounded))[1]))
    assert "unbounded-lock-queue" not in {f.rule for f in judgement.findings}
