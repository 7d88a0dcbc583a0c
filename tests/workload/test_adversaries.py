from __future__ import annotations

import re
import time
from collections.abc import Iterator

import psycopg
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.errors import ScenarioError
from rehearse.model.relation import Relation
from rehearse.model.scenario import ADVERSARY_KINDS, AdversarySpec
from rehearse.model.target import Target
from rehearse.workload.adversaries import Adversaries

Connection = psycopg.Connection[tuple[object, ...]]

PATIENCE_S = 60.0  # for what takes a fraction of a second on a machine that has nothing else to do

_HELD = """
SELECT l.mode FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE a.application_name = %s AND l.relation = 'shop."Orders"'::regclass AND l.granted
"""


@pytest.fixture
def own(database: Target) -> Iterator[Connection]:
    with connect(database, "test") as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute(
            'CREATE TABLE shop."Orders" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text,'
            " w int GENERATED ALWAYS AS (length(v)) STORED)"
        )
        connection.execute(
            """INSERT INTO shop."Orders" (v) SELECT repeat('x', 500) FROM generate_series(1, 2000)"""
        )
        yield connection


def modes(connection: Connection, kind: str) -> set[object]:
    return {row[0] for row in connection.execute(_HELD, (f"rehearse-adversary {kind}",))}


def until(connection: Connection, kind: str, wanted: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while wanted not in modes(connection, kind):
        assert time.monotonic() < give_up, f"{kind} does not hold {wanted}"
        time.sleep(0.01)


def until_stood(adversaries: Adversaries) -> None:
    """The server shows a lock a moment before its holder knows that it has it."""
    give_up = time.monotonic() + PATIENCE_S
    while adversaries.missing():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def all_gone(connection: Connection) -> bool:
    """The server takes a moment to end a session that the client has closed."""
    give_up = time.monotonic() + PATIENCE_S
    while sessions(connection) and time.monotonic() < give_up:
        time.sleep(0.02)
    return not sessions(connection)


def sessions(connection: Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rehearse-adversary%'"
        " AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def states(connection: Connection) -> dict[object, tuple[object, ...]]:
    rows = connection.execute(
        "SELECT split_part(application_name, ' ', 2), state, backend_xid IS NOT NULL,"
        " backend_xmin IS NOT NULL FROM pg_stat_activity"
        " WHERE application_name LIKE 'rehearse-adversary%' AND datname = current_database()"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("long-reader", "AccessShareLock"),
        ("idle-in-transaction", "AccessShareLock"),
        ("long-writer", "RowExclusiveLock"),
        ("snapshot", "AccessShareLock"),
        ("autovacuum", "ShareUpdateExclusiveLock"),
    ],
)
def test_each_kind_holds_its_lock_until_it_is_told_to_leave(
    database: Target, own: Connection, kind: str, mode: str
) -> None:
    adversaries = Adversaries(database, [AdversarySpec(kind, "Orders", duration_s=60, start_s=0)])
    adversaries.start(time.monotonic_ns())
    until(own, kind, mode)
    until_stood(adversaries)
    begun = time.monotonic()
    (note,) = adversaries.stop()
    assert time.monotonic() - begun < 30  # and not as long as it would have stood
    assert "stood from +0" in note
    assert "ended with" not in note
    assert adversaries.missing() == ()
    assert adversaries.stop() == (note,)
    assert all_gone(own)
    row = own.execute("""SELECT count(*), max(v) = repeat('x', 500) FROM shop."Orders" """).fetchone()
    assert row == (2000, True)


def test_all_kinds_come_at_their_time_and_leave_by_themselves(database: Target, own: Connection) -> None:
    specs = [AdversarySpec(kind, "shop.Orders", duration_s=0.6, start_s=-0.3) for kind in ADVERSARY_KINDS]
    adversaries = Adversaries(database, specs)
    zero_ns = time.monotonic_ns() + 700_000_000
    adversaries.start(zero_ns)
    while True:
        held = [modes(own, kind) for kind in ADVERSARY_KINDS]
        if time.monotonic_ns() >= zero_ns - 300_000_000:
            break
        assert held == [set()] * len(ADVERSARY_KINDS), "not before their time"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic_ns() < zero_ns or sessions(own):
        assert time.monotonic() < deadline, "they do not leave by themselves"
        time.sleep(0.02)
    notes = adversaries.stop()
    assert len(notes) == len(ADVERSARY_KINDS)
    for note in notes:
        times = re.search(r"stood from ([-+][0-9.]+) s to ([-+][0-9.]+) s", note)
        assert times is not None, note
        assert -0.3 <= float(times[1]) <= float(times[2])
        assert "ended with" not in note


def test_states_are_what_production_would_show(database: Target, own: Connection) -> None:
    kinds = ("long-reader", "idle-in-transaction", "long-writer", "snapshot")
    adversaries = Adversaries(database, [AdversarySpec(kind, "Orders", 60, 0) for kind in kinds])
    adversaries.start(time.monotonic_ns())
    for kind in kinds:
        until(own, kind, "RowExclusiveLock" if kind == "long-writer" else "AccessShareLock")
    wanted = {
        "long-reader": ("active", False, True),
        "idle-in-transaction": ("idle in transaction", False, False),
        "long-writer": ("active", True, True),
        "snapshot": ("active", False, True),
    }
    deadline = time.monotonic() + PATIENCE_S
    # a look may fall between two statements of theirs, before the one they stay in
    while (found := states(own)) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    adversaries.stop()
    assert found == wanted


def test_autovacuum_gives_way_after_deadlock_timeout(database: Target, own: Connection) -> None:
    adversaries = Adversaries(database, [AdversarySpec("autovacuum", "Orders", 60, 0)])
    adversaries.start(time.monotonic_ns())
    until(own, "autovacuum", "ShareUpdateExclusiveLock")
    begun = time.monotonic()
    own.execute("""ALTER TABLE shop."Orders" ADD COLUMN z int""")
    assert 0.9 < time.monotonic() - begun < 30  # and not as long as it would have stood
    (note,) = adversaries.stop()
    assert "ended with" not in note


def test_one_that_is_thrown_out_says_why(database: Target, own: Connection) -> None:
    adversaries = Adversaries(database, [AdversarySpec("long-reader", "Orders", 60, 0)])
    adversaries.start(time.monotonic_ns())
    until(own, "long-reader", "AccessShareLock")
    until_stood(adversaries)
    own.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'rehearse-adversary long-reader' AND datname = current_database()"
    )
    assert all_gone(own)
    (note,) = adversaries.stop()
    assert "it ended with: terminating connection due to administrator command" in note


