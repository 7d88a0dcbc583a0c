"""The observer on a real server: it finds the lock episodes that were arranged, and no others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from bench.episodes import compare, play
from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationState, Statement, StatementOutcome
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.model.waits import LockWait, Role
from rehearse.model.workload import LiveTraffic
from rehearse.observe.observer import Observation, Observer
from rehearse.observe.party import MIGRATION, TRAFFIC
from rehearse.observe.waits import lock_retries
from rehearse.provision import provision

MS = 1_000_000
ALLOWED_NS = 50 * MS
TABLES = (Relation("public", "orders"), Relation("public", "Odd name"), Relation("other", "orders"))


@dataclass(frozen=True)
class Stretch:
    """From before the request was sent to when the obstacle was taken away, and to the answer."""

    sent_ns: int
    released_ns: int
    answered_ns: int


class Scene:
    """The observer, what it is told of traffic and migration, and sessions that do what tests say."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.oldest_ns: int | None = None
        self.state = MigrationState()
        self.connections: list[psycopg.Connection[tuple[object, ...]]] = []
        self.observer = Observer(
            target,
            scripts={"SELECT count(*) FROM orders": "count_orders"},
            migration=lambda: self.state,
            traffic=lambda: LiveTraffic(oldest_in_flight_ns=self.oldest_ns),
        )

    def session(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        connection = connect(self.target, name)
        self.connections.append(connection)
        return connection

    def waiting(
        self, connection: psycopg.Connection[tuple[object, ...]], query: sql.Composed | str
    ) -> Callable[[], int]:
        """Execute `query`, which has to wait, beside the test; what is returned waits for its end."""
        ended: list[int] = []

        def work() -> None:
            connection.execute(query.encode() if isinstance(query, str) else query)
            ended.append(time.monotonic_ns())

        thread = threading.Thread(target=work)
        thread.start()

        def end() -> int:
            thread.join(20)
            return ended[0]

        return end

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        self.oldest_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.oldest_ns = None


@pytest.fixture
def scene(database: Target) -> Iterator[Scene]:
    with connect(database, "test") as connection:
        connection.execute("CREATE SCHEMA other")
        for table in TABLES:
            name = sql.Identifier(table.schema, table.name)
            connection.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, v int)").format(name))
            connection.execute(sql.SQL("INSERT INTO {} VALUES (1, 0), (2, 0)").format(name))
    made = Scene(database)
    made.observer.start()
    try:
        yield made
    finally:
        made.observer.stop()
        for connection in made.connections:
            connection.close()


@contextmanager
def jitter() -> Iterator[list[int]]:
    """By how much this machine's scheduler was late at worst meanwhile: nobody's fault here."""
    over = threading.Event()
    worst = [0]

    def work() -> None:
        while not over.is_set():
            before = time.monotonic_ns()
            over.wait(0.001)
            worst[0] = max(worst[0], time.monotonic_ns() - before - MS)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield worst
    finally:
        over.set()
        thread.join()


def lock(table: Relation, mode: LockMode) -> sql.Composed:
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(
        sql.Identifier(table.schema, table.name), sql.SQL(mode.sql)
    )


def within(wait: LockWait, stretch: Stretch, jitter_ns: int) -> None:
    assert stretch.sent_ns <= wait.first_seen_ns
    assert wait.last_seen_ns <= stretch.answered_ns
    assert wait.at_least_ns >= stretch.released_ns - stretch.sent_ns - ALLOWED_NS - jitter_ns


def test_lock_episodes_are_found_with_mode_table_parties_and_length(database: Target) -> None:
    """A wait that is certain to be seen may be missed only in a lapse that the observer itself reports."""
    observation, truths = play(database, episodes=30, lanes=6, seed=5, longest_s=1.5)
    assert_sound(observation)
    result = compare(observation, truths, certain_ns=150 * MS)
    assert not result.missed
    assert not result.invented
    assert not result.wrong
    assert len(result.found) + len(result.excused) >= sum(t.waited_ns >= 150 * MS for t in truths) >= 10
    for truth, wait in result.found:
        lapses_ns = sum(end - start for start, end in observation.cost.lapses)
        assert truth.waited_ns - ALLOWED_NS - lapses_ns <= wait.at_least_ns
        assert wait.at_least_ns <= truth.answered_ns - truth.sent_ns


