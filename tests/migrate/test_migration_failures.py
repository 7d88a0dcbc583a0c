"""Migrations that end badly: refused, cancelled, interrupted, or with the server gone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.migrate.run import APPLICATION_NAME, run_migration
from rehearse.model.migration import MigrationState, SqlFile, StatementOutcome, TransactionMode
from rehearse.model.relation import Relation
from rehearse.model.target import Target

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

AS_WRITTEN = TransactionMode.AS_WRITTEN
PATIENCE_S = 60.0
FAILED, CANCELLED, NOT_RUN = StatementOutcome.FAILED, StatementOutcome.CANCELLED, StatementOutcome.NOT_RUN


@contextmanager
def holding(target: Target, statement: str) -> Iterator[None]:
    """A transaction of somebody else, open meanwhile."""
    with connect(target, "rehearse-adversary", autocommit=False) as connection:
        connection.execute(statement)
        yield
        connection.rollback()


@contextmanager
def meanwhile(target: Target, act: Callable[[int], object]) -> Iterator[None]:
    """Somebody who does `act` to the migration's session as soon as that sleeps."""

    def work() -> None:
        deadline = time.monotonic() + PATIENCE_S
        with connect(target, "rehearse") as connection:
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE application_name = %s AND state = 'active' AND wait_event = 'PgSleep'",
                    (APPLICATION_NAME,),
                ).fetchone()
                if row is not None:
                    act(row[0])
                    return
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def sessions_left(target: Target) -> int:
    deadline = time.monotonic() + PATIENCE_S
    left = 1
    with connect(target, "rehearse") as connection:
        while left and time.monotonic() < deadline:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (APPLICATION_NAME,)
            ).fetchone()
            left = row[0] if row else 0
    return left


def test_a_unique_index_that_fails_stays_behind_invalid(migrate: Migrate) -> None:
    run = migrate("CREATE UNIQUE INDEX CONCURRENTLY once ON orders (status); SELECT 1")
    failed, rest = run.statements
    assert (failed.outcome, failed.sqlstate, rest.outcome) == (FAILED, "23505", NOT_RUN)
    assert "Key (" not in (failed.message or "")
    assert failed.effects
    assert failed.effects.invalid_indexes == (Relation("public", "once"),)
    assert failed.effects.built == ()
    assert not run.transactions[0].committed


def test_concurrently_under_a_short_lock_timeout_fails_behind_a_snapshot(
    shop: Target, migrate: Migrate
) -> None:
    with holding(shop, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM customers"):
        run = migrate("SET lock_timeout = '200ms'; CREATE INDEX CONCURRENTLY i ON orders (code)")
    failed = run.statements[1]
    assert (failed.sqlstate, failed.lock_timeout_ms) == ("55P03", 200)
    assert failed.effects
    assert failed.effects.invalid_indexes == (Relation("public", "i"),)


@pytest.mark.parametrize("mode", list(TransactionMode))
def test_a_migration_that_takes_too_long_is_cancelled(mode: TransactionMode, migrate: Migrate) -> None:
    run = migrate("SELECT 1; SELECT pg_sleep(30); SELECT 2;", mode, timeout_s=0.4)
    outcomes = [s.outcome for s in run.statements]
    late = [CANCELLED, NOT_RUN, NOT_RUN]  # a machine that stops for longer than that
    assert outcomes in ([StatementOutcome.OK, CANCELLED, NOT_RUN], late)
    assert run.failed
    assert "longer than 0.4 s" in (run.failed.message or "")
    assert 0.3e9 < run.ended_ns - run.started_ns < 25e9


def test_a_migration_that_waits_for_a_lock_is_cancelled(migrate: Migrate, shop: Target) -> None:
    with holding(shop, "SELECT count(*) FROM orders"):
        run = migrate("ALTER TABLE orders ADD x int", timeout_s=0.3)
    assert run.statements[0].outcome is CANCELLED
    assert sessions_left(shop) == 0


@pytest.mark.parametrize("mode", list(TransactionMode))
@pytest.mark.parametrize("text", ["SELECT pg_sleep(30); SELECT 1", "SELECT 1; VACUUM; SELECT pg_sleep(30)"])
def test_a_server_that_goes_away_is_a_failed_statement(
    mode: TransactionMode, text: str, shop: Target
) -> None:
    if mode is not AS_WRITTEN:
        text = text.replace("VACUUM; ", "")

    def kill(pid: int) -> None:
        with connect(shop, "rehearse") as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with meanwhile(shop, kill):
        run = run_migration(shop, [SqlFile("up.sql", text)], mode, timeout_s=60, on_state=lambda _: None)
    assert run.failed
    assert run.failed.outcome is FAILED
    assert run.failed.sqlstate == "57P01"
    assert run.failed.message
    assert run.failed.message.startswith("the server closed the connection")


def test_ctrl_c_leaves_nothing_running(shop: Target) -> None:
    main = threading.main_thread().ident or 0
    with (
        pytest.raises(KeyboardInterrupt),
        meanwhile(shop, lambda _: signal.pthread_kill(main, signal.SIGINT)),
    ):
        run_migration(
            shop,
            [SqlFile("up.sql", "UPDATE orders SET note = 'x'; SELECT pg_sleep(30)")],
            TransactionMode.PER_FILE,
            timeout_s=60,
            on_state=lambda _: None,
        )
    assert sessions_left(shop) == 0


def test_a_caller_that_gives_up_between_statements_leaves_nothing_running(shop: Target) -> None:
    def stop(state: MigrationState) -> None:
        if state.statement == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_migration(
            shop,
            [SqlFile("up.sql", "BEGIN; TRUNCATE orders; COMMIT")],
            AS_WRITTEN,
            timeout_s=60,
            on_state=stop,
        )
    assert sessions_left(shop) == 0
    with connect(shop, "rehearse") as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2000,)
