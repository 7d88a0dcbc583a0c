"""Metrics: exact, over the right transactions, and None where nothing was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.errors import RecordError
from rehearse.judge.judge import judge
from rehearse.judge.metrics import nearest_rank
from rehearse.judge.traffic import Traffic
from rehearse.model.gates import METRICS
from rehearse.model.migration import Effects, MigrationRun, TableWork
from rehearse.model.record import Phase, RunRecord
from rehearse.model.verdict import Unit
from rehearse.model.waits import Blocker, LockWait, Party, ResourceSample, Role
from rehearse.model.workload import Outcome, SampleColumns
from tests.judge.build import (
    AX,
    MS,
    ORDERS,
    READ,
    RX,
    START,
    WRITE,
    Blocked,
    Failing,
    S,
    add,
    build,
    end_of,
    lock,
    migration,
    quiet,
    record,
    samples,
    statement,
    with_trial,
    work,
)

INSTANT = statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX))
# measured by trials that are made on request
OF_OTHER_TRIALS = {"disk.projected", "replica.lag.max", "replica.lag.bytes", "replica.conflicts"}


def measured(made: RunRecord, traffic: SampleColumns | None) -> dict[str, float | None]:
    return {name: q.value if q else None for name, q in judge(made, traffic).metrics}


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 0.999, 1.0]))
def test_nearest_rank_is_the_smallest_value_not_below_its_share(values: list[float], share: float) -> None:
    found = nearest_rank(np.array(values), share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9
    assert all(sum(w <= v for w in values) < share * len(values) for v in values if v < found)


def test_every_metric_is_there_for_every_phase_with_its_unit() -> None:
    run = migration(INSTANT)
    sizes = tuple(ResourceSample(START + at * S, database_bytes=9_000) for at in (-1, 3))
    metrics = dict(judge(with_trial(record(run), resources=sizes), quiet(run)).metrics)
    for kind in METRICS:
        names = [kind.name]
        if "phase" in kind.selectors:
            names += [f"{kind.name}{{phase={phase.value}}}" for phase in Phase]
        for name in names:
            quantity = metrics[name]
            if kind.name in OF_OTHER_TRIALS:
                assert quantity is None, name
                continue
            assert quantity is not None, name
            assert quantity.unit is kind.unit
    assert metrics["latency.p99{phase=migration,script=place_order}"]
    assert metrics["stall.max{script=read_order}"]


def test_metrics_of_the_traffic_are_none_without_samples() -> None:
    run = migration(INSTANT)
    metrics = measured(record(run), None)
    families = ("stall", "latency", "errors", "throughput")
    assert all(value is None for name, value in metrics.items() if name.startswith(families))
    assert metrics["duration"] == pytest.approx(0.005)


def test_latency_counts_from_the_schedule_and_by_the_phase_it_was_due_in() -> None:
    run = migration(INSTANT)
    late = samples(end_ns=end_of(run)[1], blocked=[Blocked(START - S // 2, START + 2 * S)])
    metrics = measured(record(run), late)
    assert metrics["latency.max{phase=baseline}"] == pytest.approx(2.5, rel=0.01)
    assert metrics["latency.max{phase=migration}"] == pytest.approx(2.0, rel=0.01)
    assert metrics["latency.p50{phase=recovery}"] == pytest.approx(0.006, rel=0.5)
    assert metrics["stall.max"] == pytest.approx(2.0, rel=0.01)


def test_skipped_ones_are_neither_due_nor_finished_and_unfinished_ones_are_errors() -> None:
    run = migration(INSTANT)
    traffic = quiet(run)
    before = measured(record(run), traffic)
    for number in range(100):
        add(traffic, 0, START + number, START + number, Outcome.SKIPPED)
    assert measured(record(run), traffic) == before
    end = end_of(run)[1]
    for number in range(10):
        add(traffic, 0, end - MS, end + number, Outcome.UNFINISHED)
    metrics = measured(record(run), traffic)
    assert metrics["errors.count"] == 10
    assert metrics["errors.count{script=read_order}"] == 10
    assert metrics["errors.count{phase=recovery}"] == 10


def test_errors_at_the_rate_of_before_are_not_the_migrations() -> None:
    run = migration(INSTANT)
    always = samples(end_ns=end_of(run)[1], failing=[Failing(WRITE, "40001", 0, 60 * S, every=50)])
    metrics = measured(record(run), always)
    assert metrics["errors.rate"] == 0
    assert metrics["errors.rate{phase=recovery}"] == pytest.approx(0.01, rel=0.1)
    more = samples(
        end_ns=end_of(run)[1],
        failing=[
            Failing(WRITE, "40001", 0, START, every=50),
            Failing(WRITE, "40001", START, 60 * S, every=3),
        ],
    )
    rate = measured(record(run), more)["errors.rate"]
    assert rate is not None
    assert 0.1 < rate < 0.17


def test_another_error_of_the_same_script_counts_in_full() -> None:
    run = migration(INSTANT)
    traffic = samples(
        end_ns=end_of(run)[1],
        failing=[
            Failing(WRITE, "23505", START, 60 * S, every=10),
            Failing(WRITE, "40001", 0, START, every=10),
        ],
    )
    assert measured(record(run), traffic)["errors.count"] == 50


def test_throughput_counts_what_finished_in_the_phase() -> None:
    run = migration(INSTANT)
    traffic = samples(end_ns=end_of(run)[1], blocked=[Blocked(START, START + S)])
    metrics = measured(record(run), traffic)
    assert metrics["throughput{phase=baseline}"] == pytest.approx(200, rel=0.02)
    assert metrics["throughput{phase=migration}"] == pytest.approx(0, abs=5)
    assert metrics["throughput"] == pytest.approx(200, rel=0.02)


def held(took_s: float = 0.5, waited_s: float = 0.0) -> MigrationRun:
    rewriting = Effects(rewritten=(work(),), built=(build(),), wal_bytes=1_000_000)
    return migration(
        statement(
            "ALTER TABLE orders ADD COLUMN a serial",
            lock(ORDERS, AX),
            took_s=took_s,
            waited_s=waited_s,
            effects=rewriting,
        )
    )


def test_held_and_queued_are_two_things() -> None:
    run = held(took_s=2.5, waited_s=2.0)
    metrics = measured(record(run), quiet(run))
    assert metrics["blocking.held"] == pytest.approx(0.5)
    assert metrics["blocking.queued"] == pytest.approx(2.0)
    assert metrics["blocking.projected"] == pytest.approx(0.5 * 200e6 / 300e3, rel=0.6)


def test_the_longest_wait_of_the_traffic_behind_the_migration() -> None:
    run = held()
    mine, other = Party(1, Role.MIGRATION, statement=0), Party(2, Role.TRAFFIC, WRITE)

    def wait(waiter: Party, by: Party, length: int) -> LockWait:
        return LockWait(waiter, (Blocker(by, AX, False),), "relation", RX, ORDERS, START, START + length)

    reader = Party(3, Role.TRAFFIC, READ)
    waits = (wait(reader, mine, S // 3), wait(reader, other, S), wait(other, mine, S // 4))
    assert measured(with_trial(record(run), waits=waits), quiet(run))["blocking.max"] == pytest.approx(1 / 3)
    assert measured(with_trial(record(run), waits=waits, observer=None), quiet(run))["blocking.max"] is None


def test_a_sampled_wait_of_the_migration_counts_as_its_waiting() -> None:
    run = held(took_s=2.5)
    waits = (
        LockWait(Party(1, Role.MIGRATION, statement=0), (), "relation", AX, ORDERS, START, START + 2 * S),
    )
    metrics = measured(with_trial(record(run), waits=waits), quiet(run))
    assert metrics["blocking.queued"] == 2
    assert metrics["blocking.held"] == pytest.approx(0.5)


def test_work_of_unknown_production_size_is_not_projected() -> None:
    run = held()
    metrics = measured(record(run, production=None), quiet(run))
    assert metrics["blocking.held"] == pytest.approx(0.5)
    assert [metrics[f"{name}.projected"] for name in ("blocking", "duration", "wal")] == [None, None, None]
    known = measured(record(run), quiet(run))
    assert known["wal.projected"] == pytest.approx(1_000_000 * 200e6 / 300e3, rel=0.6)
    assert known["duration.projected"] == known["blocking.projected"]


def test_the_log_positions_stand_in_where_a_statement_was_not_measured() -> None:
    run = migration(replace(INSTANT, effects=Effects(locks=(lock(ORDERS, AX),))))
    positions = tuple(
        ResourceSample(START + at * S, wal_position_bytes=1000 + 500 * at) for at in range(-2, 4)
    )
    metrics = measured(with_trial(record(run), resources=positions), quiet(run))
    assert metrics["wal.bytes"] == 500
    assert metrics["wal.projected"] is None
    assert measured(record(run), quiet(run))["wal.bytes"] is None


def test_the_disk_s_peak_is_what_was_sampled_or_what_one_transaction_wrote_anew() -> None:
    rewrite = Effects(locks=(lock(ORDERS, AX),), rewritten=(TableWork(ORDERS, 1000, 700),))
    run = migration(replace(INSTANT, effects=rewrite))
    end_ns = end_of(run)[0]

    def peak(*sizes: tuple[int, int, int]) -> float | None:
        samples = tuple(
            ResourceSample(at_ns, database_bytes=size, temporary_bytes=temporary)
            for at_ns, size, temporary in sizes
        )
        return measured(with_trial(record(run), resources=samples), quiet(run))["disk.peak"]

    before, during, after = (START - S, 10_000, 0), (START + 1, 10_900, 400), (end_ns + S, 10_100, 0)
    assert peak(before, during, after) == 1_300
    assert peak(before, after) == 700
    assert peak(before, during) is None
    assert peak(during, after) is None


def test_columns_of_different_length_are_refused() -> None:
    traffic = quiet(migration(INSTANT))
    traffic.outcome.pop()
    with pytest.raises(RecordError):
        Traffic.of(traffic)


def test_units_are_base_units() -> None:
    run = migration(INSTANT)
    metrics = dict(judge(record(run), quiet(run)).metrics)
    rate = metrics["errors.rate"]
    assert rate is not None
    assert rate.unit is Unit.RATIO