def assert_sound(observation: Observation) -> None:
    assert not observation.server_lost
    assert observation.cost.failed_samples == 0
    assert observation.cost.samples > 0
    assert 0 < observation.cost.share < 1
    assert observation.dropped == 0


def test_a_select_queues_behind_an_alter_that_waits_for_a_reader(scene: Scene) -> None:
    reader, migration, victim = (scene.session(name) for name in ("psql", MIGRATION, TRAFFIC))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders")
    with jitter() as worst, scene.in_flight():
        pid = migration.info.backend_pid
        scene.state = MigrationState(pid, 0, "ALTER TABLE", time.monotonic_ns())
        altered = scene.waiting(migration, "ALTER TABLE orders ADD COLUMN w int")
        time.sleep(0.3)
        sent_ns = time.monotonic_ns()
        selected = scene.waiting(victim, "SELECT count(*) FROM orders")
        time.sleep(0.4)
        assert scene.observer.blocked() == 2
        released_ns = time.monotonic_ns()
        reader.execute("COMMIT")
        altered_ns = altered()
        stretch = Stretch(sent_ns, released_ns, selected())
    observation = scene.observer.stop()
    own, queued = observation.waits
    assert (own.waiter.role, own.waiter.statement, own.mode) == (Role.MIGRATION, 0, LockMode.ACCESS_EXCLUSIVE)
    assert [(b.party.role, b.mode, b.queued) for b in own.blockers] == [
        (Role.OTHER, LockMode.ACCESS_SHARE, False)
    ]
    within(own, Stretch(scene.state.started_ns, released_ns, altered_ns), worst[0])
    assert (queued.waiter.script, queued.mode) == ("count_orders", LockMode.ACCESS_SHARE)
    assert queued.relation == Relation("public", "orders")
    first, *rest = queued.blockers
    assert (first.party.role, first.party.statement, first.mode) == (
        Role.MIGRATION,
        0,
        LockMode.ACCESS_EXCLUSIVE,
    )
    assert first.queued or not rest  # seen in the queue; it may have been seen with the lock, too
    within(queued, stretch, worst[0])


def test_a_wait_for_a_row_names_its_table(scene: Scene) -> None:
    migration, first, second, inserter = (scene.session(n) for n in (MIGRATION, TRAFFIC, TRAFFIC, TRAFFIC))
    migration.execute("BEGIN")
    migration.execute("UPDATE orders SET v = 1 WHERE id = 1")
    migration.execute("INSERT INTO orders VALUES (3, 0)")
    inserter.execute("BEGIN")
    with scene.in_flight():
        ends = [
            scene.waiting(first, "UPDATE orders SET v = 2 WHERE id = 1"),
            scene.waiting(inserter, "INSERT INTO orders VALUES (3, 0) ON CONFLICT DO NOTHING"),
        ]
        time.sleep(0.1)
        ends.append(scene.waiting(second, "UPDATE orders SET v = 3 WHERE id = 1"))
        time.sleep(0.2)
        migration.execute("COMMIT")
        for end in ends:
            end()
    waits = {wait.waiter.pid: wait for wait in scene.observer.stop().waits}
    orders = Relation("public", "orders")
    for waiter in (first, inserter):
        wait = waits[waiter.info.backend_pid]
        assert (wait.lock_type, wait.mode, wait.relation) == ("transactionid", None, orders)
        assert [b.party.role for b in wait.blockers] == [Role.MIGRATION]
    wait = waits[second.info.backend_pid]
    assert (wait.lock_type, wait.relation) == ("tuple", orders)
    assert [b.party.pid for b in wait.blockers] == [first.info.backend_pid]


