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
REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "a1", None
def upgrade():
    op.add_column("loans", sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))
    op.execute("SELECT pg_sleep(1.3) FROM loans LIMIT 1")
def downgrade():
    op.drop_column("loans", "token")
"""
SCENARIO = """
[dataset]
schema = "schema.sql"
rows = {{ members = "1k", loans = "20k", branches = 50, loan_events = "2k" }}

[workload]
rate = 100
clients = 12
warm_up = "1s"
baseline = "2s"
recovery = "1s"

[migration]
command = ["{python}", "-m", "alembic", "upgrade", "head"]
down_command = ["{python}", "-m", "alembic", "downgrade", "base"]
env = {{ SQLALCHEMY_URL = "{url}", API_TOKEN = "hush-hush-hush" }}
cwd = "project"

[production]
rows = "200M"

[trials]
run = ["traffic", "rollback"]
"""
URL = "postgresql+psycopg://${PGUSER}:${PGPASSWORD}@${PGHOST}:${PGPORT}/${PGDATABASE}"


def project(folder: Path) -> Path:
    """A scenario, and the Alembic project beside it."""
    versions = folder / "project" / "versions"
    versions.mkdir(parents=True)
    (folder / "schema.sql").write_text((LIBRARY / "schema.sql").read_text())
    (folder / "project" / "alembic.ini").write_text("[alembic]\nscript_location = .\n")
    (folder / "project" / "env.py").write_text(ENV)
    (versions / "a1_token.py").write_text(REVISION)
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
    # what Alembic made for itself is no part of the way back
    assert "rollback-incomplete" not in {f["rule"] for f in run.document["findings"]}
    traffic, rollback = run.document["trials"]
    assert traffic["tool"]["exit_status"] == 0
    assert traffic["failed_statement"] is None
    assert rollback["kind"] == "rollback"
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert b"hush-hush-hush" not in path.read_bytes()
    record = json.loads((run.folder / "run.json").read_text())
    kept = record["scenario"]["migration"]["up"][0]["tool"]["env"]
    assert [value for _, value in kept] == ["***", "***"]


def test_a_tool_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    scenario = project(tmp_path)
    scenario.write_text(scenario.read_text().replace(f'"{sys.executable}"', '"no-such-tool"', 1))
    done = command("run", scenario, cwd=tmp_path)

    assert done.returncode == 2
    assert "rehearse: the migration's command is not there: no-such-tool" in done.stderr
    assert not done.stdout
