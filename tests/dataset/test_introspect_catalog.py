"""What the catalog says, as the model holds it."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from rehearse.engines.postgres.introspect import introspect
from rehearse.model.relation import Relation
from rehearse.model.schema import Identity, TableKind, TypeKind

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = """
CREATE SCHEMA sales; CREATE EXTENSION pg_stat_statements;
CREATE TYPE sales.mood AS ENUM ('sad', 'ok'); CREATE TYPE sales.pair AS (a int, b numeric(5,1)[]);
CREATE DOMAIN sales.positive AS int CHECK (VALUE > 0); CREATE DOMAIN sales.tiny AS sales.positive NOT NULL;
CREATE SEQUENCE sales.shared;
CREATE TABLE sales.customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, "E Mail" varchar(40));
ALTER TABLE sales.customers DROP COLUMN gone;
CREATE TABLE orders (
    id bigserial, n int DEFAULT nextval('sales.shared'), m sales.mood[], p sales.pair, t sales.tiny,
    price numeric(10,2), r tstzrange, mr int4multirange, ts timestamptz(3),
    twice int GENERATED ALWAYS AS (n * 2) STORED, half int GENERATED ALWAYS AS (n / 2) VIRTUAL,
    customer int REFERENCES sales.customers ON DELETE CASCADE,
    PRIMARY KEY (id),
    EXCLUDE USING gist (r WITH &&)
);
ALTER TABLE orders ADD CONSTRAINT cheap CHECK (price < 100) NOT VALID;
ALTER TABLE orders ADD CONSTRAINT n_there NOT NULL n NOT VALID;
CREATE UNIQUE INDEX lower_mail ON sales.customers (lower("E Mail")) WHERE id > 5;
CREATE UNIQUE INDEX plain ON orders (n, customer) INCLUDE (price);
CREATE TABLE logs (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE refs (id int REFERENCES orders); CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON refs FOR EACH ROW EXECUTE FUNCTION f();
"""


def test_schema_is_read_whole(connection: Connection) -> None:
    connection.execute(SCHEMA)
    connection.execute("SET search_path = sales, public")
    schema = introspect(connection)
    assert connection.execute("SHOW search_path").fetchone() == ("sales, public",)
    names = [str(table.relation) for table in schema.tables]
    assert sorted(names) == ["logs", "logs_1", "mv", "orders", "refs", "sales.customers"]
    assert names.index("sales.customers") < names.index("orders") < names.index("refs")
    assert "pg_stat_statements" in schema.extensions

    customers = schema.table(Relation("sales", "customers"))
    assert [(c.name, c.number) for c in customers.columns] == [("id", 1), ("E Mail", 3)]
    assert customers.column("id").identity is Identity.ALWAYS
    assert customers.column("id").sequence == Relation("sales", "customers_id_seq")
    assert customers.column("E Mail").type.length == 40
    (index,) = (i for i in customers.indexes if i.name == "lower_mail")
    assert (index.columns, index.uses, index.predicate) == ((None,), ("id", "E Mail"), "(id > 5)")
    assert [key.name for key in customers.keys] == ["customers_pkey"]


def test_columns_keys_and_checks(connection: Connection) -> None:
    connection.execute(SCHEMA)
    orders = introspect(connection).table(Relation("public", "orders"))
    assert orders.column("id").sequence == Relation("public", "orders_id_seq")
    n = orders.column("n")
    assert (n.sequence, n.not_null, n.not_null_validated) == (Relation("sales", "shared"), True, False)
    mood = orders.column("m").type
    assert (mood.kind, mood.element and mood.element.labels) == (TypeKind.ARRAY, ("sad", "ok"))
    pair = orders.column("p").type
    assert [(name, inner.sql) for name, inner in pair.attributes] == [
        ("a", "integer"),
        ("b", "numeric(5,1)[]"),
    ]
    tiny = orders.column("t").type
    assert tiny.domain_not_null
    assert tiny.element is not None
    assert tiny.element.checks == ("CHECK ((VALUE > 0))",)
    assert (orders.column("price").type.precision, orders.column("price").type.scale) == (10, 2)
    multirange = orders.column("mr").type
    assert multirange.kind is TypeKind.MULTIRANGE
    assert multirange.element is not None
    assert multirange.element.kind is TypeKind.RANGE
    assert [(c.name, c.generation) for c in orders.columns if c.generated] == [
        ("twice", "(n * 2)"),
        ("half", "(n / 2)"),
    ]
    assert [(key.name, key.columns) for key in orders.keys] == [
        ("orders_pkey", ("id",)),
        ("plain", ("n", "customer")),
    ]
    (foreign,) = orders.foreign_keys
    assert (foreign.parent, foreign.parent_columns) == (Relation("sales", "customers"), ("id",))
    assert "ON DELETE CASCADE" in foreign.definition
    (check,) = orders.checks
    assert (check.name, check.columns, check.validated) == ("cheap", ("price",), False)
    assert orders.exclusions == ("EXCLUDE USING gist (r WITH &&)",)


def test_partitions_views_and_triggers(connection: Connection) -> None:
    connection.execute(SCHEMA)
    schema = introspect(connection)
    logs, part = schema.table(Relation("public", "logs")), schema.table(Relation("public", "logs_1"))
    assert (logs.kind, logs.partition_key) == (TableKind.PARTITIONED, "RANGE (at)")
    assert (part.kind, part.partition_of) == (TableKind.PARTITION, logs.relation)
    assert part.partition_bound == "FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
    assert schema.table(Relation("public", "mv")).kind is TableKind.MATERIALIZED_VIEW
    assert len(schema.table(Relation("public", "refs")).triggers) == 1


def test_many_tables_are_read_in_no_time(connection: Connection) -> None:
    connection.execute(
        "DO $$BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text UNIQUE,"
        " b int REFERENCES t%s)', n, greatest(n - 1, 1)); END LOOP; END$$"
    )
    started = time.monotonic()
    schema = introspect(connection)
    assert time.monotonic() - started < 60  # a question a table would take longer
    assert [table.relation.name for table in schema.tables[:3]] == ["t1", "t2", "t3"]
