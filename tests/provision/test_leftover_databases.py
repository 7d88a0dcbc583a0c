"""What a dead run left on a server that is not ours: dropped if a run made it, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearse.acts.loading import BASE, PREVIEW
from rehearse.acts.trial import TRIAL
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import RUN_DATABASES, create_database, drop_database
from rehearse.errors import NotDisposableError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from tests.provision.patience import hasty, patient
from tests.provision.runs import until


@contextmanager
def taken(target: Target) -> Iterator[Server]:
    words = target.conninfo("x")
    text = f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/{target.dbname}"
    with provision(DatabaseSpec(provision=text), disposable=target.dbname) as server:
        yield server


@pytest.fixture
def place(server: Server) -> Iterator[Target]:
    """An empty database that no run made, on a server that holds nothing else of a run."""
    names = ("place", "rehearse_of_the_choir", *RUN_DATABASES)
    with connect(server.target, "rehearse") as connection:
        connection.execute("CREATE DATABASE place")
    with patient():
        yield server.target.on("place")
    for name in names:
        drop_database(server.target, name)


def names(target: Target) -> set[str]:
    with connect(target, "rehearse") as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def sessions_on(target: Target) -> int:
    """How many others are on that database."""
    with connect(target.on("postgres"), "rehearse") as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        row = connection.execute(query, (target.dbname,)).fetchone()
    assert row is not None
    return int(row[0])


def test_the_names_are_those_that_a_run_uses() -> None:
    assert {BASE, PREVIEW, TRIAL} <= set(RUN_DATABASES)


def test_leftovers_are_told_from_everything_else(place: Target) -> None:
    create_database(place, "rehearse_base")
    create_database(place, "rehearse_trial", template="rehearse_base")
    with connect(place, "rehearse") as connection:
        connection.execute("CREATE DATABASE rehearse_of_the_choir")

    with taken(place) as server:
        notes = " ".join(server.environment.notes)
        assert "'rehearse_base' of a dead run was dropped" in notes
        assert "'rehearse_trial' of a dead run was dropped" in notes
        with hasty(), pytest.raises(NotDisposableError, match="guard no-sessions"), taken(place):
            pass  # a second run at the same time
    assert names(place) >= {"place", "rehearse_of_the_choir"}
    assert not names(place) & set(RUN_DATABASES)

    with connect(place, "rehearse") as connection:
        connection.execute("CREATE DATABASE rehearse_base")
        connection.execute("COMMENT ON DATABASE rehearse_base IS 'the choir''s own'")
    create_database(place, "rehearse_trial")
    said = "guard own-names: no run made the database 'rehearse_base'"
    with pytest.raises(NotDisposableError, match=said), taken(place):
        pass
    assert names(place) >= {"rehearse_base", "rehearse_trial"}

    drop_database(place, "rehearse_base")
    until(lambda: not sessions_on(place), 60)
    with (
        connect(place.on("rehearse_trial"), "somebody"),
        hasty(),
        pytest.raises(NotDisposableError, match="left 'rehearse_trial', and 1 sessions are on it"),
        taken(place),
    ):
        pass
    assert "rehearse_trial" in names(place)
