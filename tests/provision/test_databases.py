from __future__ import annotations

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import EnvironmentFailure, ServerLostError
from rehearse.model.target import Secret, Target
from rehearse.provision import Server

AWKWARD = 'Back"slash\\ and; DROP'


def test_names_are_taken_as_they_are(server: Server) -> None:
    create_database(server.target, AWKWARD)
    with connect(server.target.on(AWKWARD), "rehearse") as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (AWKWARD,)
    drop_database(server.target, AWKWARD)


def test_dropping_ends_the_sessions_on_it_and_twice_is_harmless(server: Server) -> None:
    create_database(server.target, "busy")
    with connect(server.target.on("busy"), "rehearse"):
        drop_database(server.target, "busy")
    drop_database(server.target, "busy")
    with pytest.raises(ServerLostError, match='database "busy" does not exist'):
        connect(server.target.on("busy"), "rehearse")


def test_a_name_that_is_taken_is_said(database: Target, server: Server) -> None:
    with pytest.raises(EnvironmentFailure, match=f'database "{database.dbname}" already exists'):
        create_database(server.target, database.dbname)


def test_a_user_who_may_not_is_told_how_to(server: Server, database: Target) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute("CREATE ROLE humble LOGIN PASSWORD 'humble'")
    try:
        humble = Target(
            database.engine, database.host, database.port, database.dbname, "humble", Secret("humble")
        )
        with pytest.raises(
            EnvironmentFailure, match=r"'humble' may not create .* ALTER ROLE humble CREATEDB"
        ):
            create_database(humble, "never")
    finally:
        with connect(server.target, "rehearse") as connection:
            connection.execute("DROP ROLE humble")
