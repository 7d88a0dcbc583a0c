"""A database with a schema in it, and the shortest way from a schema to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import psycopg
import pytest

from rehearse.dataset.load import load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target

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
