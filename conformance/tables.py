"""Rows 23 to 26, 31 to 39, 44 and 46: indexes, whole tables, partitions, and what is kept about them."""

from __future__ import annotations

from conformance.row import (
    AX,
    BUILD,
    GO,
    LONG,
    LOSS,
    NO_GO,
    REWRITE,
    ROWS_LOCKED,
    RS,
    RX,
    SCAN,
    SR,
    SRE,
    SUE,
    Row,
    S,
    Structure,
    X,
    instant,
    rewrites,
)

_VIEW = "CREATE MATERIALIZED VIEW m AS SELECT * FROM orders;"
_FILL_VIEW = "REFRESH MATERIALIZED VIEW m; ANALYZE m;"
_READ_VIEW = {"read_view@1": "\\set id random(1, :rows)\nSELECT status FROM m WHERE id = :id;\n"}
_SPARE = "CREATE TABLE spare (id int, at date);"
_FILL_SPARE = "INSERT INTO spare SELECT id + 10000, at FROM parts; ANALYZE spare;"
_USE_SPARE = {
    "use_spare@1": "\\set id random(10001, 12000)\nUPDATE spare SET at = '2031-01-31' WHERE id = :id;\n"
}
_ATTACH = "ALTER TABLE parts ATTACH PARTITION spare FOR VALUES FROM (10000) TO (20000)"
_TRIGGER = "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noop()"

INDEXES: tuple[Row, ...] = (
    Row("23", "", "CREATE INDEX i ON orders (code)", NO_GO, Structure({"orders": S}, built=("i",)), BUILD),
    Row(
        "24", "", "CREATE INDEX CONCURRENTLY i ON orders (code)", GO, Structure({"orders": SUE}, built=("i",))
    ),
    Row(
        "25",
        "",
        "DROP INDEX orders_note",
        GO,
        Structure({"orders": AX}, index_locks={"orders_note": AX}),
        warns=True,
    ),
    Row("25", "concurrently", "DROP INDEX CONCURRENTLY orders_note", GO, Structure({"orders": SUE})),
    Row(
        "26",
        "index",
        "REINDEX INDEX orders_note",
        NO_GO,
        Structure({"orders": S}, built=("orders_note",), index_locks={"orders_note": AX}),
        BUILD,
    ),
    Row(
        "26",
        "table",
        "REINDEX TABLE customers",
        NO_GO,
        Structure({"customers": S}, built=("customers_pkey",)),
        BUILD,
    ),
    Row(
        "26",
        "concurrently",
        "REINDEX INDEX CONCURRENTLY orders_note",
        GO,
        Structure({"orders": SUE}, built=("orders_note",)),
    ),
)

TABLES: tuple[Row, ...] = (
    rewrites("31", "unlogged", "ALTER TABLE orders SET UNLOGGED"),
    rewrites("31", "logged", "ALTER TABLE orders SET LOGGED", before="ALTER TABLE orders SET UNLOGGED;"),
    rewrites("32", "VACUUM FULL", "VACUUM FULL orders"),
    rewrites("32", "CLUSTER", "CLUSTER orders USING orders_pkey"),
    Row(
        "33",
        "",
        "REFRESH MATERIALIZED VIEW m",
        NO_GO,
        Structure({"m": AX, "orders": SR}, ("m",), ("orders",)),
        REWRITE,
        before=_VIEW,
        data=_FILL_VIEW,
        scripts=_READ_VIEW,
    ),
    Row(
        "33",
        "concurrently",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        GO,
        Structure({"m": X, "orders": SR}, scanned=("m", "orders")),
        before=_VIEW + "CREATE UNIQUE INDEX ON m (id);",
        data=_FILL_VIEW,
        scripts=_READ_VIEW,
    ),
    Row("34", "truncate", "TRUNCATE orders", NO_GO, Structure({"orders": AX}), LOSS),
    Row("34", "drop", "DROP TABLE orders", NO_GO, Structure({"orders": AX}), LOSS),
    Row(
        "35",
        "",
        _ATTACH,
        NO_GO,
        Structure({"parts": SUE, "spare": AX}, scanned=("spare",)),
        SCAN,
        before=_SPARE,
        data=_FILL_SPARE,
        scripts=_USE_SPARE,
    ),
    Row(
        "35",
        "with a CHECK",
        _ATTACH,
        GO,
        Structure({"parts": SUE, "spare": AX}),
        warns=True,
        before=_SPARE + "ALTER TABLE spare ADD CHECK (id IS NOT NULL AND id >= 10000 AND id < 20000);",
        data=_FILL_SPARE,
        scripts=_USE_SPARE,
    ),
    instant("36", "detach", "ALTER TABLE parts DETACH PARTITION parts_1", {"parts": AX, "parts_1": AX}),
    Row(
        "36",
        "detach, concurrently",
        "ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY",
        GO,
        Structure({"parts": SUE, "parts_1": AX}),
        warns=True,
    ),
    instant(
        "36",
        "partition of",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (20000)",
        {"parts": AX},
    ),
    instant("37", "create", _TRIGGER, {"orders": SRE}),
    instant("37", "disable", "ALTER TABLE orders DISABLE TRIGGER t", {"orders": SRE}, before=f"{_TRIGGER};"),
    Row("38", "fillfactor", "ALTER TABLE orders SET (fillfactor = 80)", GO, Structure({"orders": SUE})),
    Row(
        "38",
        "statistics",
        "ALTER TABLE orders ALTER code SET STATISTICS 500",
        GO,
        Structure({"orders": SUE}),
    ),
    Row("38", "comment", "COMMENT ON TABLE orders IS 'ours'", GO, Structure({"orders": SUE})),
    Row(
        "39",
        "",
        "UPDATE orders SET amount = amount + 1",
        NO_GO,
        Structure({"orders": RX}, scanned=("orders",)),
        LONG,
    ),
    Row(
        "46",
        "",
        "SELECT id FROM orders FOR UPDATE",
        NO_GO,
        Structure({"orders": RS}, scanned=("orders",)),
        ROWS_LOCKED,
    ),
    Row(
        "46",
        "some",
        "SELECT id FROM orders WHERE amount < 5 FOR UPDATE",
        GO,
        Structure({"orders": RS}, scanned=("orders",)),
    ),
    Row(
        "44",
        "",
        "ALTER TYPE mood ADD VALUE 'glad'",
        GO,
        Structure({}),
        before="CREATE TYPE mood AS ENUM ('sad');",
    ),
)
