"""A whole rehearsal of a migration that Alembic runs, and the scenario that asks for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.rehearsal.conftest import LIBRARY, command, read_run

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
with create_engine(os.environ["SQLALCHEMY_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
LEDGER = """
CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
"""
APPLIED = """
revision, down_revision = "a1", None
def upgrade():
    raise RuntimeError("this was applied long ago")
"""
NAIVE = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "b2", "a1"
def upgrade():
    op.add_column("loans", sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))
    op.execute("SELECT pg_sleep(1.3) FROM loans LIMIT 1")
    op.execute("DELETE FROM loan_events WHERE loan_id < 100")
def downgrade():
    op.drop_column("loans", "token")
"""
SAFE = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "b2", "a1"
def upgrade():
    op.execute("SET lock_timeout = '900ms'")
    op.add_column("loans", sa.Column("token", sa.Uuid()))
def downgrade():
    op.drop_column("loans", "token")
"""
SCENARIO = """
[dataset]
schema = "schema.sql"
load = ["alembic_version.sql"]
rows = {{ members = "1k", loans = "20k", branches = 50, loan_events = "2k" }}

[workload]
rate = 100
clients = 12
warm_up = "1s"
baseline = "2s"
recovery = "1s"

[migration]
command = ["{python}", "-m", "alembic", "upgrade", "head"]
down_command = ["{python}", "-m", "alembic", "downgrade", "-1"]
env = {{ SQLALCHEMY_URL = "{url}", API_TOKEN = "hush-hush-hush" }}
cwd = "project"

[gates]
"blocking.projected" = "<= 30s"

[production]
rows = "200M"

[trials]
run = ["traffic", "integrity", "rollback"]
"""
URL = "postgresql+psycopg://${PGUSER}:${PGPASSWORD}@${PGHOST}:${PGPORT}/${PGDATABASE}"


def project(folder: Path, revision: str = NAIVE) -> Path:
    """A scenario, and the Alembic project beside it, whose second revision is to be rehearsed."""
    versions = folder / "project" / "versions"
    versions.mkdir(parents=True)
    (folder / "schema.sql").write_text((LIBRARY / "schema.sql").read_text() + LEDGER)
    (folder / "alembic_version.sql").write_text("INSERT INTO alembic_version VALUES ('a1');")
    (folder / "project" / "alembic.ini").write_text("[alembic]\nscript_location = .\n")
    (folder / "project" / "env.py").write_text(ENV)
    (versions / "a1_begin.py").write_text(APPLIED)
    (versions / "b2_token.py").write_text(revision)
    scenario = folder / "case.toml"
    scenario.write_text(SCENARIO.format(python=sys.executable, url=URL))
    return scenario


def test_a_rewrite_by_alembic_is_a_no_go_that_names_all(tmp_path: Path) -> None:
    run = read_run(command("run", project(tmp_path), "--json", "--out", tmp_path / "reports", cwd=tmp_path))

    assert (run.verdict, run.exit_code) == ("NO_GO", 1)
    rewrite = run.finding("rewrite-under-lock")
    assert rewrite["severity"] == "failure"
    assert "ACCESS EXCLUSIVE on loans" in rewrite["message"]
    assert rewrite["statement"].startswith("ALTER TABLE loans ADD COLUMN token")
    evidence = " ".join(run.finding("stall")["evidence"])
    assert "on loans, blocked by the migration" in evidence
    assert "migration-failed" not in run.rules("failure")
    # the statement that did it, and not one that asks the tool's own table
    assert run.finding("data-loss")["statement"].startswith("DELETE FROM loan_events")
    assert "alembic_version" not in {f["subject"] for f in run.document["findings"]}
    traffic, _, rollback = run.document["trials"]
    assert traffic["tool"]["exit_status"] == 0
    assert traffic["failed_statement"] is None
    assert rollback["kind"] == "rollback"
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert b"hush-hush-hush" not in path.read_bytes()
    record = json.loads((run.folder / "run.json").read_text())
    kept = record["scenario"]["migration"]["up"][0]["tool"]["env"]
    assert [value for _, value in kept] == ["***", "***"]


def test_a_safe_change_by_alembic_meets_no_objection(tmp_path: Path) -> None:
    done = command("run", project(tmp_path, SAFE), "--json", "--out", tmp_path / "reports", cwd=tmp_path)
    run = read_run(done)

    assert "alembic_version" not in str([(f["subject"], f["message"]) for f in run.document["findings"]])
    assert not run.rules("failure") - {"stall", "latency", "errors"}  # which a busy machine may bring about
    assert "workload-missed-table" not in run.rules("unmeasured")
    projected = next(g for g in run.document["gates"] if g["gate"].startswith("blocking.projected"))
    assert projected["status"] == "passed"
    record = json.loads((run.folder / "run.json").read_text())
    (ledger,) = [t for t in record["tables"] if t["relation"]["name"] == "alembic_version"]
    assert (ledger["rows"], ledger["production_rows"], ledger["touched"], ledger["ledger"]) == (
        *(1, 1),
        *(False, True),
    )
    assert not [s for s in record["scripts"] if "alembic_version" in " ".join(s["statements"])]
    assert "trying the migration on an empty copy" in done.stderr


def test_a_tool_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    scenario = project(tmp_path)
    scenario.write_text(scenario.read_text().replace(f'"{sys.executable}"', '"no-such-tool"', 1))
    done = command("run", scenario, cwd=tmp_path)

    assert done.returncode == 2
    assert "rehearse: the migration's command is not there: no-such-tool" in done.stderr
    assert not done.stdout
