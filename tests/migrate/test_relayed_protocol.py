"""The protocol between a migration tool and the server, in the ways that drivers use it and we do not."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from rehearse.engines.postgres.connect import connect
from rehearse.migrate.run import run_migration
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    MigrationRun,
    MigrationState,
    SqlFile,
    Statement,
    StatementOutcome,
    ToolSpec,
    TransactionMode,
)
from rehearse.model.target import Target

CLOCKS_S = 0.1  # what the clocks of the server and the test may differ by, and more

AS_DRIVERS_DO = """
import psycopg
from psycopg import pq

c = psycopg.connect("", autocommit=True)
p = c.pgconn

# a whole script as one query
c.execute("SET lock_timeout = '4s'; ALTER TABLE orders ADD COLUMN one_query int; SELECT pg_sleep(0.3)")
c.execute("BEGIN; SELECT pg_sleep(0.4); ALTER TABLE orders ADD COLUMN in_block int; COMMIT")

# the unnamed statement, parsed and described in one round trip and executed in the next
assert p.prepare(b"", b"UPDATE orders SET note = $1 WHERE id = 1").status == pq.ExecStatus.COMMAND_OK
done = p.exec_prepared(b"", [b"unnamed"])
assert done.status == pq.ExecStatus.COMMAND_OK, done.error_message

# several commands on their way at once, each with its own end
p.enter_pipeline_mode()
p.send_query_params(b"ALTER TABLE customers ADD COLUMN first int", [])
p.pipeline_sync()
p.send_query_params(b"SELECT pg_sleep(0.5)", [])
p.pipeline_sync()
ended = 0
while ended < 2:
    result = p.get_result()
    if result is not None:
        assert result.status != pq.ExecStatus.FATAL_ERROR, result.error_message
        ended += result.status == pq.ExecStatus.PIPELINE_SYNC
p.exit_pipeline_mode()

# begun and locked without waiting for an answer
c.autocommit = False
with c.pipeline():
    c.execute("LOCK TABLE parts IN SHARE MODE")
    c.execute("SET LOCAL lock_timeout = '7s'")
c.commit()
"""

ONE_AFTER_THE_OTHER = r"""
import os, socket, struct
import psycopg
def leave(connection, *texts):
    # queries and the goodbye in one piece
    queries = [b"Q" + struct.pack("!I", len(text) + 5) + text + b"\0" for text in texts]
    os.write(connection.pgconn.socket, b"".join(queries) + b"X" + struct.pack("!I", 4))
    connection.close()
first = psycopg.connect("", autocommit=True, options="-c shop.mode=careful")
print(first.execute("SHOW shop.mode").fetchone()[0])
# a function called as drivers of old do
oid = first.execute("SELECT 'lo_creat'::regproc::oid::int").fetchone()[0]
body = struct.pack("!IHHI2sH", oid, 0, 1, 2, b"-1", 0)
wire = socket.socket(fileno=os.dup(first.pgconn.socket))
wire.setblocking(True)
wire.sendall(b"F" + struct.pack("!I", len(body) + 4) + body)
answer = b""
while not answer.endswith(b"Z\0\0\0\5I"):
    answer += wire.recv(4096)
assert answer[:1] == b"V", answer
beside = psycopg.connect("", autocommit=True)
first.execute("BEGIN; ALTER TABLE orders ADD COLUMN held int")
beside.execute("CREATE TABLE beside (x int)")
# begins after that, and knows of it only from a catalog that waits for the table's size
third = psycopg.connect("", autocommit=True)
third.execute("ALTER TABLE customers ADD COLUMN meanwhile int")
first.execute("COMMIT")
# refused, and the tool goes on
try:
    third.execute("CREATE UNIQUE INDEX CONCURRENTLY left_over ON customers ((1))")
except psycopg.errors.UniqueViolation:
    pass
# sent, and not waited for
beside.execute("BEGIN; ALTER TABLE beside ADD COLUMN y int")
leave(beside, b"COMMIT")
leave(third, b"SET lock_timeout = '2s'", b"ALTER TABLE customers ADD COLUMN gone int")
"""


SEVERAL_IN_ONE = """
import psycopg
c = psycopg.connect("", autocommit=True)
c.execute(
    "BEGIN; UPDATE orders SET note = 'q'; COMMIT; "
    "BEGIN ISOLATION LEVEL SERIALIZABLE; ALTER TABLE orders ADD COLUMN brief int; COMMIT; "
    "SELECT pg_advisory_lock(7); SELECT 1"
)
with c.pipeline():
    c.execute("UPDATE customers SET name = 'q'")
    c.execute("ALTER TABLE customers ADD COLUMN piped int")
