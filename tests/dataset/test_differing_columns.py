"""Checks that two columns of a row are not equal: whoever follows, pays or replies is somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg
import pytest

from rehearse.dataset.recipe import DatasetPlan

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Fill: TypeAlias = Callable[..., DatasetPlan]

USERS = "CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL);"


@pytest.mark.parametrize("first", ["follower, followed", "followed, follower"])
def test_two_references_to_different_rows_within_a_key(
    fill: Fill, connection: Connection, first: str
) -> None:
    fill(
        USERS + "CREATE TABLE follows (follower bigint REFERENCES users, followed bigint REFERENCES users, "
        f"PRIMARY KEY ({first}), CHECK (follower <> followed))",
        users=12,
        follows=110,
    )
    row = connection.execute("SELECT count(*), count(DISTINCT followed) FROM follows").fetchone()
    assert row == (110, 12)


def test_two_references_to_different_rows(fill: Fill, connection: Connection) -> None:
    fill(
        USERS + "CREATE TABLE transfers (id serial PRIMARY KEY, source bigint NOT NULL REFERENCES users, "
        "target bigint NOT NULL REFERENCES users, CHECK (NOT source = target))",
        500,
    )
    row = connection.execute("SELECT count(*), count(DISTINCT target) > 20 FROM transfers").fetchone()
    assert row == (500, True)


def test_a_column_of_a_key_that_differs_from_the_row_s_own_number(fill: Fill, connection: Connection) -> None:
    fill(
        "CREATE TABLE categories (id serial PRIMARY KEY, parent_id int, name varchar(50) NOT NULL, "
        "CHECK (parent_id <> id));"
        "CREATE UNIQUE INDEX ON categories (COALESCE(parent_id, -1), lower(name))",
        3000,
    )
    assert connection.execute("SELECT count(*) FROM categories").fetchone() == (3000,)


def test_an_optional_column_that_differs_from_the_row_s_own_number(
    fill: Fill, connection: Connection
) -> None:
    fill("CREATE TABLE steps (id serial PRIMARY KEY, before int, CHECK (before <> id))", 3000)
    row = connection.execute("SELECT count(*), count(before) > 2000 FROM steps").fetchone()
    assert row == (3000, True)


def test_null_satisfies_what_no_value_does_beside_a_key(fill: Fill, connection: Connection) -> None:
    fill("CREATE TABLE steps (id serial PRIMARY KEY, before int, CHECK (before % 3 <> id % 3))", 3000)
    assert connection.execute("SELECT count(*) FROM steps").fetchone() == (3000,)