def test_one_that_finds_no_way_in_never_took_its_stand(database: Target, own: Connection) -> None:
    own.execute("BEGIN")
    own.execute("""LOCK TABLE shop."Orders" IN ACCESS EXCLUSIVE MODE""")
    adversaries = Adversaries(database, [AdversarySpec("snapshot", "Orders", 60, 0)])
    adversaries.start(time.monotonic_ns())
    time.sleep(0.3)
    (note,) = adversaries.stop()
    own.execute("COMMIT")
    assert [spec.kind for spec in adversaries.missing()] == ["snapshot"]
    assert note == 'adversary snapshot on shop."Orders" never took its stand'


def test_a_table_that_is_not_there_is_an_error_with_the_nearest_name(
    database: Target, own: Connection
) -> None:
    with pytest.raises(ScenarioError, match=r"did you mean 'shop\.\"Orders\"'"):
        Adversaries(database, [AdversarySpec("long-reader", "Order", 1)]).start(0)
    own.execute("""CREATE SCHEMA two; CREATE TABLE two."Orders" ()""")
    with pytest.raises(ScenarioError, match="several schemas"):
        Adversaries(database, [AdversarySpec("long-reader", "Orders", 1)]).check()
    with pytest.raises(ScenarioError, match=r"long-raeder.*long-reader"):
        Adversaries(database, [AdversarySpec("long-raeder", "two.Orders", 1)]).check()
    right = Adversaries(database, [AdversarySpec("long-reader", "two.Orders", 1)])
    assert right.check() == (Relation("two", "Orders"),)


def test_nobody_invited_nobody_comes(database: Target) -> None:
    adversaries = Adversaries(database, ())
    adversaries.start(time.monotonic_ns())
    assert adversaries.stop() == ()