def test_where_nobody_waits_no_wait_is_reported_and_resources_are(scene: Scene) -> None:
    busy = scene.session(TRAFFIC)
    with scene.in_flight():
        until = time.monotonic() + 1.3
        while time.monotonic() < until:
            busy.execute("INSERT INTO orders SELECT g, 0 FROM generate_series(10, 500) g")
            busy.execute("DELETE FROM orders WHERE id >= 10")
    observation = scene.observer.stop()
    assert observation.waits == ()
    assert_sound(observation)
    positions = [sample.wal_position_bytes or 0 for sample in observation.resources]
    assert len(positions) >= 4
    assert positions == sorted(positions)
    assert positions[-1] > positions[0]
    assert (observation.resources[-1].database_bytes or 0) > 1_000_000


def test_phases_of_the_migration_s_work_are_seen_as_the_server_reports_them(scene: Scene) -> None:
    migration = scene.session(MIGRATION)
    migration.execute("INSERT INTO orders SELECT g, g FROM generate_series(10, 200) g")
    migration.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(0.004); RETURN $1; END'"
    )
    scene.state = MigrationState(migration.info.backend_pid, 3, "CREATE INDEX", time.monotonic_ns())
    migration.execute("CREATE INDEX ON orders (slow(v))")
    scene.state = MigrationState()
    observation = scene.observer.stop()
    assert_sound(observation)
    scanning = [phase for phase in observation.phases if phase.phase == "building index: scanning table"]
    assert scanning
    assert {(p.statement, p.command, p.table) for p in scanning} == {
        (3, "CREATE INDEX", Relation("public", "orders"))
    }
    assert max(phase.last_seen_ns - phase.first_seen_ns for phase in scanning) > 0


def test_a_loop_around_a_lock_timeout_shows_what_it_tried_in_vain(scene: Scene) -> None:
    reader, migration = scene.session("psql"), scene.session(MIGRATION)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders")
    started_ns = time.monotonic_ns()
    scene.state = MigrationState(migration.info.backend_pid, 0, "DO", started_ns)
    migration.execute("""DO $$ BEGIN
      FOR n IN 1..3 LOOP
        BEGIN
          SET LOCAL lock_timeout = '250ms';
          LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;
        EXCEPTION WHEN lock_not_available THEN
          SET LOCAL lock_timeout = 0;
          PERFORM pg_sleep(0.1);
        END;
      END LOOP;
    END $$""")
    ended_ns = time.monotonic_ns()
    scene.state = MigrationState()
    observation = scene.observer.stop()
    statement = Statement(0, "DO", "up.sql", 1, "DO", 0, started_ns, ended_ns, StatementOutcome.OK)
    retries, lost_ns = lock_retries(observation.waits, statement)
    assert retries == 2
    assert 200 * MS < lost_ns <= ended_ns - started_ns


def test_locked_catalogs_do_not_stop_it(scene: Scene) -> None:
    """As VACUUM FULL of the whole database locks them, one after another."""
    migration = scene.session(MIGRATION)
    with migration.transaction():
        for catalog in ("pg_database", "pg_authid", "pg_stat_activity", "pg_locks"):
            migration.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(catalog))
            )
        time.sleep(1.0)
    assert_sound(scene.observer.stop())
    assert scene.observer.stop().cost.max_gap_ns < 900 * MS


def test_it_comes_back_after_its_session_was_ended(scene: Scene) -> None:
    killer = scene.session("psql")
    killer.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'rehearse-observer' AND datname = current_database()"
    )
    time.sleep(0.8)
    observation = scene.observer.stop()
    assert not observation.server_lost
    assert observation.cost.failed_samples == 1
    assert observation.cost.samples >= 3


def test_a_server_that_dies_ends_the_observer_and_is_reported() -> None:
    with provision(DatabaseSpec()) as server:
        with connect(server.target, "test") as connection:
            words = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        scene = Scene(server.target)
        scene.observer.start()
        time.sleep(0.3)
        os.kill(int(words[0].split()[0]), signal.SIGKILL) if words else pytest.fail("no postmaster")
        time.sleep(0.8)
        begun = time.monotonic()
        observation = scene.observer.stop()
        assert time.monotonic() - begun < 3
    assert observation.server_lost
    assert observation.cost.samples >= 1
    assert observation.cost.gaps, "the time after its death was not observed"
    assert scene.observer.stop() is observation
