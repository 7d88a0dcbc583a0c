"""Ways to point the tool at a database that is not disposable: each refused by its guard, nothing written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import MADE_BY_A_RUN, create_database, drop_database
from rehearse.engines.postgres.guards import MARKER_COMMENT, MARKER_SCHEMA
from rehearse.errors import ExitCode, InputError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from tests.provision.patience import hasty, patient
from tests.provision.runs import ROOT, write_case

NAME = "precious"
FULL = "CREATE TABLE kept AS SELECT 1 AS n"


@dataclass(frozen=True, slots=True)
class Way:
    """How somebody might get it wrong: what was in the database, what the DSN said, what was said of it."""

    name: str
    guard: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    dsn: str = "postgresql://{user}:{password}@{host}:{port}/precious"
    disposable: str | None = NAME
    env: dict[str, str] = field(default_factory=dict)


WAYS = (
    Way("nobody said that it is disposable", "named-by-user", disposable=None),
    Way("another name was said", "named-by-user", disposable="scratch"),
    Way("the name was said in capitals", "named-by-user", disposable="PRECIOUS"),
    Way("part of the name was said", "named-by-user", disposable="prec"),
    Way("a name with a space", "named-by-user", disposable="precious "),
    Way("it is full", "empty-or-marked", before=(FULL,)),
    Way("a publication alone", "empty-or-marked", before=("CREATE PUBLICATION p FOR ALL TABLES",)),
    Way(
        "a marker in other words",
        "empty-or-marked",
        before=(FULL, f"COMMENT ON DATABASE precious IS 'not {MARKER_COMMENT}'"),
    ),
    Way(
        "a marker in capitals",
        "empty-or-marked",
        before=(FULL, f"COMMENT ON DATABASE precious IS '{MARKER_COMMENT.upper()}'"),
    ),
    Way(
        "a marker on something in it",
        "empty-or-marked",
        before=(FULL, f"COMMENT ON TABLE kept IS '{MARKER_COMMENT}'", f"CREATE TABLE {MARKER_SCHEMA} ()"),
    ),
    Way(
        "the comment of a run's own database",
        "empty-or-marked",
        before=(FULL, f"COMMENT ON DATABASE precious IS '{MADE_BY_A_RUN}'"),
    ),
    Way(
        "a transaction that somebody will finish",
        "no-prepared",
        before=(
            f"COMMENT ON DATABASE precious IS '{MARKER_COMMENT}'",
            FULL,
            "BEGIN",
            "INSERT INTO kept VALUES (2)",
            "PREPARE TRANSACTION 'later'",
        ),
        after=("ROLLBACK PREPARED 'later'",),
    ),
    Way(
        "a slot of a standby that is away",
        "no-slots",
        before=("SELECT pg_create_physical_replication_slot('away')",),
        after=("SELECT pg_drop_replication_slot('away')",),
    ),
    Way(
        "the database that comes with the server",
        "not-the-servers-own",
        dsn="postgresql://{user}:{password}@{host}:{port}/postgres",
        disposable="postgres",
    ),
    Way("a template", "not-the-servers-own", before=("ALTER DATABASE precious IS_TEMPLATE true",)),
    Way(
        "a name that a run needs",
        "own-names",
        dsn="postgresql://{user}:{password}@{host}:{port}/rehearse_base",
        disposable="rehearse_base",
    ),
    Way("no host in the DSN", "complete-address", dsn="postgresql:///precious", env={"PGHOST": "127.0.0.1"}),
    Way(
        "no database in the DSN",
        "complete-address",
        dsn="postgresql://{user}:{password}@{host}:{port}",
        env={"PGDATABASE": NAME},
    ),
    Way("no user in the DSN", "complete-address", dsn="host={host} port={port} dbname=precious"),
    Way("a service", "complete-address", dsn="postgresql://{user}@{host}:{port}/precious?service=production"),
    Way("two hosts", "one-host", dsn="postgresql://{user}:{password}@{host}:{port},{host}:1/precious"),
)


@pytest.fixture(scope="module")
def owner() -> Iterator[Server]:
    """A server that is somebody's: with slots, prepared transactions and, later, a standby."""
    with provision(DatabaseSpec(settings=(("max_prepared_transactions", "2"),))) as server:
        yield server


@pytest.fixture
def precious(owner: Server) -> Iterator[Target]:
    """A database that no run made."""
    with connect(owner.target, "owner") as connection:
        connection.execute("CREATE DATABASE precious")
    with patient():
        yield owner.target.on(NAME)
    with connect(owner.target, "owner") as connection:
        connection.execute("ALTER DATABASE precious IS_TEMPLATE false")
    drop_database(owner.target, NAME)


def execute(target: Target, *statements: str) -> None:
    with connect(target, "owner") as connection:
        for statement in statements:
            connection.execute(statement.encode())  # bytes: these tests make them up as they go


