"""Advice: the safe alternative in SQL, for the objects of the statement itself."""

from __future__ import annotations

import pytest

from rehearse.judge import advice
from rehearse.judge.sqltext import alter_table
from tests.judge.build import ORDERS, SHARE, lock, statement

ADVICE = {
    "CREATE INDEX i ON orders (note)": ["CREATE INDEX CONCURRENTLY i ON orders (note);"],
    "create unique index on orders (note) where note is not null": [
        "CREATE UNIQUE INDEX CONCURRENTLY on orders (note) where note is not null;"
    ],
    "DROP INDEX i": ["DROP INDEX CONCURRENTLY i;"],
    "REINDEX TABLE orders": ["REINDEX TABLE CONCURRENTLY orders;"],
    "REFRESH MATERIALIZED VIEW totals": ["REFRESH MATERIALIZED VIEW CONCURRENTLY totals;"],
    "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers ON DELETE CASCADE": [
        "ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers ON DELETE CASCADE NOT VALID;",
        "ALTER TABLE orders VALIDATE CONSTRAINT f;",
    ],
    'ALTER TABLE ONLY public."Orders" ADD FOREIGN KEY ("customerId") REFERENCES customers': [
        'ALTER TABLE public."Orders" ADD CONSTRAINT "Orders_customerId_fkey" FOREIGN KEY',
        'VALIDATE CONSTRAINT "Orders_customerId_fkey"',
    ],
    "ALTER TABLE orders ADD CHECK (amount > 0)": [
        "ADD CONSTRAINT orders_check CHECK (amount > 0) NOT VALID;",
        "VALIDATE CONSTRAINT orders_check",
    ],
    "ALTER TABLE orders ALTER COLUMN note SET NOT NULL": [
        "CHECK (note IS NOT NULL) NOT VALID;",
        "VALIDATE CONSTRAINT orders_note_not_null",
        "ALTER COLUMN note SET NOT NULL;",
        "DROP CONSTRAINT orders_note_not_null;",
    ],
    "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (note, status)": [
        "CREATE UNIQUE INDEX CONCURRENTLY u ON orders (note, status);",
        "ADD CONSTRAINT u UNIQUE USING INDEX u;",
    ],
    "ALTER TABLE orders ADD PRIMARY KEY (id)": [
        "CREATE UNIQUE INDEX CONCURRENTLY orders_pkey ON orders (id);",
        "PRIMARY KEY USING INDEX orders_pkey;",
    ],
    "ALTER TABLE orders ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()": [
        "ADD COLUMN token uuid;",
        "ALTER COLUMN token SET DEFAULT gen_random_uuid();",
        "UPDATE orders SET token = gen_random_uuid() WHERE token IS NULL;",
    ],
    "ALTER TABLE orders ADD n bigserial": [
        "CREATE SEQUENCE orders_n_seq;",
        "ADD COLUMN n bigint;",
        "nextval('orders_n_seq')",
    ],
    "ALTER TABLE orders ADD COLUMN u text GENERATED ALWAYS AS (upper(note)) STORED": ["VIRTUAL", "trigger"],
    "ALTER TABLE orders ADD COLUMN a int CHECK (a > 0)": [
        "ADD COLUMN a int;",
        "ADD CONSTRAINT orders_a_check CHECK (a > 0) NOT VALID;",
    ],
    "ALTER TABLE orders ALTER COLUMN amount TYPE numeric(20, 4) USING amount": [
        "ADD COLUMN amount_new numeric(20, 4);",
        "UPDATE orders SET amount_new = amount",
    ],
    "ALTER TABLE orders SET UNLOGGED": ["new table"],
    "ALTER TABLE orders ATTACH PARTITION orders_2030 FOR VALUES IN (1)": [
        "ALTER TABLE orders_2030 ADD CONSTRAINT orders_2030_bound CHECK",
        "ATTACH PARTITION orders_2030 FOR VALUES IN (1);",
    ],
    "ALTER TABLE orders DETACH PARTITION orders_2030": ["DETACH PARTITION orders_2030 CONCURRENTLY;"],
    "VACUUM FULL orders": ["pg_repack --table=orders"],
    "CREATE TABLE notes (o bigint REFERENCES orders)": ["REFERENCES orders NOT VALID;"],
    "DO $$ BEGIN EXECUTE 'ALTER TABLE orders ...'; END $$": ["transaction"],
}


@pytest.mark.parametrize("text", ADVICE)
def test_the_safe_alternative(text: str) -> None:
    given = advice.for_statement(statement(text), ORDERS)
    for part in ADVICE[text]:
        assert part in given, given


def test_every_action_of_one_statement_gets_its_own() -> None:
    text = (
        "ALTER TABLE orders /* two */ ADD CHECK (f(a, 'x,y') > 0), -- and\n ALTER COLUMN note SET NOT NULL;"
    )
    given = advice.for_statement(statement(text), ORDERS)
    assert "CHECK (f(a, 'x,y') > 0) NOT VALID" in given
    assert "CHECK (note IS NOT NULL) NOT VALID" in given


BATCH = "(SELECT id FROM orders WHERE (id) > (:last) ORDER BY id LIMIT 5000)"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (
            "UPDATE orders SET a = 1 WHERE a = 2 OR b",
            f"UPDATE orders SET a = 1 WHERE (id) IN {BATCH} AND (a = 2 OR b);",
        ),
        (
            "UPDATE orders SET a = (SELECT x FROM t WHERE t.id = 1)",
            f"UPDATE orders SET a = (SELECT x FROM t WHERE t.id = 1) WHERE (id) IN {BATCH};",
        ),
        ("DELETE FROM orders", f"DELETE FROM orders WHERE (id) IN {BATCH};"),
    ],
)
def test_batches_go_by_the_key_and_keep_the_condition(text: str, given: str) -> None:
    assert given in advice.batches(statement(text), ORDERS, ("id",))


def test_batches_by_a_key_of_several_columns() -> None:
    given = advice.batches(statement("UPDATE orders SET a = 1"), ORDERS, ("tenant", "No"))
    assert 'WHERE (tenant, "No") > (:last) ORDER BY tenant, "No"' in given


def test_batches_without_a_key_or_a_text_to_cut() -> None:
    assert "batches" in advice.batches(statement("INSERT INTO orders TABLE old"), ORDERS, ("id",))
    assert "WHERE" not in advice.batches(statement("UPDATE orders SET a = 1"), ORDERS)


def test_an_index_on_a_partitioned_table_is_made_partition_by_partition() -> None:
    made = statement("CREATE INDEX ON s.orders (a)", lock(ORDERS, SHARE, "partitioned table"))
    given = advice.for_statement(made, ORDERS)
    assert "CREATE INDEX orders_idx ON ONLY s.orders (a);" in given
    assert "CREATE INDEX CONCURRENTLY orders_idx_1 ON <partition> (a);" in given
    assert "ALTER INDEX s.orders_idx ATTACH PARTITION s.orders_idx_1;" in given


def test_a_plain_column_beside_something_heavy_stays_what_it_is() -> None:
    text = "ALTER TABLE orders ADD COLUMN a numeric(4, 2), ADD UNIQUE (code)"
    assert "ADD COLUMN a numeric(4, 2);" in advice.for_statement(statement(text), ORDERS)


@pytest.mark.parametrize("text", ["", "SELECT 1", "ALTER TABLE", "ALTER INDEX i RENAME TO j"])
def test_what_is_no_alter_table(text: str) -> None:
    assert alter_table(text) is None
