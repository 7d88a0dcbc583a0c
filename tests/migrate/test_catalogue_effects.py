"""The structural half of the catalogue (docs: what schema operations do), row by row, on a real server.

Each case: what the page says of locks, rewrites, scans and index builds, on tables of 2,000 rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, StatementOutcome
from rehearse.model.relation import Relation

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

SR = LockMode.ACCESS_SHARE
RS = LockMode.ROW_SHARE
RX = LockMode.ROW_EXCLUSIVE
SUE = LockMode.SHARE_UPDATE_EXCLUSIVE
S = LockMode.SHARE
SRE = LockMode.SHARE_ROW_EXCLUSIVE
X = LockMode.EXCLUSIVE
AX = LockMode.ACCESS_EXCLUSIVE


@dataclass(frozen=True)
class Case:
    """`sql` is the operation. `locks`: on tables that existed before, the strongest mode each."""

    row: str
    sql: str
    locks: dict[str, LockMode]
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()
    built: tuple[str, ...] = ()
    setup: str = ""
    index_locks: dict[str, LockMode] | None = None


CASES = (
    Case("1 constant", "ALTER TABLE orders ADD c int DEFAULT 7", {"orders": AX}),
    Case("1 now", "ALTER TABLE orders ADD c timestamptz DEFAULT now()", {"orders": AX}),
    Case("1 nullable", "ALTER TABLE orders ADD c int", {"orders": AX}),
    Case("2 uuid", "ALTER TABLE orders ADD c uuid DEFAULT gen_random_uuid()", {"orders": AX}, ("orders",)),
    Case(
        "2 clock",
        "ALTER TABLE orders ADD c timestamptz DEFAULT clock_timestamp()",
        {"orders": AX},
        ("orders",),
    ),
    Case("3 serial", "ALTER TABLE orders ADD c bigserial", {"orders": AX}, ("orders",)),
    Case(
        "3 identity",
        "ALTER TABLE orders ADD c bigint GENERATED ALWAYS AS IDENTITY",
        {"orders": AX},
        ("orders",),
    ),
    Case(
        "4 stored",
        "ALTER TABLE orders ADD c int GENERATED ALWAYS AS (id * 2) STORED",
        {"orders": AX},
        ("orders",),
    ),
    Case("4 virtual", "ALTER TABLE orders ADD c int GENERATED ALWAYS AS (id * 2) VIRTUAL", {"orders": AX}),
    Case(
        "5",
        "ALTER TABLE orders ADD c positive",
        {"orders": AX},
        ("orders",),
        setup="CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    ),
    Case("6", "ALTER TABLE orders ADD c int CHECK (c > 0)", {"orders": AX}, scanned=("orders",)),
    Case("7", "ALTER TABLE orders ADD c bigint REFERENCES customers", {"orders": AX, "customers": SRE}),
    Case("8", "ALTER TABLE orders DROP COLUMN code", {"orders": AX}),
    Case("9 column", "ALTER TABLE orders RENAME COLUMN code TO coupon", {"orders": AX}),
    Case("9 table", "ALTER TABLE orders RENAME TO purchases", {"orders": AX}),
    Case("10 default", "ALTER TABLE orders ALTER status SET DEFAULT 'open'", {"orders": AX}),
    Case("10 drop default", "ALTER TABLE orders ALTER status DROP DEFAULT", {"orders": AX}),
    Case(
        "10 drop not null",
        "ALTER TABLE orders ALTER code DROP NOT NULL",
        {"orders": AX},
        setup="ALTER TABLE orders ALTER code SET NOT NULL",
    ),
    Case("11", "ALTER TABLE orders ALTER code SET NOT NULL", {"orders": AX}, scanned=("orders",)),
    Case("11 not valid", "ALTER TABLE orders ADD CONSTRAINT nn NOT NULL code NOT VALID", {"orders": AX}),
    Case(
        "12",
        "ALTER TABLE orders ALTER code SET NOT NULL",
        {"orders": AX},
        setup="ALTER TABLE orders ADD CHECK (code IS NOT NULL)",
    ),
    Case("13", "ALTER TABLE orders ADD CHECK (amount > 0)", {"orders": AX}, scanned=("orders",)),
    Case("13 not valid", "ALTER TABLE orders ADD CHECK (amount > 0) NOT VALID", {"orders": AX}),
    Case(
        "14",
        "ALTER TABLE orders VALIDATE CONSTRAINT positive",
        {"orders": SUE},
        scanned=("orders",),
        setup="ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID",
    ),
    Case(
        "15",
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers",
        {"orders": SRE, "customers": SRE},
        scanned=("customers", "orders"),
    ),
    Case(
        "16",
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
        {"orders": SRE, "customers": SRE},
    ),
    Case(
        "17",
        "ALTER TABLE orders VALIDATE CONSTRAINT fk",
        {"orders": SUE, "customers": RS},
        scanned=("customers", "orders"),
        setup="ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
    ),
    Case(
        "18",
        "ALTER TABLE orders DROP CONSTRAINT fk",
        {"orders": AX, "customers": AX},
        setup="ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers",
    ),
    Case(
        "19",
        "CREATE TABLE items (id int PRIMARY KEY, o int REFERENCES orders)",
        {"orders": SRE},
        built=("items_pkey",),
    ),
    Case("20 unique", "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (code)", {"orders": AX}, built=("u",)),
    Case(
        "20 exclude",
        "ALTER TABLE orders ADD CONSTRAINT e EXCLUDE (code WITH =)",
        {"orders": AX},
        built=("e",),
    ),
    Case(
        "20 primary key",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
        {"orders": AX},
        built=("orders_pkey",),
        setup="ALTER TABLE orders DROP CONSTRAINT orders_pkey",
    ),
    Case(
        "21",
        "ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX i",
        {"orders": AX},
        setup="CREATE UNIQUE INDEX i ON orders (code)",
    ),
    Case(
        "22",
        "ALTER TABLE orders ADD PRIMARY KEY USING INDEX i",
        {"orders": AX},
        scanned=("orders",),
        setup="ALTER TABLE orders DROP CONSTRAINT orders_pkey; CREATE UNIQUE INDEX i ON orders (code)",
    ),
    Case("23", "CREATE INDEX i ON orders (code)", {"orders": S}, built=("i",)),
    Case("24", "CREATE INDEX CONCURRENTLY i ON orders (code)", {"orders": SUE}, built=("i",)),
    Case("25", "DROP INDEX orders_note", {"orders": AX}, index_locks={"orders_note": AX}),
    Case("25 concurrently", "DROP INDEX CONCURRENTLY orders_note", {"orders": SUE}),
    Case(
        "26",
        "REINDEX INDEX orders_note",
        {"orders": S},
        built=("orders_note",),
        index_locks={"orders_note": AX},
    ),
    Case("26 table", "REINDEX TABLE customers", {"customers": S}, built=("customers_pkey",)),
    Case(
        "26 concurrently", "REINDEX INDEX CONCURRENTLY orders_note", {"orders": SUE}, built=("orders_note",)
    ),
    Case("27", "ALTER TABLE orders ALTER id TYPE bigint", {"orders": AX}, ("orders",)),
    Case("28 widened", "ALTER TABLE orders ALTER note TYPE varchar(80)", {"orders": AX}),
    Case("28 text", "ALTER TABLE orders ALTER note TYPE text", {"orders": AX}),
    Case("28 numeric", "ALTER TABLE orders ALTER amount TYPE numeric(12,2)", {"orders": AX}),
    Case("29 narrowed", "ALTER TABLE orders ALTER note TYPE varchar(20)", {"orders": AX}, ("orders",)),
    Case("29 varchar", "ALTER TABLE orders ALTER code TYPE varchar(40)", {"orders": AX}, ("orders",)),
    Case("29 scale", "ALTER TABLE orders ALTER amount TYPE numeric(12,4)", {"orders": AX}, ("orders",)),
    Case(
        "30 utc",
        "SET timezone = 'UTC'; ALTER TABLE orders ALTER placed TYPE timestamptz",
        {"orders": AX},
    ),
    Case(
        "30 otherwise",
        "SET timezone = 'Europe/Berlin'; ALTER TABLE orders ALTER placed TYPE timestamptz",
        {"orders": AX},
        ("orders",),
    ),
    Case(
        "30 index",
        "SET timezone = 'UTC'; ALTER TABLE orders ALTER placed TYPE timestamptz",
        {"orders": AX},
        built=("orders_placed",),
        setup="CREATE INDEX orders_placed ON orders (placed)",
    ),
    Case(
        "28 collation",
        'ALTER TABLE orders ALTER note TYPE varchar(40) COLLATE "C"',
        {"orders": AX},
        built=("orders_note",),
    ),
    Case("31 unlogged", "ALTER TABLE orders SET UNLOGGED", {"orders": AX}, ("orders",)),
    Case(
        "31 logged",
        "ALTER TABLE orders SET LOGGED",
        {"orders": AX},
        ("orders",),
        setup="ALTER TABLE orders SET UNLOGGED",
    ),
    Case("32 vacuum full", "VACUUM FULL orders", {"orders": AX}, ("orders",)),
    Case("32 cluster", "CLUSTER orders USING orders_pkey", {"orders": AX}, ("orders",)),
    Case(
        "33",
        "REFRESH MATERIALIZED VIEW m",
        {"m": AX, "orders": SR},
        ("m",),
        ("orders",),
        setup="CREATE MATERIALIZED VIEW m AS SELECT * FROM orders",
    ),
    Case(
        "33 concurrently",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        {"m": X, "orders": SR},
        scanned=("m", "orders"),
        setup="CREATE MATERIALIZED VIEW m AS SELECT * FROM orders; CREATE UNIQUE INDEX ON m (id); ANALYZE m",
    ),
    Case("34 truncate", "TRUNCATE orders", {"orders": AX}),
    Case("34 drop", "DROP TABLE orders", {"orders": AX}),
    Case(
        "35",
        "ALTER TABLE parts ATTACH PARTITION spare FOR VALUES FROM (10000) TO (20000)",
        {"parts": SUE, "spare": AX},
        scanned=("spare",),
        setup="CREATE TABLE spare AS SELECT id + 10000 AS id, at FROM parts WHERE id < 9000; ANALYZE spare",
    ),
    Case(
        "35 check",
        "ALTER TABLE parts ATTACH PARTITION spare FOR VALUES FROM (10000) TO (20000)",
        {"parts": SUE, "spare": AX},
        setup="CREATE TABLE spare AS SELECT id + 10000 AS id, at FROM parts WHERE id < 9000; ANALYZE spare;"
        "ALTER TABLE spare ADD CHECK (id IS NOT NULL AND id >= 10000 AND id < 20000)",
    ),
    Case("36 detach", "ALTER TABLE parts DETACH PARTITION parts_1", {"parts": AX, "parts_1": AX}),
    Case(
        "36 detach concurrently",
        "ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY",
        {"parts": SUE, "parts_1": AX},
    ),
    Case(
        "36 partition of",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (20000)",
        {"parts": AX},
    ),
    Case(
        "37 create",
        "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noop()",
        {"orders": SRE},
    ),
    Case(
        "37 disable",
        "ALTER TABLE orders DISABLE TRIGGER t",
        {"orders": SRE},
        setup="CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noop()",
    ),
    Case("38 fillfactor", "ALTER TABLE orders SET (fillfactor = 80)", {"orders": SUE}),
    Case("38 statistics", "ALTER TABLE orders ALTER code SET STATISTICS 500", {"orders": SUE}),
    Case("38 comment", "COMMENT ON TABLE orders IS 'ours'", {"orders": SUE}),
    Case("39", "UPDATE orders SET amount = amount + 1", {"orders": RX}, scanned=("orders",)),
    Case("44", "ALTER TYPE mood ADD VALUE 'glad'", {}, setup="CREATE TYPE mood AS ENUM ('sad')"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_row_of_the_catalogue(case: Case, migrate: Migrate) -> None:
    run = migrate(case.sql, setup=case.setup)
    statement = run.statements[-1]
    assert statement.outcome is StatementOutcome.OK, statement.message
    effects = statement.effects
    assert effects is not None
    assert _strongest(effects, {"table", "partitioned table", "materialized view"}) == case.locks
    if case.index_locks is not None:
        assert _strongest(effects, {"index"}) == case.index_locks
    assert _names(work.table for work in effects.rewritten) == case.rewritten
    assert _names(work.table for work in effects.scanned) == case.scanned
    assert _names(build.index for build in effects.built) == case.built
    assert effects.invalid_indexes == ()
    assert effects.wal_exact


def _strongest(effects: Effects, kinds: set[str]) -> dict[str, LockMode]:
    found: dict[str, LockMode] = {}
    for lock in sorted(effects.locks, key=lambda lock: lock.mode.strength):
        if lock.kind in kinds and not lock.created_here:
            found[lock.relation.name] = lock.mode
    return found


def _names(relations: Iterable[Relation]) -> tuple[str, ...]:
    return tuple(sorted(relation.name for relation in relations))
