"""Migrations that a tool runs: what it sends is read as exactly as what we send ourselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.errors import ScenarioError
from rehearse.migrate.command import refuse_idle
from rehearse.migrate.run import run_migration
from rehearse.migrate.telling import telling_line
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

RunTool = Callable[..., MigrationRun]


def alembic_project(folder: Path, revision: str) -> None:
    """One revision, and what Alembic needs around it."""
    (folder / "versions").mkdir()
    (folder / "alembic.ini").write_text(ALEMBIC_INI)
    (folder / "env.py").write_text(ALEMBIC_ENV)
    (folder / "versions" / "a1_change.py").write_text(revision)


@pytest.fixture
def tool(shop: Target, tmp_path: Path) -> RunTool:
    """Runs a command, or a Python script, on the shop."""

    def run(
        script: str = "",
        *argv: str,
        env: dict[str, str] | None = None,
        timeout_s: float = 120.0,
        on_state: Callable[[MigrationState], None] = lambda _: None,
        broken_off: Callable[[], bool] = lambda: False,
    ) -> MigrationRun:
        if script:
            (tmp_path / "up.py").write_text("import psycopg\n" + textwrap.dedent(script))
            argv = (sys.executable, "up.py")
        spec = ToolSpec(argv, tuple((env or {}).items()), str(tmp_path))
        step = SqlFile("the tool", "the tool", spec)
        return run_migration(
            shop,
            [step],
            TransactionMode.AS_WRITTEN,
            timeout_s=timeout_s,
            on_state=on_state,
            broken_off=broken_off,
        )

    return run


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


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (("starting", "no such revision"), "no such revision"),
        (
            (
                'File "x.py", line 3, in f',
                'sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateColumn) column "a" is there',
                "  ^",
                "[SQL: ALTER TABLE t",
                "ADD COLUMN a int]",
                "(Background on this error at: https://sqlalche.me/e/20/f405)",
            ),
            'sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateColumn) column "a" is there',
        ),
        (("FAILED: nothing found", "(Background on this error at: x)"), "FAILED: nothing found"),
        (("(Background on this error at: x)",), ""),
        ((), ""),
    ],
)
def test_the_line_that_says_why_a_tool_failed(output: tuple[str, ...], told: str) -> None:
    assert telling_line(output) == told


def test_a_tool_that_is_broken_off_is_ended_with_all_it_has_started(tool: RunTool, tmp_path: Path) -> None:
    texts: list[str] = []
    run = tool(
        f"""
        import subprocess, sys
        asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(asleep, start_new_session=True)
        open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
        psycopg.connect("").execute("SELECT pg_sleep(600)")
        """,
        on_state=lambda state: texts.append(state.text),
        broken_off=lambda: "SELECT pg_sleep(600)" in texts,
    )

    assert run.failed is not None
    assert run.failed.text == "SELECT pg_sleep(600)"
    assert run.tool is not None
    assert run.tool.exit_status is None
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))


def test_a_tool_that_takes_too_long_is_cancelled(tool: RunTool) -> None:
    run = tool("import time; time.sleep(600)", timeout_s=0.5)

    assert run.failed is not None
    assert run.failed.outcome is StatementOutcome.CANCELLED
    assert run.failed.message == "cancelled: the migration took longer than 0.5 s"


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


def test_nothing_of_the_callers_reaches_it(tool: RunTool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PGHOST",
        "PGSERVICE",
        "PGPASSFILE",
        "PGOPTIONS",
        "POSTGRES_HOST",
        "DATABASE_URL",
        "DB_HOST",
    ):
        monkeypatch.setenv(name, "production.example")
    monkeypatch.setenv("ANYTHING", "postgresql+psycopg://u:p@production.example/x")
    run = tool(
        """
        import os
        print([n for n, v in os.environ.items() if "production.example" in v])
        print(sorted(n for n in os.environ if n.startswith("PG")))
        print(os.environ["OWN"].replace(os.environ["PGPORT"], "PORT"))
        psycopg.connect(os.environ["DATABASE_URL"]).execute("SELECT 1")
        """,
        env={"OWN": "at ${PGHOST}:$PGPORT and $NOTHING"},
    )

    assert run.tool is not None
    assert run.tool.output == (
        "[]",
        str(
            [
                *("PGAPPNAME", "PGDATABASE", "PGGSSENCMODE", "PGHOST", "PGPASSWORD", "PGPORT", "PGSSLMODE"),
                "PGUSER",
            ]
        ),
        "at 127.0.0.1:PORT and $NOTHING",
    )
    with pytest.raises(ScenarioError, match="changed nothing"):
        refuse_idle(run)


def test_the_address_is_for_this_database_and_password_alone(tool: RunTool) -> None:
    run = tool(
        """
        import os
        for wrong in ({"dbname": "postgres"}, {"user": "somebody"}, {"password": "guessed"}):
            try:
                psycopg.connect("", **wrong)
            except psycopg.OperationalError as error:
                print(str(error).strip().rpartition("FATAL:  ")[2])
        """
        """
        c = psycopg.connect("", options="-c lock_timeout=7s", application_name="me")
        print(c.execute("SHOW lock_timeout").fetchone(), c.execute("SHOW application_name").fetchone())
        """,
    )
    assert run.tool is not None
    assert [line[:20] for line in run.tool.output[:3]] == ["this is a rehearsal:"] * 3
    assert run.tool.output[3] == "('7s',) ('rehearse-migration',)"
    assert run.statements[-1].lock_timeout_ms == 7000


def test_one_that_never_comes_is_refused(tool: RunTool) -> None:
    with pytest.raises(ScenarioError, match="never came to the rehearsal's database"):
        tool("pass")


def test_a_kill_of_ours_leaves_no_tool_running(tmp_path: Path) -> None:
    script = tmp_path / "lasting.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True)\ntime.sleep(600)\n"
    )
    ours = (
        "import sys\n"
        "from rehearse.migrate.tool import Process\n"
        "from rehearse.model.migration import ToolSpec\n"
        "process = Process(ToolSpec((sys.executable, sys.argv[1])), {'PATH': ''})\n"
        "process.wait(lambda: bool(process.output()))\n"
        "print(process.output()[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", ours, str(script)],
        cwd=SOURCE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdin is not None
    pids = [int(word) for word in started.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    until = time.monotonic() + 60
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    started.stdout.close()
    started.stdin.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
