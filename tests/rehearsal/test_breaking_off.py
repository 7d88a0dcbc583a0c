"""Gates that break the migration off: what they see, that they end it, and what the run says then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearse.acts import abort
from rehearse.acts.abort import Breaker, LiveValues, tripped
from rehearse.acts.loading import PREVIEW, run_preview
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import drop_database
from rehearse.migrate.run import APPLICATION_NAME, run_migration
from rehearse.model.gates import METRICS
from rehearse.model.migration import MigrationRun, MigrationState, SqlFile, StatementOutcome, TransactionMode
from rehearse.model.scenario import DatasetSpec, MigrationSpec, Scenario
from rehearse.model.target import Target
from rehearse.model.workload import LiveTraffic
from rehearse.scenario.gates import parse_abort_expression

S = 1_000_000_000


def live(**now: int | None) -> LiveTraffic:
    return LiveTraffic(**now)  # type: ignore[arg-type] # whatever fields a test is about


def test_nothing_answered_is_a_stall_as_long_as_something_is_due() -> None:
    values = LiveValues(0, live(due=100, finished=100))
    assert values.at(1 * S, live(due=110, finished=110), 0)["stall.max"] == 0
    assert values.at(2 * S, live(due=120, finished=110, in_flight=4), 0)["stall.max"] == pytest.approx(1)
    assert values.at(3 * S, live(due=130, finished=110, queued=9), 0)["stall.max"] == pytest.approx(2)
    assert values.at(4 * S, live(due=131, finished=111, in_flight=1), 0)["stall.max"] == 0
    assert values.at(9 * S, live(due=131, finished=111), 0)["stall.max"] == 0


def test_one_script_that_waits_for_a_lock_is_a_stall_and_a_long_report_is_none() -> None:
    values = LiveValues(10 * S, live())
    values.at(11 * S, live(finished=5, in_flight=1), 0)
    busy = live(finished=99, in_flight=1, oldest_in_flight_ns=5 * S)
    report, locked = (values.at(14 * S, busy, blocked) for blocked in (0, 1))
    assert report["stall.max"] == 0
    assert locked["stall.max"] == pytest.approx(4)  # and not the 9 s since it was sent
    assert report["latency.max"] == pytest.approx(4)


def test_errors_count_from_the_migrations_start_and_a_few_make_no_rate() -> None:
    values = LiveValues(0, live(due=1000, failed=7))
    few = values.at(S, live(due=1010, failed=12), 0)
    many = values.at(S, live(due=1100, failed=27), 0)
    assert (few["errors.count"], few["errors.rate"]) == (5, 0)
    assert many["errors.rate"] == pytest.approx(0.2)


def test_every_metric_that_may_break_off_is_known() -> None:
    known = LiveValues(0, live()).at(S, live(), 0)
    assert set(known) == {kind.name for kind in METRICS if kind.live}


def test_the_first_gate_that_is_true_trips() -> None:
    gates = [parse_abort_expression(text) for text in ("stall.max > 2s", "duration >= 5s")]
    assert tripped(gates, {"stall.max": 2.0, "duration": 4.9}, 1) is None
    found = tripped(gates, {"stall.max": 0.0, "duration": 5.0}, 1)
    assert found is not None
    assert (found.gate, found.value) == ("duration >= 5s", 5.0)


@contextmanager
def migrating(target: Target, sql: str) -> Iterator[tuple[threading.Thread, list[MigrationRun], Breaker]]:
    done: list[MigrationRun] = []
    state = [MigrationState()]
    breaker = Breaker([parse_abort_expression("duration > 300ms")], target)
    thread = threading.Thread(
        target=lambda: done.append(
            run_migration(
                target,
                [SqlFile("up.sql", sql)],
                TransactionMode.AS_WRITTEN,
                timeout_s=120,
                on_state=lambda now: state.__setitem__(0, now),
            )
        ),
        daemon=True,
    )
    breaker.began(LiveTraffic())
    thread.start()
    until = time.monotonic() + 90
    while thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
        breaker.look(LiveTraffic(), 0, state[0])
    yield thread, done, breaker
    breaker.close()


def sessions_left(target: Target) -> tuple[int, ...] | None:
    """How many of the migration's sessions do not go. One that was hung up on takes a moment to notice."""
    until = time.monotonic() + 60
    with connect(target, "test") as connection:
        while True:
            left = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = %s AND datname = current_database()",
                (APPLICATION_NAME,),
            ).fetchone()
            if left == (0,) or time.monotonic() > until:
                return left
            time.sleep(0.02)


ENDLESS = """
DO $$ BEGIN
  LOOP
    BEGIN PERFORM pg_sleep(0.05); EXCEPTION WHEN query_canceled THEN NULL; END;
  END LOOP;
END $$;
SELECT 'not reached';
"""


@pytest.mark.parametrize("sql", ["CREATE TABLE made (); SELECT pg_sleep(60); SELECT 1;", ENDLESS])
def test_the_migration_is_ended_whether_it_listens_or_not(
    database: Target, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abort, "_TERMINATE_NS", S)
    with migrating(database, sql) as (thread, done, breaker):
        assert not thread.is_alive()
        run = breaker.noted(done[0])

    assert breaker.aborted is not None
    failed = run.failed
    assert failed is not None
    assert failed.outcome is StatementOutcome.CANCELLED
    assert "duration > 300ms" in str(failed.message)
    assert run.statements[-1].outcome is StatementOutcome.NOT_RUN
    assert sessions_left(database) == (0,)


def test_without_gates_nothing_is_looked_at(database: Target) -> None:
    breaker = Breaker([], database)
    breaker.began(LiveTraffic())
    breaker.look(live(in_flight=1, oldest_in_flight_ns=1), 5, MigrationState())
    assert breaker.aborted is None


def test_the_try_on_an_empty_copy_ends_when_the_migration_would_be_broken_off(database: Target) -> None:
    scenario = Scenario(
        name="endless",
        dataset=DatasetSpec(SqlFile("schema.sql", "")),
        migration=MigrationSpec((SqlFile("up.sql", "SELECT pg_sleep(600);"),)),
        aborts=(parse_abort_expression("duration > 300ms"), parse_abort_expression("stall.max > 1ms")),
    )
    try:
        preview = run_preview(database, scenario, database.dbname)
    finally:
        drop_database(database, PREVIEW)
    assert preview.run.failed is not None
    assert preview.run.ended_ns - preview.run.started_ns < 300 * S
    assert preview.after is None
