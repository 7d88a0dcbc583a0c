"""The driver: what is due is sent, timed from when it was due, and told while it goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target
from rehearse.model.workload import (
    LiveTraffic,
    Outcome,
    Pool,
    Protocol,
)
from rehearse.workload.driver import Driver
from tests.workload.driving import (
    EVER,
    PATIENCE_S,
    PERHAPS_ENCRYPTED,
    READ,
    SESSIONS,
    WRITE,
    Load,
    awaited,
    fetch,
    make,
    run,
    until,
)


@pytest.mark.parametrize(
    ("protocol", "processes", "options"),
    [
        (Protocol.PREPARED, 2, ()),
        (Protocol.EXTENDED, 1, PERHAPS_ENCRYPTED),
        (Protocol.SIMPLE, 1, PERHAPS_ENCRYPTED),
    ],
)
def test_every_transaction_that_was_due_is_answered(
    table: Target, tmp_path: Path, protocol: Protocol, processes: int, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))
    ran = run(table, tmp_path, Load(processes=processes, protocol=protocol, clients=5), READ, WRITE)
    samples = ran.samples
    assert len(samples) > 40
    assert ran.outcomes == {Outcome.OK: len(samples)}
    assert samples.scripts == ("s0", "s1")
    assert fetch(table, "select sum(n) from t") == [(samples.script.count(1),)]
    scheduled, started, ended = samples.scheduled_ns, samples.started_ns, samples.ended_ns
    assert list(scheduled) == sorted(scheduled)
    assert all(ran.zero_ns <= a <= b < c for a, b, c in zip(scheduled, started, ended, strict=True))
    assert max(scheduled) <= ran.halted_ns + 10_000_000_000  # a process hears of it when it gets its turn
    assert (ran.health.offered, ran.health.finished) == (len(samples), len(samples))
    assert (ran.health.processes, ran.health.clients) == (processes, 5)
    late = [begun - due for due, begun in zip(scheduled, started, strict=True)]
    assert 0 < ran.health.lag_p50_ns <= ran.health.lag_max_ns <= max(late)


def test_a_closed_loop_keeps_every_client_busy(table: Target, tmp_path: Path) -> None:
    ran = run(
        table,
        tmp_path,
        Load(rate=None, clients=3),
        READ,
        seconds=0,
        meanwhile=lambda driver: until(lambda: driver.live().finished > 100),
    )
    assert len(ran.samples) > 100
    assert list(ran.samples.scheduled_ns) == list(ran.samples.started_ns)


def test_a_lock_shows_as_long_as_it_lasts_and_while_it_does(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(processes=2), READ)
    assert driver.live().due == 0
    try:
        driver.start()
        assert len(driver.pids()) == 4
        pids = fetch(table, f"select pid {SESSIONS}")
        with connect(table, "rehearse") as connection:
            before = awaited(driver, lambda live: live.finished > 40 and live.rate > 0)
            with connection.transaction():
                connection.execute("lock table t in access exclusive mode")
                held_ns = time.monotonic_ns()
                during = awaited(driver, lambda live: is_held(live, since_ns=held_ns))
                now_ns = time.monotonic_ns()
        assert driver.pids() == {row[0] for row in pids}
        samples = driver.stop(PATIENCE_S)
        health = driver.health(EVER)
    finally:
        driver.abort()
    assert before.failed == 0
    assert before.p99_ns is not None
    assert during.failed == 0
    assert set(samples.outcome) == {Outcome.OK}
    due, ended = (np.frombuffer(column, np.int64) for column in (samples.scheduled_ns, samples.ended_ns))
    meanwhile = (due > held_ns) & (due < now_ns)
    assert meanwhile.sum() > 80  # all that came meanwhile, and not just one a connection
    assert (ended[meanwhile] > now_ns).all()
    assert (ended - due).max() >= 0.9 * (now_ns - held_ns)
    assert health.peak_queue > 100
    assert len(driver.lag_ns((held_ns, now_ns))) <= 4  # queueing behind the lock is not the driver's lag


def is_held(live: LiveTraffic, *, since_ns: int) -> bool:
    """Whether a lock taken then has held everybody up for most of a second, as the gauges show it."""
    now_ns, oldest_ns = time.monotonic_ns(), live.oldest_in_flight_ns
    return (
        now_ns > since_ns + 800_000_000
        and (live.in_flight, live.queued > 100) == (4, True)
        and oldest_ns is not None
        and oldest_ns < now_ns - 500_000_000
        and live.due >= live.finished + live.in_flight + live.queued - 10
    )


def test_what_does_not_end_in_time_is_unfinished(table: Target, tmp_path: Path) -> None:
    with connect(table, "rehearse") as connection:

        def lock(driver: Driver) -> None:
            connection.execute("begin; lock table t in access exclusive mode")
            until(lambda: driver.live().in_flight == 4 and driver.live().queued > 20)

        ran = run(table, tmp_path, Load(rate=100), READ, drain_s=0.3, meanwhile=lock)
        # and nobody is left waiting on the server
        until(lambda: fetch(table, f"select count(*) {SESSIONS} and wait_event_type = 'Lock'") == [(0,)])
    assert ran.outcomes[Outcome.UNFINISHED] > 20
    unfinished = [place for place, outcome in enumerate(ran.samples.outcome) if outcome == Outcome.UNFINISHED]
    assert sum(ran.samples.started_ns[place] > 0 for place in unfinished) == 4
    assert min(ran.samples.ended_ns[place] for place in unfinished) >= ran.stopped_ns + 290_000_000


def test_answers_of_many_reads_are_taken_whole(table: Target, tmp_path: Path) -> None:
    large = "select repeat('x', 1000), i from generate_series(1, 300) i;"
    long = "select length('" + "y" * 3_000_000 + "');"  # more than a socket takes at once
    ran = run(table, tmp_path, Load(rate=40, protocol=Protocol.EXTENDED), large, long, READ)
    assert ran.outcomes == {Outcome.OK: len(ran.samples)}
    assert set(ran.samples.script) == {0, 1, 2}


@pytest.mark.parametrize("protocol", [Protocol.PREPARED, Protocol.SIMPLE])
def test_pools_reach_the_server(table: Target, tmp_path: Path, protocol: Protocol) -> None:
    fresh = [b"%d" % n for n in range(1000, 1060)]
    pools = [
        Pool("fresh", "t", {"id": list(fresh), "payload": [b"it's %d\\" % n for n in range(60)]}),
        Pool("sample", "t", {"payload": [None]}),
    ]
    text = """\\set id fresh(t.id)
\\set payload fresh(t.payload)
\\set nothing sample(t.payload)
insert into t (id, payload) values (:id, coalesce(:nothing, :payload));
"""
    load = Load(rate=500.0, processes=2, protocol=protocol)
    ran = run(table, tmp_path, load, text, pools=pools)
    # half of the rows went to each process: both have run out, and nothing was sent twice
    assert ran.outcomes == {Outcome.OK: 60, Outcome.SKIPPED: len(ran.samples) - 60}
    assert ran.health.skipped == len(ran.samples) - 60 > 0
    found = fetch(table, "select id, payload from t where id >= 1000 order by id")
    assert found == [(n, f"it's {n - 1000}\\") for n in range(1000, 1060)]