def fingerprint(target: Target) -> list[Any]:
    """What a person would find on the server, and in the database."""
    with connect(target, "owner") as connection:
        found = [
            connection.execute(query).fetchall()
            for query in (
                "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 1",
                "SELECT rolname FROM pg_roles ORDER BY 1",
                "SELECT oid, relfilenode FROM pg_class ORDER BY 1",
                "SELECT oid FROM pg_namespace ORDER BY 1",
            )
        ]
        if connection.execute("SELECT to_regclass('kept')").fetchone() != (None,):
            found.append(connection.execute("SELECT n, xmin::text FROM kept").fetchall())
        return found


def refused(dsn_text: str, disposable: str | None) -> str:
    """What was said; fails if nothing was."""
    with pytest.raises(InputError) as caught, taken(dsn_text, disposable):
        pass
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


def taken(dsn_text: str, disposable: str | None) -> AbstractContextManager[Server]:
    return provision(DatabaseSpec(provision=dsn_text), disposable=disposable)


def filled(template: str, target: Target) -> str:
    words = target.conninfo("x")
    return template.format(**{name: words[name] for name in ("user", "password", "host", "port")})


@contextmanager
def prepared(way: Way, target: Target) -> Iterator[None]:
    execute(target, *way.before)
    try:
        yield
    finally:
        execute(target, *way.after)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_it_is_refused_by_its_guard_and_nothing_is_written(
    way: Way, precious: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in way.env.items():
        monkeypatch.setenv(name, value)
    with prepared(way, precious):
        before = fingerprint(precious)
        said = refused(filled(way.dsn, precious), way.disposable)
        assert f"guard {way.guard}: " in said
        assert "\n" not in said
        assert precious.password is not None
        assert precious.password.reveal() not in said
        assert fingerprint(precious) == before


def test_a_session_that_a_modest_user_may_not_look_at_counts(precious: Target) -> None:
    execute(precious, "CREATE ROLE modest LOGIN CREATEDB PASSWORD 'modest'")
    text = filled("postgresql://modest:modest@{host}:{port}/precious", precious)
    try:
        with connect(precious, "the application"), hasty():
            assert "guard no-sessions" in refused(text, NAME)
        with taken(text, NAME) as server:
            assert server.alive()
    finally:
        execute(precious, "DROP ROLE modest")


def test_neither_a_primary_nor_its_standby_is_taken(owner: Server, precious: Target) -> None:
    text = "postgresql://{user}:{password}@{host}:{port}/precious"
    with owner.standby() as standby:
        before = fingerprint(precious)
        assert "guard no-standbys" in refused(filled(text, owner.target), NAME)
        assert "guard not-in-recovery" in refused(filled(text, standby.target), NAME)
        assert fingerprint(precious) == before


def test_what_the_environment_names_is_not_used_by_the_command(precious: Target, tmp_path: Path) -> None:
    """A shell in which everything points at a database is no reason to use it."""
    words = precious.conninfo("x")
    service = tmp_path / "service.conf"
    service.write_text(f"[production]\nhost={words['host']}\nport={words['port']}\ndbname={NAME}\n")
    passwords = tmp_path / ".pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"*:*:*:*:{words['password']}\n")
    inherited = {
        "PGHOST": words["host"],
        "PGPORT": words["port"],
        "PGUSER": words["user"],
        "PGPASSWORD": words["password"],
        "PGDATABASE": NAME,
        "PGSERVICE": "production",
        "PGSERVICEFILE": str(service),
        "PGPASSFILE": str(passwords),
        "HOME": str(tmp_path),
        "DATABASE_URL": filled("postgresql://{user}:{password}@{host}:{port}/precious", precious),
    }
    command = [sys.executable, "-m", "rehearse", "run", str(write_case(tmp_path)), "--out", str(tmp_path)]
    before = fingerprint(precious)
    for provision_text, said in (
        ("postgresql:///precious", "guard complete-address: the DSN names no host, no user"),
        (f"host={words['host']} port={words['port']} user={words['user']} dbname={NAME}", "no password"),
    ):
        done = subprocess.run(
            [*command, "--provision", provision_text, "--disposable", NAME],
            env=os.environ | inherited | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
        assert said in done.stderr
        assert words["password"] not in done.stderr
    assert fingerprint(precious) == before


def test_there_are_ten_and_more() -> None:
    assert len({way.name for way in WAYS}) >= 10
    assert {way.guard for way in WAYS} >= {"named-by-user", "empty-or-marked", "no-prepared", "no-slots"}


def test_two_runs_never_meet_on_one_database(precious: Target) -> None:
    text = filled("postgresql://{user}:{password}@{host}:{port}/precious", precious)
    with ExitStack() as stack:
        stack.enter_context(taken(text, NAME))
        create_database(precious, "rehearse_base")
        stack.callback(drop_database, precious, "rehearse_base")
        with hasty():
            assert "guard no-sessions" in refused(text, NAME)
        with contextlib.closing(connect(precious.on("rehearse_base"), "the first run")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
