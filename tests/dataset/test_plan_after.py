"""The plan looks at the schema that the migration will make, and says so."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

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


def migrated(database: Target, connection: Connection, before: str, migration: str) -> DatasetPlan:
    """Loads data made for both schemas, then runs the migration: it must not fail on a single row."""
    connection.execute(before)
    now = introspect(connection)
    with connect(database, "rehearse") as other, other.transaction(force_rollback=True):
        other.execute(migration)
        later = introspect(other)
    plan = plan_dataset(now, later, RowCounts(1000), touched=frozenset(), loaded={}, seed=1)
    load(database, plan, on_progress=lambda _: None)
    connection.execute(migration)
    return plan


SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, email text, phone text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, ref text, amount numeric(12,4), qty bigint,
    status text, note varchar(200), happened text, flag text, code text, region text, old_name int);
"""
MIGRATION = """
ALTER TABLE orders ALTER customer_id SET NOT NULL;
ALTER TABLE orders ADD CONSTRAINT to_customer FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE customers ADD CONSTRAINT one_email UNIQUE (email);
CREATE UNIQUE INDEX one_ref ON orders (ref, customer_id);
ALTER TABLE orders ADD CONSTRAINT known CHECK (status IN ('open', 'closed') AND region ~ '^[a-z]{2}$');
ALTER TABLE orders ALTER qty TYPE smallint;
ALTER TABLE orders ALTER amount TYPE numeric(6,2);
ALTER TABLE orders ALTER note TYPE varchar(12);
ALTER TABLE orders ALTER happened TYPE timestamptz USING happened::timestamptz;
ALTER TABLE orders ALTER flag TYPE bool USING flag::bool;
ALTER TABLE orders ALTER code TYPE uuid USING code::uuid;
ALTER TABLE orders RENAME old_name TO new_name;
ALTER TABLE orders ADD CHECK (new_name > 5000);
"""


def test_data_makes_the_migration_possible(database: Target, connection: Connection) -> None:
    plan = migrated(database, connection, SHOP, MIGRATION)
    said = "\n".join(plan.precautions)
    assert (
        "orders.customer_id is generated without nulls because the migration makes it NOT NULL"
        in plan.precautions
    )
    for words in (
        "orders.customer_id refers to rows of customers that exist",
        "customers.email is generated without duplicates",
        "orders.(ref, customer_id) is generated without duplicates",
        "orders.(status, region) satisfies the check known",
        "orders.qty stays within the range of smallint",
        "orders.amount stays within numeric(6,2)",
        "orders.note is at most 12 characters long",
        "orders.happened holds text forms of timestamp with time zone",
        "orders.code holds text forms of uuid",
        "orders.old_name satisfies the check",
    ):
        assert words in said


def test_table_that_becomes_a_partition_stays_within_its_bound(
    database: Target, connection: Connection
) -> None:
    plan = migrated(
        database,
        connection,
        "CREATE TABLE log (id int, at date NOT NULL)",
        """
        CREATE TABLE logs (id int, at date NOT NULL) PARTITION BY RANGE (at);
        ALTER TABLE logs ATTACH PARTITION log FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
        """,
    )
    assert any("bound" in words for words in plan.precautions)


def counted(
    connection: Connection, schema: str, rows: RowCounts, touched: str | None = None
) -> dict[str, int]:
    connection.execute(schema)
    relations = frozenset({Relation("public", touched)}) if touched else frozenset()
    now = introspect(connection)
    plan = plan_dataset(now, None, rows, touched=relations, loaded={}, seed=1)
    return {relation.name: count for relation, count in plan.rows.items()}


FAMILY = """
CREATE TABLE countries (code char(2) PRIMARY KEY);
CREATE TABLE users (id int PRIMARY KEY, country char(2) REFERENCES countries, flag bool UNIQUE);
ALTER TABLE users DROP COLUMN flag;
CREATE TABLE profiles (user_id int PRIMARY KEY REFERENCES users);
CREATE TABLE posts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE likes (post_id int REFERENCES posts, user_id int REFERENCES users, UNIQUE (post_id, user_id));
CREATE TABLE switches (state bool UNIQUE);
"""


def test_smart_counts(connection: Connection) -> None:
    assert counted(connection, FAMILY, RowCounts(), touched="posts") == {
        "countries": 3844,
        "users": 100_000,
        "profiles": 100_000,
        "posts": 1_000_000,
        "likes": 1_000_000,
        "switches": 2,
    }


def test_parent_is_raised_for_a_touched_child_that_shares_its_key(connection: Connection) -> None:
    rows = counted(connection, FAMILY, RowCounts(), touched="profiles")
    assert rows["profiles"] == rows["users"] == 1_000_000


def test_default_is_capped_and_exact_counts_are_kept(connection: Connection) -> None:
    rows = counted(connection, FAMILY, RowCounts(50_000, (("users", 70),)))
    assert rows["users"] == rows["profiles"] == 70
    assert rows["posts"] == 50_000
    assert rows["countries"] == 3844
    assert rows["likes"] == 50_000


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((("user", 10),), "there is no such table; did you mean users"),
        (
            (("countries", 1_000_000),),
            r"countries cannot have 1,000,000 rows: countries_pkey \(code\) allows",
        ),
        ((("switches", 3),), r"switches cannot have 3 rows: switches_state_key \(state\) allows at most 2"),
        ((("users", 5), ("profiles", 6)), r"profiles cannot have 6 rows: profiles_pkey \(user_id\)"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    connection: Connection, tables: tuple[tuple[str, int], ...], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        counted(connection, FAMILY, RowCounts(None, tables))
