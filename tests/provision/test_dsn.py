"""An existing database is touched only where every guard says that it may be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.guards import MARKER_COMMENT, MARKER_SCHEMA
from rehearse.errors import EnvironmentFailure, InputError, NotDisposableError, ProvisionError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.provision.dsn import mark_disposable


def dsn_of(target: Target, user: str | None = None, password: str | None = None) -> str:
    words = target.conninfo("x")
    return (
        f"postgresql://{user or words['user']}:{password or words['password']}"
        f"@{words['host']}:{words['port']}/{words['dbname']}"
    )


@contextmanager
def taken(target: Target, **role: str) -> Iterator[Server]:
    with provision(DatabaseSpec(provision=dsn_of(target, **role)), disposable=target.dbname) as server:
        yield server


def run(target: Target, statement: str) -> None:
    with connect(target, "rehearse") as connection:
        connection.execute(statement.encode())  # bytes: these tests make them up as they go


def test_an_empty_database_named_by_the_user_is_taken(database: Target) -> None:
    with taken(database) as server:
        assert server.alive()
        assert server.target.disposable
        assert server.environment.provisioner == "dsn"
        with pytest.raises(EnvironmentFailure, match="not killed"):
            server.kill()
        with pytest.raises(EnvironmentFailure, match="not restarted"):
            server.restart()


@pytest.mark.parametrize("disposable", [None, "", "postgres", "test"])
def test_a_database_that_is_not_named_is_refused(database: Target, disposable: str | None) -> None:
    with (
        pytest.raises(NotDisposableError, match=f"guard named-by-user.*--disposable {database.dbname}"),
        provision(DatabaseSpec(provision=dsn_of(database)), disposable=disposable),
    ):
        pass


@pytest.mark.parametrize(
    "content",
    [
        "CREATE TABLE t ()",
        "CREATE SCHEMA s CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE e AS ENUM ('a')",
        "SELECT lo_create(0)",
        "CREATE SEQUENCE s",
    ],
)
def test_anything_in_it_is_something(database: Target, content: str) -> None:
    run(database, content)
    with pytest.raises(NotDisposableError, match="guard empty-or-marked"), taken(database):
        pass


@pytest.mark.parametrize(
    "nothing", ["CREATE EXTENSION pg_stat_statements", "CREATE SCHEMA empty", "CREATE EXTENSION citext"]
)
def test_extensions_and_empty_schemas_are_nothing(database: Target, nothing: str) -> None:
    run(database, nothing)
    with taken(database):
        pass


@pytest.mark.parametrize(
    "marker", [f"COMMENT ON DATABASE {{}} IS '{MARKER_COMMENT}'", f"CREATE SCHEMA {MARKER_SCHEMA}"]
)
def test_a_marked_database_may_be_full(database: Target, marker: str) -> None:
    run(database, "CREATE TABLE t ()")
    run(database, marker.format(database.dbname))
    with taken(database):
        pass


def test_our_own_mark_is_one(database: Target) -> None:
    run(database, "CREATE TABLE t ()")
    mark_disposable(database)
    with taken(database):
        pass


def test_another_session_on_it_keeps_it(database: Target) -> None:
    with (
        connect(database, "somebody's psql"),
        pytest.raises(NotDisposableError, match="guard no-sessions"),
        taken(database),
    ):
        pass


def test_a_user_who_cannot_create_databases_is_said(database: Target, server: Server) -> None:
    run(server.target, "CREATE ROLE modest LOGIN PASSWORD 'modest'")
    try:
        with (
            pytest.raises(ProvisionError, match='ALTER ROLE "modest" CREATEDB'),
            taken(database, user="modest", password="modest"),
        ):
            pass
        run(server.target, "ALTER ROLE modest CREATEDB")
        with taken(database, user="modest", password="modest") as existing:
            assert any("no superuser" in note for note in existing.environment.notes)
    finally:
        run(server.target, "DROP ROLE modest")


def test_settings_are_not_for_servers_of_others(database: Target) -> None:
    spec = DatabaseSpec(provision=dsn_of(database), settings=(("work_mem", "1GB"),))
    with pytest.raises(InputError, match="settings are for servers of our own"):
        provision(spec, disposable=database.dbname).__enter__()
