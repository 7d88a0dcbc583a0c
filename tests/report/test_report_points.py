"""What is counted from the samples: buckets and the table of response times."""

from __future__ import annotations

import numpy as np
import pytest

from rehearse.model.record import Phase
from rehearse.model.workload import SampleColumns
from rehearse.report.points import bucket_length, buckets, latency_table, points
from tests.report.build import START, Block, phases, traffic

SPANS = phases(3.0)


def test_every_transaction_is_in_one_bucket() -> None:
    pts = points(traffic(SPANS, [Block(0.0, 3.0, fails="55P03")]), START)
    per = buckets(pts, -11.0, 7.0, 0.2)
    assert per.due.sum() == len(pts)
    assert per.failed.sum() == (pts.kind >= 0).sum() > 0
    assert len(per.edges) == len(per.due) + 1
    assert per.lengths.sum() == pytest.approx(18.0, abs=0.01)


def test_a_stall_is_seen_where_it_was() -> None:
    pts = points(traffic(SPANS, [Block(0.0, 3.0)]), START)
    per = buckets(pts, -11.0, 7.0, 0.2)
    in_stall = (per.edges[:-1] >= 0.0) & (per.edges[1:] <= 2.9)
    assert per.p99[in_stall].min() > 0.1
    assert per.finished[in_stall].sum() < per.due[in_stall].sum() * 0.05
    assert np.nanmax(per.p99[per.edges[1:] <= 0.0]) < 0.05


def test_the_first_due_in_a_stall_waited_for_all_of_it() -> None:
    rows = latency_table(points(traffic(SPANS, [Block(0.0, 3.0)]), START), SPANS, START)
    whole = {row.phase: row for row in rows if row.script is None}
    assert whole["migration"].max == pytest.approx(3.0, abs=0.2)
    assert whole["baseline"].p99 == pytest.approx(0.004, rel=0.4)
    assert {row.script for row in rows} == {None, "read_order", "place_order"}


def test_unfinished_transactions_are_failures_and_count_their_wait() -> None:
    pts = points(traffic(SPANS, [Block(0.0, 99.0)]), START)
    assert pts.kinds == ("unfinished",)
    rows = {row.phase: row for row in latency_table(pts, SPANS, START) if row.script is None}
    assert rows["migration"].errors == rows["migration"].count
    assert rows["migration"].max == pytest.approx(7.0, abs=0.1)
    assert rows["migration"].error_kinds == (("unfinished", rows["migration"].count),)


def test_a_phase_without_traffic_has_no_percentiles() -> None:
    rows = latency_table(points(traffic(SPANS[:2]), START), SPANS, START)
    last = [row for row in rows if row.phase == Phase.RECOVERY.value]
    assert all(row.count == 0 and row.p50 is None and row.max is None for row in last)


def test_no_samples_at_all() -> None:
    pts = points(SampleColumns(("a",)), START)
    assert len(pts) == 0
    assert all(row.count == 0 for row in latency_table(pts, SPANS, START))


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.9, 3, 15, 60, 600, 7200, 90_000])
def test_there_are_neither_few_nor_too_many_buckets(seconds: float) -> None:
    assert 15 <= seconds / bucket_length(seconds) <= 245


def test_buckets_of_a_usual_run_are_a_tenth_to_a_quarter_of_a_second() -> None:
    assert all(0.1 <= bucket_length(seconds) <= 0.25 for seconds in range(3, 61))