"""

LOCKED_ELSEWHERE = """
import psycopg
other = psycopg.connect("")
other.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
c = psycopg.connect("", options="-c lock_timeout=50ms")
c.execute("SAVEPOINT a")
c.execute("ALTER TABLE orders ADD COLUMN undone int")
c.execute("ROLLBACK TO a")
c.execute("ALTER SCHEMA public RENAME TO renamed")
c.execute("ALTER SCHEMA renamed RENAME TO public")
c.execute("ALTER TABLE orders ADD COLUMN done int")
c.commit()
"""


def relayed(
    shop: Target, folder: Path, script: str, on_state: Callable[[MigrationState], None] = lambda _: None
) -> MigrationRun:
    """Runs a Python script as a migration tool."""
    (folder / "up.py").write_text(textwrap.dedent(script))
    step = SqlFile("the tool", "the tool", ToolSpec((sys.executable, "up.py"), (), str(folder)))
    return run_migration(shop, [step], TransactionMode.AS_WRITTEN, timeout_s=120.0, on_state=on_state)


def the(run: MigrationRun, *beginning: str) -> Statement:
    (found,) = [s for s in run.statements if s.text.startswith(beginning)]
    return found


def took_s(statement: Statement) -> float:
    return (statement.ended_ns - statement.started_ns) / 1e9


def test_as_drivers_do(shop: Target, tmp_path: Path) -> None:
    run = relayed(shop, tmp_path, AS_DRIVERS_DO)
    assert run.failed is None
    assert all(s.effects is not None for s in run.statements)

    # the time of a whole command is each statement's own, and not that of the first
    for slow, least_s in (("SELECT pg_sleep(0.3)", 0.3), ("SELECT pg_sleep(0.4)", 0.4)):
        assert took_s(the(run, slow)) > 0.9 * least_s  # there are two clocks
    begun, held = run.statements[3], the(run, "ALTER TABLE orders ADD COLUMN in_block")
    assert begun.text == "BEGIN"
    assert took_s(begun) < took_s(the(run, "SELECT pg_sleep(0.4)"))
    assert held.started_ns >= the(run, "SELECT pg_sleep(0.4)").ended_ns
    assert the(run, "ALTER TABLE orders ADD COLUMN one_query").lock_timeout_ms == 4000

    assert the(run, "UPDATE orders").effects is not None
    assert took_s(the(run, "SELECT pg_sleep(0.5)")) > 0.45

    locked = the(run, "LOCK TABLE parts").effects
    assert locked is not None
    assert ("parts", LockMode.SHARE) in {(lock.relation.name, lock.mode) for lock in locked.locks}


def test_sessions_that_wait_for_no_one(shop: Target, tmp_path: Path) -> None:
    run = relayed(shop, tmp_path, ONE_AFTER_THE_OTHER)
    assert run.tool is not None
    assert (run.tool.exit_status, run.tool.output) == (0, ("careful",))
    assert the(run, "ALTER TABLE customers ADD COLUMN meanwhile").effects is not None

    halfway = the(run, "CREATE UNIQUE INDEX CONCURRENTLY")
    assert halfway.outcome is StatementOutcome.REFUSED
    assert halfway.effects is not None
    assert [index.name for index in halfway.effects.invalid_indexes] == ["left_over"]

    # what was sent before the goodbye is done, and seen
    altered = the(run, "ALTER TABLE beside").transaction
    assert [span.committed for span in run.transactions if span.index == altered] == [True]
    called = the(run, "(a function")
    assert (called.outcome, called.effects) == (StatementOutcome.OK, None)

    gone = the(run, "ALTER TABLE customers ADD COLUMN gone")
    assert gone.outcome is StatementOutcome.OK
    assert gone.effects is not None
    assert (gone.lock_timeout_ms, gone.message) == (2000, None)


def test_several_transactions_in_one_query_end_when_they_end(shop: Target, tmp_path: Path) -> None:
    heard_ns: list[int] = []
    with connect(shop, "rehearse") as holder:
        holder.execute("SELECT pg_advisory_lock(7)")

        def release(state: MigrationState) -> None:
            if "pg_advisory_lock" in state.text:  # which is known while it waits
                heard_ns.append(time.monotonic_ns())
                time.sleep(3 * CLOCKS_S)  # far more than two clocks may differ by
                holder.execute("SELECT pg_advisory_unlock(7)")

        run = relayed(shop, tmp_path, SEVERAL_IN_ONE, release)
    assert run.failed is None
    added = the(run, "ALTER TABLE orders ADD COLUMN brief")
    (span,) = [span for span in run.transactions if span.index == added.transaction]
    assert span.committed
    between_ns = heard_ns[0] + round(CLOCKS_S * 1e9)
    assert span.ended_ns <= between_ns <= the(run, "SELECT 1").started_ns
    for text in ("ALTER TABLE orders ADD COLUMN brief", "ALTER TABLE customers ADD COLUMN piped"):
        effects = the(run, text).effects
        assert effects is not None
        assert {lock.mode for lock in effects.locks} == {LockMode.ACCESS_EXCLUSIVE}
        assert (effects.scanned, effects.rows_changed) == ((), ())


def test_no_question_waits_for_a_lock_in_the_tools_transaction(shop: Target, tmp_path: Path) -> None:
    run = relayed(shop, tmp_path, LOCKED_ELSEWHERE)
    assert run.failed is None
    assert {s.outcome for s in run.statements} == {StatementOutcome.OK}
    renamed = the(run, "ALTER SCHEMA public").effects
    assert renamed is not None
    assert "orders" in {change.relation.name for change in renamed.relations}
    assert the(run, "ALTER TABLE orders ADD COLUMN done").effects is not None
