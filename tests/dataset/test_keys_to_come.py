"""Keys that the migration adds: kept where there is room for them, left to fail where there cannot be."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rehearse.dataset.generators import Wishes
from rehearse.dataset.load import load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = """
CREATE TYPE state AS ENUM ('new', 'open', 'done');
CREATE TABLE silos (id int PRIMARY KEY);
CREATE TABLE lots (id int PRIMARY KEY, silo int NOT NULL REFERENCES silos, state state NOT NULL,
    grade text NOT NULL CHECK (grade IN ('a', 'b')), code char(1) NOT NULL, name text NOT NULL);
"""
LOTS = Relation("public", "lots")
NO_WISHES = Wishes()


def planned(
    database: Target, connection: Connection, keys: str, rows: RowCounts, wishes: Wishes = NO_WISHES
) -> DatasetPlan:
    connection.execute(SCHEMA)
    now = introspect(connection)
    with connect(database, "rehearse") as other, other.transaction(force_rollback=True):
        other.execute(keys)
        later = introspect(other)
    touched = frozenset({LOTS})
    return plan_dataset(now, later, rows, touched=touched, loaded={}, seed=1, wishes=wishes)


EXPLICIT = RowCounts(None, (("lots", 400), ("silos", 20)))


@pytest.mark.parametrize("columns", ["state", "silo", "state, grade"])
def test_a_key_that_cannot_hold_is_left_to_fail(
    database: Target, connection: Connection, columns: str
) -> None:
    keys = f"CREATE UNIQUE INDEX u1 ON lots ({columns}); CREATE UNIQUE INDEX u2 ON lots (name);"
    plan = planned(database, connection, keys, EXPLICIT)
    (note,) = [note for note in plan.notes if "u1" in note]
    assert note.startswith(
        f"lots has duplicates in ({columns}): u1, which the migration adds, allows at most"
    )
    said = "\n".join(plan.precautions)
    assert "u1" not in said
    assert "lots.name is generated without duplicates" in said  # there is room for that one
    load(database, plan, on_progress=lambda _: None)
    assert connection.execute("SELECT count(*), count(DISTINCT name) FROM lots").fetchone() == (400, 400)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(keys)


def test_a_default_that_was_asked_for_is_not_cut_down_to_the_key(
    database: Target, connection: Connection
) -> None:
    assert (
        planned(database, connection, "CREATE UNIQUE INDEX ON lots (state)", RowCounts(90)).rows[LOTS] == 90
    )


def test_a_profiles_count_is_not_cut_down_to_the_key(database: Target, connection: Connection) -> None:
    wishes = Wishes(rows={LOTS: 90})
    keys = "CREATE UNIQUE INDEX ON lots (state)"
    assert planned(database, connection, keys, RowCounts(), wishes).rows[LOTS] == 90


def test_counts_of_our_own_make_room_for_the_key(database: Target, connection: Connection) -> None:
    plan = planned(database, connection, "CREATE UNIQUE INDEX u1 ON lots (state)", RowCounts())
    assert plan.rows[LOTS] == 3
    assert any("u1 (state), which the migration adds, allows at most 3" in note for note in plan.notes)


def test_where_only_generation_has_no_more_values_the_key_is_named(
    database: Target, connection: Connection
) -> None:
    words = r"lots cannot have 400 rows: u1 \(code\), which the migration adds, allows at most"
    with pytest.raises(DatasetError, match=words):
        planned(database, connection, "CREATE UNIQUE INDEX u1 ON lots (code)", EXPLICIT)


def test_a_generated_column_of_a_domain_with_a_check(database: Target, connection: Connection) -> None:
    connection.execute(
        "CREATE DOMAIN kg AS numeric(9,3) CHECK (VALUE >= 0); CREATE TABLE goods (id int PRIMARY KEY, "
        'mass kg NOT NULL, "Twice" kg GENERATED ALWAYS AS (mass * 2) STORED, '
        'CHECK ("Twice" > 10 AND md5(mass::text) IS NOT NULL))'
    )
    plan = plan_dataset(introspect(connection), None, RowCounts(300), touched=frozenset(), loaded={}, seed=1)
    load(database, plan, on_progress=lambda _: None)
    query = 'SELECT count(*), bool_and("Twice" = 2 * mass AND "Twice" > 10) FROM goods'
    assert connection.execute(query).fetchone() == (300, True)
