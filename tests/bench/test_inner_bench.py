"""The inner parts alone: `pytest tests/bench --benchmark-only`. Whole runs beside peers are in `bench/`."""

from __future__ import annotations

from array import array

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from rehearse.engines.postgres.split import split
from rehearse.judge.stalls import find_stalls
from rehearse.judge.traffic import Span, Traffic
from rehearse.model.migration import SqlFile
from rehearse.model.workload import SampleColumns
from rehearse.workload.schedule import arrivals

MILLION = 1_000_000


def a_million_samples() -> SampleColumns:
    rng = np.random.default_rng(1)
    due = np.cumsum(rng.exponential(1e5, MILLION)).astype(np.int64)
    ended = due + rng.exponential(1e6, MILLION).astype(np.int64)
    nothing = array("h", bytes(2 * MILLION))
    return SampleColumns(
        scripts=("a", "b"),
        script=array("h", rng.integers(0, 2, MILLION).astype(np.int16).tobytes()),
        scheduled_ns=array("q", due.tobytes()),
        started_ns=array("q", due.tobytes()),
        ended_ns=array("q", ended.tobytes()),
        outcome=nothing,
        sqlstate=nothing,
        statement=nothing,
    )


def test_stalls_in_a_million_samples(benchmark: BenchmarkFixture) -> None:
    traffic = Traffic.of(a_million_samples())
    assert benchmark(find_stalls, traffic, Span(0, 2**62)) == ()


def test_a_million_arrivals(benchmark: BenchmarkFixture) -> None:
    def draw() -> int:
        stream = arrivals(1000.0, np.random.SeedSequence(1), chunk=10_000)
        return int(sum(len(next(stream)) for _ in range(100)))

    assert benchmark(draw) == MILLION


def test_a_thousand_statements_taken_apart(benchmark: BenchmarkFixture) -> None:
    text = "ALTER TABLE t ADD COLUMN c text DEFAULT 'it''s'; -- why\n" * 1000
    assert len(benchmark(split, SqlFile("m.sql", text))) == 1000
