"""Rows 13 to 22: constraints."""

from __future__ import annotations

from conformance.row import (
    ACX_ORDERS,
    AX,
    BUILD,
    GO,
    NO_GO,
    RS,
    SCAN,
    SRE,
    SUE,
    Row,
    Structure,
    instant,
    scans,
)

_BOTH = {"orders": SRE, "customers": SRE}
_FOREIGN = "CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers"
# The table without its key, and with another index for the application to find its rows by.
_NO_KEY = "ALTER TABLE orders DROP CONSTRAINT orders_pkey; CREATE INDEX orders_by_id ON orders (id);"


def _builds(variant: str, up: str, index: str, before: str = "") -> Row:
    return Row("20", variant, up, NO_GO, Structure(ACX_ORDERS, built=(index,)), BUILD, before=before)


CONSTRAINTS: tuple[Row, ...] = (
    scans("13", "", "ALTER TABLE orders ADD CHECK (amount > 0)"),
    instant("13", "not valid", "ALTER TABLE orders ADD CHECK (amount > 0) NOT VALID"),
    Row(
        "14",
        "",
        "ALTER TABLE orders VALIDATE CONSTRAINT worth_it",
        GO,
        Structure({"orders": SUE}, scanned=("orders",)),
        before="ALTER TABLE orders ADD CONSTRAINT worth_it CHECK (amount > 0) NOT VALID;",
    ),
    Row(
        "15",
        "",
        f"ALTER TABLE orders ADD {_FOREIGN}",
        NO_GO,
        Structure(_BOTH, scanned=("customers", "orders")),
        SCAN,
    ),
    instant("16", "", f"ALTER TABLE orders ADD {_FOREIGN} NOT VALID", _BOTH),
    Row(
        "17",
        "",
        "ALTER TABLE orders VALIDATE CONSTRAINT fk",
        GO,
        Structure({"orders": SUE, "customers": RS}, scanned=("customers", "orders")),
        before=f"ALTER TABLE orders ADD {_FOREIGN} NOT VALID;",
    ),
    instant(
        "18",
        "",
        "ALTER TABLE orders DROP CONSTRAINT fk",
        {"orders": AX, "customers": AX},
        before=f"ALTER TABLE orders ADD {_FOREIGN};",
    ),
    Row(
        "19",
        "",
        "CREATE TABLE items (id int PRIMARY KEY, o int REFERENCES orders)",
        GO,
        Structure({"orders": SRE}, built=("items_pkey",)),
        warns=True,
    ),
    _builds("unique", "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (code)", "u"),
    _builds("exclude", "ALTER TABLE orders ADD CONSTRAINT e EXCLUDE (code WITH =)", "e"),
    _builds("primary key", "ALTER TABLE orders ADD PRIMARY KEY (id)", "orders_pkey", _NO_KEY),
    instant(
        "21",
        "",
        "ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX i",
        before="CREATE UNIQUE INDEX i ON orders (code);",
    ),
    scans(
        "22",
        "",
        "ALTER TABLE orders ADD PRIMARY KEY USING INDEX i",
        before=_NO_KEY + "CREATE UNIQUE INDEX i ON orders (code);",
    ),
)
