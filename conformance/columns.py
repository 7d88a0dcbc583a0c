"""Rows 1 to 12 and 27 to 30: columns, their defaults and their types."""

from __future__ import annotations

from conformance.row import (
    ACX_ORDERS,
    AX,
    BREAKS,
    BUILD,
    GO,
    LOSS,
    NO_GO,
    SRE,
    Row,
    Structure,
    instant,
    rewrites,
    scans,
)

_PLAIN = Structure(ACX_ORDERS)

COLUMNS: tuple[Row, ...] = (
    instant("1", "nullable", "ALTER TABLE orders ADD c int"),
    instant("1", "constant default", "ALTER TABLE orders ADD c int NOT NULL DEFAULT 7"),
    instant("1", "DEFAULT now()", "ALTER TABLE orders ADD c timestamptz DEFAULT now()"),
    rewrites("2", "gen_random_uuid()", "ALTER TABLE orders ADD c uuid DEFAULT gen_random_uuid()"),
    rewrites("2", "clock_timestamp()", "ALTER TABLE orders ADD c timestamptz DEFAULT clock_timestamp()"),
    rewrites("3", "serial", "ALTER TABLE orders ADD c bigserial"),
    rewrites("3", "identity", "ALTER TABLE orders ADD c bigint GENERATED ALWAYS AS IDENTITY"),
    rewrites("4", "stored", "ALTER TABLE orders ADD c int GENERATED ALWAYS AS (id / 2) STORED"),
    instant("4", "virtual", "ALTER TABLE orders ADD c int GENERATED ALWAYS AS (id / 2) VIRTUAL", since=18),
    rewrites(
        "5",
        "",
        "ALTER TABLE orders ADD c positive",
        before="CREATE DOMAIN positive AS int CHECK (VALUE > 0);",
    ),
    scans("6", "", "ALTER TABLE orders ADD c int CHECK (c > 0)"),
    instant(
        "7",
        "",
        "ALTER TABLE orders ADD c bigint REFERENCES customers",
        {"orders": AX, "customers": SRE},
    ),
    Row("8", "in use", "ALTER TABLE orders DROP COLUMN code", NO_GO, _PLAIN, BREAKS),
    Row("8", "holding data", "ALTER TABLE orders DROP COLUMN memo", NO_GO, _PLAIN, LOSS),
    Row(
        "8",
        "expendable",
        "ALTER TABLE orders DROP COLUMN memo",
        GO,
        _PLAIN,
        warns=True,
        expendable=("orders.memo",),
    ),
    Row("9", "column", "ALTER TABLE orders RENAME COLUMN code TO coupon", NO_GO, _PLAIN, BREAKS),
    Row("9", "table", "ALTER TABLE orders RENAME TO purchases", NO_GO, _PLAIN, BREAKS),
    instant("10", "set default", "ALTER TABLE orders ALTER status SET DEFAULT 'open'"),
    instant("10", "drop default", "ALTER TABLE orders ALTER status DROP DEFAULT"),
    instant(
        "10",
        "drop not null",
        "ALTER TABLE orders ALTER code DROP NOT NULL",
        before="ALTER TABLE orders ALTER code SET NOT NULL;",
    ),
    scans("11", "", "ALTER TABLE orders ALTER code SET NOT NULL"),
    instant("11", "not valid", "ALTER TABLE orders ADD CONSTRAINT nn NOT NULL code NOT VALID", since=18),
    instant(
        "12",
        "",
        "ALTER TABLE orders ALTER code SET NOT NULL",
        before="ALTER TABLE orders ADD CHECK (code IS NOT NULL);",
    ),
)

_RELABELLED = Structure(ACX_ORDERS, built=("orders_note",))

TYPES: tuple[Row, ...] = (
    rewrites("27", "", "ALTER TABLE orders ALTER id TYPE bigint"),
    instant("28", "varchar widened", "ALTER TABLE orders ALTER note TYPE varchar(80)"),
    instant("28", "varchar to text", "ALTER TABLE orders ALTER note TYPE text"),
    instant("28", "numeric", "ALTER TABLE orders ALTER amount TYPE numeric(12,2)"),
    Row(
        "28",
        "collation of an indexed column",
        'ALTER TABLE orders ALTER note TYPE varchar(40) COLLATE "C"',
        NO_GO,
        _RELABELLED,
        BUILD,
        note="no rewrite of the table, but of its index",
    ),
    rewrites("29", "varchar narrowed", "ALTER TABLE orders ALTER note TYPE varchar(20)"),
    rewrites("29", "text to varchar", "ALTER TABLE orders ALTER code TYPE varchar(40)"),
    rewrites("29", "numeric scale", "ALTER TABLE orders ALTER amount TYPE numeric(12,4)"),
    instant("30", "session UTC", "SET timezone = 'UTC'; ALTER TABLE orders ALTER placed TYPE timestamptz"),
    rewrites(
        "30",
        "session elsewhere",
        "SET timezone = 'Europe/Berlin'; ALTER TABLE orders ALTER placed TYPE timestamptz",
    ),
    Row(
        "30",
        "session UTC, indexed",
        "SET timezone = 'UTC'; ALTER TABLE orders ALTER placed TYPE timestamptz",
        NO_GO,
        Structure(ACX_ORDERS, built=("orders_placed",)),
        BUILD,
        before="CREATE INDEX orders_placed ON orders (placed);",
        note="no rewrite of the table, but of its index",
    ),
)
