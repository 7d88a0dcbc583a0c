from __future__ import annotations

import json
from array import array
from dataclasses import asdict

import numpy as np
import pytest

from rehearse.model.target import Target
from rehearse.model.workload import Outcome, SampleColumns, ScriptSource
from rehearse.workload.script import parse_script
from rehearse.workload.traffic import run_traffic, summarise


def test_a_report_on_real_traffic(database: Target) -> None:
    script = parse_script(ScriptSource("s", "\\set n random(0, 3)\nselect 1 / :n;"))
    report = run_traffic(database, [script], clients=4, seconds=1.0, rate=300, processes=2)
    assert report.errors == {"22012": report.failed}
    ended = report.transactions + report.failed
    assert ended > 200  # as many as were due, however long the last of them took
    assert report.failed / ended == pytest.approx(1 / 4, abs=0.1)
    assert report.seconds >= 1.0
    assert report.tps == pytest.approx(report.transactions / report.seconds)
    latency = report.latency_ms
    assert 0 < (latency["p50"] or 0) <= (latency["p99"] or 0) <= (latency["max"] or 0)
    assert 0 < (report.schedule_lag_ms["avg"] or 0) <= (report.schedule_lag_ms["max"] or 0)
    assert (report.client_cpu_us_per_transaction or 0) > 1
    json.dumps(asdict(report))


def test_sums() -> None:
    second = 1_000_000_000
    samples = SampleColumns(
        scripts=("s",),
        sqlstates=("40001", "40P01"),
        script=array("h", [0] * 5),
        scheduled_ns=array("q", [0, 0, 0, 0, 0]),
        started_ns=array("q", [0, 0, 0, 0, 0]),
        ended_ns=array("q", [second, 2 * second, 3 * second, 4 * second, 4 * second]),
        outcome=array("h", [Outcome.OK, Outcome.OK, Outcome.ERROR, Outcome.UNFINISHED, Outcome.SKIPPED]),
        sqlstate=array("h", [-1, -1, 1, -1, -1]),
        statement=array("h", [-1, -1, 0, -1, -1]),
    )
    report = summarise(samples, 4.0, 300_000, np.array([1_000_000, 3_000_000]))
    assert (report.tps, report.transactions, report.failed) == (0.5, 2, 1)
    assert (report.unfinished, report.skipped) == (1, 1)
    assert report.latency_ms["avg"] == report.latency_ms["p50"] == 2000
    assert report.latency_ms["max"] == 3000
    assert report.schedule_lag_ms == {"avg": 2.0, "p99": 2.98, "max": 3.0}
    assert report.client_cpu_us_per_transaction == 100
    assert report.errors == {"40P01": 1}


def test_nothing_measured_is_not_zero() -> None:
    report = summarise(SampleColumns(scripts=("s",)), 1.0, 1000, np.array([], dtype=np.int64))
    assert set(report.latency_ms.values()) == {None}
    assert report.client_cpu_us_per_transaction is None
    assert report.tps == 0
