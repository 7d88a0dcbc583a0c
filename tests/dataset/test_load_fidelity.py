"""The database after a load: exactly the schema from before, and the same rows for the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest

from rehearse.dataset.alone import load_alone
from rehearse.dataset.fresh import fresh_pool
from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Secret, Target
from rehearse.model.workload import Pool
from rehearse.provision import Server

Connection = psycopg.Connection[tuple[Any, ...]]

FULL = """
CREATE TABLE parents (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE children (
    id bigserial PRIMARY KEY, parent int NOT NULL, code text NOT NULL, at timestamptz, n int,
    CONSTRAINT "odd ""name" UNIQUE (code) DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE children ADD CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parents ON DELETE CASCADE;
ALTER TABLE children ADD CONSTRAINT fk_later FOREIGN KEY (parent) REFERENCES parents NOT VALID;
ALTER TABLE children ADD CONSTRAINT n_later CHECK (n > 0) NOT VALID;
CREATE INDEX at_index ON children (at) INCLUDE (n) WITH (fillfactor = 70) WHERE n > 2;
CREATE UNIQUE INDEX code_index ON children (lower(code), (id % 7));
ALTER INDEX code_index ALTER COLUMN 2 SET STATISTICS 500;
CLUSTER children USING at_index_full;
COMMENT ON INDEX at_index IS 'about at'; COMMENT ON CONSTRAINT fk ON children IS 'about fk';
COMMENT ON CONSTRAINT "odd ""name" ON children IS 'about odd';
ALTER TABLE children REPLICA IDENTITY USING INDEX ident;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END';
CREATE TRIGGER t_plain BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER t_always BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE children ENABLE ALWAYS TRIGGER t_always;
CREATE TRIGGER t_off BEFORE INSERT ON parents FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE parents DISABLE TRIGGER t_off;
CREATE VIEW grouped AS SELECT id, name, count(*) FROM parents GROUP BY id;
CREATE MATERIALIZED VIEW per_parent AS
    SELECT parent, count(*) AS n FROM children GROUP BY parent WITH NO DATA;
CREATE UNIQUE INDEX ON per_parent (parent);
CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX ON parted (at);
""".replace(
    "CLUSTER children USING at_index_full;",
    "CREATE INDEX at_index_full ON children (at); ALTER TABLE children CLUSTER ON at_index_full;"
    "CREATE UNIQUE INDEX ident ON children (code, parent);",
)

# Everything that pg_dump would print of indexes, constraints and triggers, with flags and comments.
CATALOG = """
SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready,
       i.indisclustered, i.indisreplident, obj_description(i.indexrelid, 'pg_class'),
       (SELECT array_agg(attstattarget ORDER BY attnum) FROM pg_attribute WHERE attrelid = i.indexrelid)::text
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', conrelid::regclass || conname, pg_get_constraintdef(oid), convalidated, condeferrable,
       condeferred, conislocal, obj_description(oid, 'pg_constraint'), conindid::regclass::text
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass || tgname, pg_get_triggerdef(oid), tgenabled = 'A', tgenabled = 'D',
       tgenabled = 'O', NULL, NULL, NULL
  FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2
"""


def catalog(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(CATALOG).fetchall()


def heap_fetches(connection: Connection, table: LiteralString) -> int:
    """How many rows of an index-only scan of the key are on pages that are not marked as visible to all.
    (There may be fewer marked pages than pages: what COPY left empty at the end counts too.)
    """
    connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(id) FROM {table}").fetchone()
    assert row is not None
    (scan,) = row[0][0]["Plan"]["Plans"]
    return int(scan["Heap Fetches"])


def test_schema_is_the_same_after_a_load(database: Target, connection: Connection) -> None:
    connection.execute(FULL)
    schema, before = introspect(connection), catalog(connection)
    plan = plan_dataset(schema, None, RowCounts(25_000), touched=frozenset(), loaded={}, seed=3)
    seen: list[LoadProgress] = []
    facts = load(database, plan, on_progress=seen.append)
    assert catalog(connection) == before
    assert introspect(connection) == schema
    assert facts.rows == 75_000
    assert facts.size_bytes > 1_000_000
    assert {progress.stage for progress in seen} == {"copy", "index", "analyze"}
    assert max(p.rows_done for p in seen if p.stage == "copy") == 25_000
    assert connection.execute("SELECT sum(n) FROM per_parent").fetchone() == (25_000,)
    # every index works, and nothing is left for autovacuum to do
    connection.execute("SET enable_seqscan = off")
    assert connection.execute("SELECT count(*) FROM children WHERE at IS NOT NULL AND n > 2").fetchone() == (
        connection.execute("SELECT count(*) FILTER (WHERE at IS NOT NULL AND n > 2) FROM children").fetchone()
    )
    assert connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'children'").fetchone() == (
        25_000,
    )
    assert heap_fetches(connection, "children") == 0


def test_pages_that_vacuum_had_to_pass_over_are_vacuumed_again(
    database: Target, connection: Connection
) -> None:
    # without an attempt to shorten it, for which VACUUM would wait for the reader
    connection.execute("CREATE TABLE busy (id int PRIMARY KEY, name text) WITH (vacuum_truncate = off)")
    plan = plan_dataset(
        introspect(connection), None, RowCounts(20_000), touched=frozenset(), loaded={}, seed=3
    )
    seen: list[int] = []
    with connect(database, "test", autocommit=False) as reader:

        def read_on(progress: LoadProgress) -> None:
            if progress.stage == "index":  # rows are there, VACUUM is to come: an open page is in its way
                reader.execute("DECLARE c CURSOR FOR SELECT * FROM busy; FETCH 1 FROM c")
            if progress.stage == "analyze":
                seen.append(heap_fetches(connection, "busy"))
                reader.rollback()

        load(database, plan, on_progress=read_on)
    assert seen[0] > 0
    assert heap_fetches(connection, "busy") == 0


def test_load_without_superuser_keeps_the_schema_too(
    database: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("DROP ROLE IF EXISTS plain_owner")
    connection.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'plain'")
    try:
        connection.execute(f'ALTER DATABASE "{database.dbname}" OWNER TO plain_owner')
        connection.execute("GRANT CREATE ON SCHEMA public TO plain_owner; SET ROLE plain_owner")
        connection.execute(FULL)
        schema, before = introspect(connection), catalog(connection)
        plan = plan_dataset(schema, None, RowCounts(1000), touched=frozenset(), loaded={}, seed=3)
        plain = replace(database, user="plain_owner", password=Secret("plain"))
        monkeypatch.setattr("rehearse.dataset.suspend._WORTHWHILE_ROWS", 1000)
        facts = load(plain, plan, on_progress=lambda _: None)
        assert any("kept up row by row" in note for note in facts.notes)
        assert catalog(connection) == before
        assert introspect(connection) == schema
        connection.execute("RESET ROLE")
    finally:
        connection.execute("RESET ROLE; DROP OWNED BY plain_owner CASCADE")
        connection.execute(f'ALTER DATABASE "{database.dbname}" OWNER TO CURRENT_USER; DROP ROLE plain_owner')


SHOP = """
CREATE TABLE customers (id uuid PRIMARY KEY, email text UNIQUE, name text, created_at timestamptz);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id uuid REFERENCES customers, body jsonb, tags text[],
    total numeric(10,2), slot int NOT NULL, UNIQUE (customer_id, slot));
"""


def digest(target: Target, streams: int, rows: int) -> list[tuple[Any, ...]]:
    load_alone(
        target,
        SqlFile("schema.sql", SHOP),
        RowCounts(rows),
        seed=11,
        on_progress=lambda _: None,
        streams=streams,
    )
    with connect(target, "rehearse") as connection:
        query = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {} t"
        return [connection.execute(query.format(name)).fetchone() or () for name in ("customers", "orders")]


def test_one_seed_gives_one_data_set(server: Server, database: Target) -> None:
    other = f"{database.dbname}_again"
    create_database(server.target, other)
    try:
        assert digest(database, 1, 25_000) == digest(server.target.on(other), 3, 25_000)
    finally:
        drop_database(server.target, other)


def insert(connection: Connection, statement: LiteralString, pool: Pool) -> None:
    for row in zip(*pool.columns.values(), strict=True):
        connection.execute(statement, [value and value.decode() for value in row])


def test_fresh_rows_go_on_where_the_load_ended(database: Target, connection: Connection) -> None:
    connection.execute(SHOP + "CREATE TABLE flags (v bool UNIQUE, kind char(1) UNIQUE)")
    connection.execute("CREATE TABLE visits (id int PRIMARY KEY, page text)")
    rows = RowCounts(1000, (("visits", 0),))
    plan = plan_dataset(introspect(connection), None, rows, touched=frozenset(), loaded={}, seed=5)
    load(database, plan, on_progress=lambda _: None)
    customers = fresh_pool(plan, Relation("public", "customers"), ["id", "email"], 200, "customers")
    orders = fresh_pool(plan, Relation("public", "orders"), ["customer_id", "slot", "body"], 200, "orders")
    assert (customers.kind, customers.table, customers.rows) == ("fresh", "customers", 200)
    insert(connection, "INSERT INTO customers (id, email) VALUES (%s, %s)", customers)
    insert(connection, "INSERT INTO orders (customer_id, slot, body) VALUES (%s, %s, %s)", orders)
    assert fresh_pool(plan, Relation("public", "flags"), ["v"], 10, "flags").rows == 0
    # a table that was left empty still has rows to come
    empty = fresh_pool(plan, Relation("public", "visits"), ["id", "page"], 10, "visits")
    assert empty.columns["id"] == [str(n).encode() for n in range(1, 11)]
    with pytest.raises(DatasetError, match=r"emall is not a column that is generated; did you mean email"):
        fresh_pool(plan, Relation("public", "customers"), ["emall"], 1, "customers")


def test_seeded_parents_are_referred_to(database: Target, connection: Connection) -> None:
    connection.execute(SHOP)
    connection.execute(
        "INSERT INTO customers SELECT gen_random_uuid(), 'e' || n FROM generate_series(1, 30) n"
    )
    loaded = {Relation("public", "customers"): 30}
    plan = plan_dataset(
        introspect(connection), None, RowCounts(500), touched=frozenset(), loaded=loaded, seed=5
    )
    load(database, plan, on_progress=lambda _: None)
    assert dict(plan.rows) == {Relation("public", "orders"): 500}
    assert connection.execute("SELECT count(*), count(DISTINCT customer_id) FROM orders").fetchone() == (
        500,
        30,
    )
    pool = fresh_pool(plan, Relation("public", "orders"), ["customer_id"], 5, "orders")
    known = {str(row[0]).encode() for row in connection.execute("SELECT id FROM customers")}
    assert set(pool.columns["customer_id"]) <= known


def test_row_that_the_server_refuses_is_named_with_its_table(
    database: Target, connection: Connection
) -> None:
    connection.execute("CREATE TABLE d (id int PRIMARY KEY, at timestamptz NOT NULL)")
    connection.execute("CREATE UNIQUE INDEX per_day ON d ((EXTRACT(year FROM at AT TIME ZONE 'UTC')))")
    plan = plan_dataset(
        introspect(connection), None, RowCounts(30_000), touched=frozenset(), loaded={}, seed=5
    )
    with pytest.raises(DatasetError, match=r"^d: could not create unique index .per_day."):
        load(database, plan, on_progress=lambda _: None)
    # an index that is not whole does not look as if it were
    assert connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'per_day'::regclass"
    ).fetchone() == (False,)


PGBENCH = """
CREATE TABLE pgbench_branches (bid int NOT NULL PRIMARY KEY, bbalance int, filler char(88))
    WITH (fillfactor=100);
CREATE TABLE pgbench_tellers (tid int NOT NULL PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int NOT NULL PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
"""


def test_load_alone_reports_what_it_did(database: Target) -> None:
    rows = RowCounts(100, (("pgbench_accounts", 30_000), ("pgbench_history", 0)))
    result = load_alone(database, SqlFile("pgbench.sql", PGBENCH), rows, seed=1, on_progress=lambda _: None)
    assert dict(result.tables) == {
        "pgbench_accounts": 30_000,
        "pgbench_branches": 100,
        "pgbench_history": 0,
        "pgbench_tellers": 100,
    }
    assert result.rows == 30_200
    assert result.rows_per_second > 1000
