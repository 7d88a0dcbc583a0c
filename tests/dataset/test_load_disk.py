"""A disk that is too small is said before the load begins, or else what the server died of."""

from __future__ import annotations

import shutil
from collections import namedtuple
from typing import Any, NoReturn, TypeAlias

import psycopg
import pytest

from rehearse.dataset.disk import estimate
from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import EnvironmentFailure, ServerLostError
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import Schema
from rehearse.model.target import Target

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Usage = namedtuple("Usage", ["total", "used", "free"])

NOTES = """
CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL, at timestamptz);
CREATE INDEX ON notes (at);
"""
LOG_BYTES = 10**12


def planned(connection: Connection, rows: int) -> tuple[DatasetPlan, Schema]:
    connection.execute(NOTES)
    schema = introspect(connection)
    return plan_dataset(schema, None, RowCounts(rows), touched=frozenset(), loaded={}, seed=3), schema


def test_estimate_is_near_what_the_load_takes(database: Target, connection: Connection) -> None:
    plan, schema = planned(connection, 60_000)
    expected = estimate(plan, schema, log_limit_bytes=LOG_BYTES)
    seen: list[LoadProgress] = []
    load(database, plan, on_progress=seen.append)
    row = connection.execute("SELECT pg_table_size('notes'), pg_indexes_size('notes')").fetchone()
    assert row is not None
    assert 0.8 < expected.table_bytes / row[0] < 1.6
    assert 0.8 < expected.index_bytes / row[1] < 2
    assert expected.total_bytes > sum(row) + expected.log_bytes
    # and how long it takes: known as long as rows go in, and then nothing is left of it
    copying = [progress.seconds_left for progress in seen if progress.stage == "copy"]
    assert copying[-1] == 0
    assert all(left is not None and left >= 0 for left in copying[1:])
    assert {progress.seconds_left for progress in seen if progress.stage != "copy"} == {None}


def test_disk_without_room_is_said_before_anything_is_loaded(
    database: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = planned(connection, 100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - 10 * 2**20, 10 * 2**20))
    with pytest.raises(
        EnvironmentFailure, match=r"^disk: the data set needs about \d+ MiB .*, 10 MiB are free"
    ):
        load(database, plan, on_progress=lambda _: None)
    # enough for the rows, and not for what trials copy
    needed = estimate(plan, introspect(connection), log_limit_bytes=LOG_BYTES).total_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - needed, needed))
    monkeypatch.setattr("rehearse.dataset.disk._shares_blocks", lambda _directory: False)
    with pytest.raises(EnvironmentFailure, match=r"2\.25 times tables and indexes again for the trials"):
        load(database, plan, on_progress=lambda _: None, copies=2.25)
    assert connection.execute("SELECT FROM notes LIMIT 1").fetchone() is None


def test_server_that_died_of_a_full_disk(
    database: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = planned(connection, 100)
    monkeypatch.setattr("rehearse.dataset.load.require_room", lambda *_, **__: None)

    def die(*_: object, **__: object) -> NoReturn:
        raise ServerLostError("the server went away while loading notes")

    monkeypatch.setattr("rehearse.dataset.load.in_parallel", die)
    with pytest.raises(ServerLostError, match="went away"):
        load(database, plan, on_progress=lambda _: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 0))
    with pytest.raises(EnvironmentFailure, match=r"^disk full: "):
        load(database, plan, on_progress=lambda _: None)
