"""Migrations that a tool runs: what it sends is read as exactly as what we send ourselves."""

from __future__ import annotations

import sys
from pathlib import Path

from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    MigrationRun,
    MigrationState,
    Statement,
    StatementOutcome,
)
from rehearse.model.target import Target
from tests.migrate.conftest import RunTool

SOURCE = Path(__file__).parents[2]
AX = LockMode.ACCESS_EXCLUSIVE

ALEMBIC_INI = "[alembic]\nscript_location = .\n"
ALEMBIC_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
NAIVE = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "a1", None
def upgrade():
    op.add_column("orders", sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))
def downgrade():
    op.drop_column("orders", "token")
"""
SAFE = """
from alembic import op
revision, down_revision = "a1", None
def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("orders_code", "orders", ["code"], postgresql_concurrently=True)
def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("orders_code", postgresql_concurrently=True)
"""


def alembic_project(folder: Path, revision: str) -> None:
    """One revision, and what Alembic needs around it."""
    (folder / "versions").mkdir()
    (folder / "alembic.ini").write_text(ALEMBIC_INI)
    (folder / "env.py").write_text(ALEMBIC_ENV)
    (folder / "versions" / "a1_change.py").write_text(revision)


def the(run: MigrationRun, beginning: str) -> Statement:
    (found,) = [s for s in run.statements if s.text.startswith(beginning)]
    return found


def locks(statement: Statement) -> set[tuple[str, LockMode]]:
    assert statement.effects is not None, statement
    return {(lock.relation.name, lock.mode) for lock in statement.effects.locks}


def test_alembic_up_and_down(tool: RunTool, tmp_path: Path) -> None:
    alembic_project(tmp_path, NAIVE)
    up = tool("", sys.executable, "-m", "alembic", "upgrade", "head")
    added = the(up, "ALTER TABLE orders ADD COLUMN token")
    recorded = the(up, "INSERT INTO alembic_version")

    assert up.failed is None
    assert up.tool is not None
    assert up.tool.exit_status == 0
    assert ("orders", AX) in locks(added)
    assert added.effects is not None
    assert [work.table.name for work in added.effects.rewritten] == ["orders"]
    assert recorded.transaction == added.transaction
    span = next(span for span in up.transactions if span.index == added.transaction)
    assert span.committed
    assert span.ended_ns >= recorded.ended_ns >= added.ended_ns > added.started_ns

    down = tool("", sys.executable, "-m", "alembic", "downgrade", "base")
    dropped = the(down, "ALTER TABLE orders DROP COLUMN token").effects
    assert dropped is not None
    assert [(change.column, change.what) for change in dropped.columns] == [("token", "dropped")]


def test_alembic_outside_a_transaction(tool: RunTool, tmp_path: Path) -> None:
    alembic_project(tmp_path, SAFE)
    run = tool("", sys.executable, "-m", "alembic", "upgrade", "head")
    built = the(run, "CREATE INDEX CONCURRENTLY orders_code")

    assert run.failed is None
    assert built.effects is not None
    assert [(b.index.name, b.concurrently) for b in built.effects.built] == [("orders_code", True)]
    assert ("orders", LockMode.SHARE_UPDATE_EXCLUSIVE) in locks(built)
    assert not {lock for lock in locks(built) if lock[0] == "orders" and lock[1].blocks_reads}
    alone = [s.command for s in run.statements if s.transaction == built.transaction]
    assert alone == ["CREATE INDEX CONCURRENTLY"]
    assert all(s.effects is not None for s in run.statements)


def test_every_way_of_sending(tool: RunTool, shop: Target) -> None:
    states: list[MigrationState] = []
    run = tool(
        """
        c = psycopg.connect("")
        c.execute("SET lock_timeout = '3s'")
        c.execute("UPDATE orders SET note = %s WHERE id <= %s", ("x", 10))
        try:
            with c.transaction():
                c.execute("SELECT no_such_column FROM orders")
        except psycopg.errors.UndefinedColumn:
            pass
        c.commit()
        with c.cursor() as cursor, cursor.copy("COPY customers (id, email) FROM STDIN") as rows:
            for number in range(5000, 5100):
                rows.write_row((number, "z"))
        c.commit()
        c.autocommit = True
        c.execute("CREATE TABLE made (x int); ALTER TABLE orders ADD CONSTRAINT k CHECK (id > 0) NOT VALID")
        c.execute("ALTER TABLE orders VALIDATE CONSTRAINT k")
        c.cursor().executemany("INSERT INTO made VALUES (%s)", [(n,) for n in range(500)])
        with c.pipeline():
            c.execute("ALTER TABLE customers ADD COLUMN a int")
            c.execute("ALTER TABLE customers ADD COLUMN b uuid DEFAULT gen_random_uuid()")
        other = psycopg.connect("", autocommit=True)
        other.execute("SET application_name = 'in disguise'")
        c.execute("CREATE PROCEDURE quick() LANGUAGE sql AS 'ALTER TABLE parts ADD COLUMN called int'")
        c.execute("CREATE PROCEDURE halting() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
        c.execute("CALL quick()")
        c.execute("CALL public.halting()", prepare=False)
        c.execute("SET standard_conforming_strings = off")
        c.execute("ALTER TABLE parts ADD COLUMN unread int")
        c.execute("RESET standard_conforming_strings")
        c.execute("REINDEX TABLE parts")
        c.autocommit = False
        c.execute("SELECT id FROM orders WHERE id <= %s FOR UPDATE", (7,)).fetchall()
        c.execute("LOCK TABLE parts IN SHARE MODE")
        other.execute("CREATE TABLE beside (x int)")
        c.execute("ALTER TABLE made ADD COLUMN y int")
        with c.cursor() as cursor, cursor.copy("COPY (SELECT 1) TO STDOUT") as rows:
            assert list(rows)
        c.commit()
        print(other.execute("SELECT count(*) FROM made").fetchone())
        """,
        on_state=states.append,
    )

    assert run.failed is None
    assert run.tool is not None
    assert (run.tool.exit_status, run.tool.sessions, run.tool.output) == (0, 2, ("(500,)",))
    assert [s.index for s in run.statements] == list(range(len(run.statements)))
    assert len(states[-2].pids) == 2
    assert {s.outcome for s in run.statements} == {StatementOutcome.OK, StatementOutcome.REFUSED}
    assert the(run, "SELECT no_such_column").sqlstate == "42703"

    update = the(run, "UPDATE orders")
    assert update.lock_timeout_ms == 3000
    assert update.text == "UPDATE orders SET note = $1 WHERE id <= $2"
    assert update.effects is not None
    assert [(table.name, rows) for table, rows in update.effects.rows_changed] == [("orders", 10)]
    copied = the(run, "COPY customers").effects
    assert copied is not None
    assert [rows for _, rows in copied.rows_changed] == [100]

    assert ("orders", AX) in locks(the(run, "ALTER TABLE orders ADD CONSTRAINT"))
    validated = the(run, "ALTER TABLE orders VALIDATE").effects
    assert validated is not None
    assert [work.table.name for work in validated.scanned] == ["orders"]
    inserted = the(run, "INSERT INTO made").effects
    assert inserted is not None
    assert [rows for _, rows in inserted.rows_changed] == [500]
    assert ("customers", AX) in locks(the(run, "ALTER TABLE customers ADD COLUMN a"))
    rewritten = the(run, "ALTER TABLE customers ADD COLUMN b").effects
    assert rewritten is not None
    assert [work.table.name for work in rewritten.rewritten] == ["customers"]

    assert ("parts", AX) in locks(the(run, "CALL quick"))
    assert the(run, "CALL public.halting").effects is not None
    unread = [s.text for s in run.statements if s.effects is None and s.outcome is StatementOutcome.OK]
    assert unread == [
        "ALTER TABLE parts ADD COLUMN unread int",
        "RESET standard_conforming_strings",
    ]

    locked = the(run, "SELECT id FROM orders").effects
    assert locked is not None
    assert [rows for _, rows in locked.rows_locked] == [7]

    held, beside = the(run, "LOCK TABLE parts"), the(run, "CREATE TABLE beside")
    assert held.transaction != beside.transaction
    assert the(run, "ALTER TABLE made").transaction == held.transaction
    with connect(shop, "rehearse") as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2100,)


def test_a_tool_that_fails_says_why_and_keeps_secrets(tool: RunTool) -> None:
    run = tool(
        """
        import os
        c = psycopg.connect("")
        c.execute("ALTER TABLE orders ADD COLUMN fine int")
        c.commit()
        print("url", os.environ["DATABASE_URL"], os.environ["API_TOKEN"], flush=True)
        c.execute("ALTER TABLE customers ADD UNIQUE (name, email), ADD COLUMN id int")
        """,
        env={"API_TOKEN": "hush-hush-hush"},
    )
    failed = run.failed

    assert failed is not None
    assert failed.text.startswith("ALTER TABLE customers ADD UNIQUE")
    assert failed.sqlstate == "42701"
    assert "exit status 1" in (failed.message or "")
    assert run.tool is not None
    assert run.tool.exit_status == 1
    assert "url *** ***" in run.tool.output
    assert not run.transactions[-1].committed


def test_what_the_server_refused_is_to_blame_where_the_tool_says_so(tool: RunTool) -> None:
    script = """
        c = psycopg.connect("", autocommit=True)
        try:
            c.execute("ALTER TABLE no_such_table ADD COLUMN a int")
        except psycopg.Error as error:
            c.execute("CREATE TABLE IF NOT EXISTS unlocked ()")
            raise SystemExit({said})
        """
    refused = tool(script.format(said="str(error)")).failed
    assert refused is not None
    assert refused.text.startswith("ALTER TABLE no_such_table")
    assert refused.message == 'relation "no_such_table" does not exist; the tool ended with exit status 1'

    other = tool(script.format(said="'the disk is full'")).failed
    assert other is not None
    assert other.is_command


def test_a_tool_that_fails_by_itself(tool: RunTool) -> None:
    run = tool('psycopg.connect("").execute("SELECT 1")\nraise SystemExit("no such revision")\n')

    assert run.failed is not None
    assert run.failed.message == "the tool ended with exit status 1: no such revision"
    assert run.failed.effects is not None


def test_a_revision_that_is_not_there_is_named_and_no_statement_is_blamed(
    tool: RunTool, tmp_path: Path
) -> None:
    alembic_project(tmp_path, NAIVE)
    run = tool("", sys.executable, "-m", "alembic", "upgrade", "zzz")

    assert run.failed is not None
    assert run.failed.is_command
    assert run.failed.whereabouts == f"after its {run.failed.index} statements"
    assert "Can't locate revision identified by 'zzz'" in (run.failed.message or "")


def test_a_backend_that_is_terminated_fails_the_tool(tool: RunTool, shop: Target) -> None:
    with connect(shop, "rehearse") as killer:

        def strike(state: MigrationState) -> None:
            if state.text.startswith("ALTER TABLE orders"):
                killer.execute("SELECT pg_terminate_backend(%s, 20000)", (state.pid,))

        run = tool(
            """
            c = psycopg.connect("")
            c.execute("ALTER TABLE customers ADD COLUMN a int")
            c.execute("ALTER TABLE orders ADD COLUMN a int")
            """,
            on_state=strike,
        )
    assert run.failed is not None
    assert run.failed.text.startswith("ALTER TABLE orders")
    assert not any(span.committed for span in run.transactions)
