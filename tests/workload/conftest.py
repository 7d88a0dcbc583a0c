"""A table for the driver to send its traffic to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.model.target import Target
from rehearse.provision import Server
from tests.workload.driving import SESSIONS, execute, fetch, until


@pytest.fixture(scope="module")
def own_database(server: Server) -> Iterator[Target]:
    """One for all tests here: making one takes longer than most of them."""
    create_database(server.target, "driver")
    yield server.target.on("driver")
    drop_database(server.target, "driver")


@pytest.fixture
def table(own_database: Target) -> Target:
    """A table as if nobody had ever done anything to it; those who did have gone."""
    until(lambda: fetch(own_database, f"select count(*) {SESSIONS}") == [(0,)])
    execute(
        own_database,
        "drop table if exists t",
        "create table t (id int primary key, n int not null default 0, payload text)",
        "insert into t select i, 0, 'p' || i from generate_series(1, 100) i",
    )
    return own_database
