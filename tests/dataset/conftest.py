"""A database with a schema in it, and the shortest way from a schema to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import psycopg
import pytest

from rehearse.dataset.load import load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.profile.take import take_profile
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.profile_file import parse_profile, profile_text
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target
from rehearse.provision import Server
from tests.dataset.planted import SCHEMA as PLANTED
from tests.dataset.twins import FILL, SCHEMA, Twins, load_twin

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Fill: TypeAlias = Callable[..., DatasetPlan]


@pytest.fixture
def connection(database: Target) -> Iterator[Connection]:
    with connect(database, "rehearse") as opened:
        yield opened


@pytest.fixture
def fill(database: Target, connection: Connection) -> Fill:
    """Applies a schema, loads `default` rows (or those of `tables`), and holds it to the schema's word."""

    def run(schema: str, default: int | None = None, /, **tables: int) -> DatasetPlan:
        connection.execute(schema)
        before = introspect(connection)
        rows = RowCounts(default, tuple(tables.items()))
        plan = plan_dataset(before, None, rows, touched=frozenset(), loaded={}, seed=7)
        load(database, plan, on_progress=lambda _: None)
        assert introspect(connection) == before
        return plan

    return run


@pytest.fixture(scope="session")
def twins(server: Server) -> Iterator[Twins]:
    source, twin = (server.target.on(f"profile_{name}") for name in ("source", "twin"))
    for target in (source, twin):
        create_database(server.target, target.dbname)
    try:
        with connect(source, "test") as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(FILL.encode())
            connection.execute("ANALYZE")
        profile = parse_profile(profile_text(take_profile(source)), "profile.json")
        load_twin(twin, profile)
        yield Twins(source, profile, twin)
    finally:
        for target in (source, twin):
            drop_database(server.target, target.dbname)


@pytest.fixture(scope="session")
def planted(server: Server) -> Iterator[Target]:
    """A database with people in it whom nobody may find in a masked copy."""
    create_database(server.target, "mask_source")
    target = server.target.on("mask_source")
    with connect(target, "rehearse") as opened:
        opened.execute(PLANTED.encode())
    yield target
    drop_database(server.target, "mask_source")
