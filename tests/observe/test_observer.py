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
from rehearse.model.waits import LockWait, ObserverCost, Role
from rehearse.model.workload import LiveTraffic
from rehearse.observe.cost import LAPSE_LIMIT_NS
from rehearse.observe.observer import APPLICATION_NAME, Observation, Observer
from rehearse.observe.party import MIGRATION, TRAFFIC
from rehearse.observe.waits import lock_retries
from rehearse.provision import provision

MS = 1_000_000
# By what a wait may be reported too short without a lapse: up to one before it was first seen, and up to one
# from when it was last seen to its end.
ALLOWED_NS = 2 * LAPSE_LIMIT_NS
CUT_OFF_NS = 1_900 * MS  # a question to the server that took longer was given up
PATIENCE_S = 60.0
TABLES = (Relation("public", "orders"), Relation("public", "Odd name"), Relation("other", "orders"))


@dataclass(frozen=True)
class Stretch:
    """From before the request was sent and when it was known to wait to when the obstacle was taken away,
    and to the answer.
    """

    sent_ns: int
    waits_ns: int
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
            thread.join(PATIENCE_S)
            return ended[0]

        return end

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        self.oldest_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.oldest_ns = None


def until(condition: Callable[[], bool]) -> int:
    """Waits for `condition`; when it was seen to hold."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
    return time.monotonic_ns()


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


def lock(table: Relation, mode: LockMode) -> sql.Composed:
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(
        sql.Identifier(table.schema, table.name), sql.SQL(mode.sql)
    )


def within(wait: LockWait, stretch: Stretch, cost: ObserverCost) -> None:
    assert stretch.sent_ns <= wait.first_seen_ns
    assert wait.last_seen_ns <= stretch.answered_ns
    assert wait.at_least_ns >= stretch.released_ns - stretch.waits_ns - ALLOWED_NS - cost.lapsed_ns


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
        assert truth.waited_ns - ALLOWED_NS - observation.cost.lapsed_ns <= wait.at_least_ns
        assert wait.at_least_ns <= truth.answered_ns - truth.sent_ns


def assert_sound(observation: Observation) -> None:
    assert not observation.server_lost
    cost = observation.cost
    assert cost.failed_samples <= sum(end - start > CUT_OFF_NS for start, end in cost.lapses)
    assert cost.samples > 0
    assert 0 < observation.cost.share < 1
    assert observation.dropped == 0


def test_a_select_queues_behind_an_alter_that_waits_for_a_reader(scene: Scene) -> None:
    reader, migration, victim = (scene.session(name) for name in ("psql", MIGRATION, TRAFFIC))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders")
    with scene.in_flight():
        pid = migration.info.backend_pid
        scene.state = MigrationState(pid, 0, "ALTER TABLE", time.monotonic_ns())
        altered = scene.waiting(migration, "ALTER TABLE orders ADD COLUMN w int")
        alter_waits_ns = until(lambda: scene.observer.blocked() == 1)
        sent_ns = time.monotonic_ns()
        selected = scene.waiting(victim, "SELECT count(*) FROM orders")
        select_waits_ns = until(lambda: scene.observer.blocked() == 2)
        time.sleep(0.3)  # so that there is a length to be told
        released_ns = time.monotonic_ns()
        reader.execute("COMMIT")
        altering = Stretch(scene.state.started_ns, alter_waits_ns, released_ns, altered())
        selecting = Stretch(sent_ns, select_waits_ns, released_ns, selected())
    observation = scene.observer.stop()
    own, queued = observation.waits
    assert (own.waiter.role, own.waiter.statement, own.mode) == (Role.MIGRATION, 0, LockMode.ACCESS_EXCLUSIVE)
    assert [(b.party.role, b.mode, b.queued) for b in own.blockers] == [
        (Role.OTHER, LockMode.ACCESS_SHARE, False)
    ]
    within(own, altering, observation.cost)
    assert (queued.waiter.script, queued.mode) == ("count_orders", LockMode.ACCESS_SHARE)
    assert queued.relation == Relation("public", "orders")
    first, *rest = queued.blockers
    assert (first.party.role, first.party.statement, first.mode) == (
        Role.MIGRATION,
        0,
        LockMode.ACCESS_EXCLUSIVE,
    )
    assert first.queued or not rest  # seen in the queue; it may have been seen with the lock, too
    within(queued, selecting, observation.cost)


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
        until(lambda: scene.observer.blocked() == 2)  # the first one is the first in the row's queue
        ends.append(scene.waiting(second, "UPDATE orders SET v = 3 WHERE id = 1"))
        until(lambda: scene.observer.blocked() == 3)
        time.sleep(0.1)  # so that none is too short to be kept
        observation = scene.observer.stop()  # with a last look: whoever is let go on may have to wait again
        migration.execute("COMMIT")
        for end in ends:
            end()
    waits = {wait.waiter.pid: wait for wait in observation.waits}
    assert len(waits) == len(observation.waits) == 3
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
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            busy.execute("INSERT INTO orders SELECT g, 0 FROM generate_series(10, 500) g")
            busy.execute("DELETE FROM orders WHERE id >= 10")
    observation = scene.observer.stop()
    assert observation.waits == ()
    assert_sound(observation)
    positions = [sample.wal_position_bytes or 0 for sample in observation.resources]
    assert len(positions) >= 2  # at the beginning and at the end
    assert positions == sorted(positions)
    assert positions[-1] > positions[0]
    assert (observation.resources[-1].database_bytes or 0) > 1_000_000


def test_phases_of_the_migration_s_work_are_seen_as_the_server_reports_them(scene: Scene) -> None:
    migration = scene.session(MIGRATION)
    holder = scene.session("psql")
    holder.execute("SELECT pg_advisory_lock(7)")
    migration.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        " WHILE NOT pg_try_advisory_xact_lock_shared(7) LOOP PERFORM pg_sleep(0.01); END LOOP;"
        " RETURN $1; END $$"
    )
    scene.state = MigrationState(migration.info.backend_pid, 3, "CREATE INDEX", time.monotonic_ns())
    built = scene.waiting(migration, "CREATE INDEX ON orders (slow(v))")
    log = scene.observer._progress  # nothing else tells that it has looked twice
    until(lambda: any(phase.last_seen_ns > phase.first_seen_ns for phase in log.phases()))
    holder.execute("SELECT pg_advisory_unlock(7)")
    built()
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
    assert_sound(observation)
    lapses = observation.cost.lapses
    unseen = sum((end - start) // (100 * MS) for start, end in lapses)  # no longer one hides more of them
    assert 2 - unseen <= retries <= 2
    assert retries * 150 * MS - observation.cost.lapsed_ns <= lost_ns <= ended_ns - started_ns


def test_locked_catalogs_do_not_stop_it(scene: Scene) -> None:
    """As VACUUM FULL of the whole database locks them, one after another."""
    migration = scene.session(MIGRATION)
    with migration.transaction():
        for catalog in ("pg_database", "pg_authid", "pg_stat_activity", "pg_locks"):
            migration.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(catalog))
            )
        time.sleep(0.3)
        assert_sound(scene.observer.stop())  # with a last look, which waits for nothing


def test_it_comes_back_after_its_session_was_ended(scene: Scene) -> None:
    killer = scene.session("psql")
    own = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name = '{APPLICATION_NAME}'"
    )
    before = set(killer.execute(own).fetchall())
    assert len(before) == 1
    killer.execute(f"SELECT pg_terminate_backend(pid) FROM ({own}) AS own")
    until(lambda: bool(set(killer.execute(own).fetchall()) - before))
    observation = scene.observer.stop()
    assert not observation.server_lost
    assert observation.cost.failed_samples >= 1
    assert observation.cost.samples >= 1, "it has looked with its new session"


def test_a_server_that_dies_ends_the_observer_and_is_reported() -> None:
    with provision(DatabaseSpec()) as server:
        with connect(server.target, "test") as connection:
            words = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        scene = Scene(server.target)
        holder, waiter = scene.session("psql"), scene.session("psql")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE pg_catalog.pg_description")
        scene.observer.start()
        waiter.pgconn.send_query(b"BEGIN; LOCK TABLE pg_catalog.pg_description")
        until(lambda: scene.observer.blocked() == 1)
        holder.execute("COMMIT")
        until(lambda: scene.observer.blocked() == 0)  # it has looked again: the look before was finished
        os.kill(int(words[0].split()[0]), signal.SIGKILL) if words else pytest.fail("no postmaster")
        until(lambda: scene.observer.cpu_ns() == 0)  # its thread has ended by itself
        time.sleep(0.6)  # more than the longest time between two samples that is meant to be
        observation = scene.observer.stop()
        for connection in scene.connections:
            connection.close()
    assert observation.server_lost
    assert observation.cost.samples >= 1
    assert observation.cost.gaps, "the time after its death was not observed"
    assert scene.observer.stop() is observation
