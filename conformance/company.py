"""Rows 40 to 43 and 45: what shows only where there is somebody else."""

from __future__ import annotations

from conformance.row import (
    ACROSS,
    ACX_ORDERS,
    GO,
    NO_GO,
    Company,
    Row,
    Structure,
)

# The application locks the rows in one order, the migration in the other.
_BOTH_ORDERS = {
    "settle_two@1": """BEGIN;
UPDATE orders SET amount = amount + 1 WHERE id = 7;
UPDATE orders SET amount = amount + 1 WHERE id = 8;
COMMIT;
"""
}
_OPPOSITE = """BEGIN;
UPDATE orders SET status = 'seen' WHERE id = 8;
SELECT pg_sleep({seconds});
UPDATE orders SET status = 'seen' WHERE id = 7;
COMMIT;
"""


COMPANY: tuple[Row, ...] = (
    Row(
        "40",
        "",
        """BEGIN;
ALTER TABLE orders ADD c int;
UPDATE orders SET c = 1;
CREATE INDEX i ON orders (c);
COMMIT;
""",
        NO_GO,
        rule=ACROSS,
    ),
    Row(
        "41",
        "",
        "ALTER TABLE orders ADD c int",
        NO_GO,
        Structure(ACX_ORDERS),
        "stall",
        company=(Company("long-reader", "orders", 5.0),),
    ),
    Row(
        "42",
        "",
        "SET lock_timeout = '300ms'; CREATE INDEX CONCURRENTLY i ON orders (code)",
        NO_GO,
        rule="invalid-index-left",
        company=(Company("snapshot", "customers", 5.0),),
    ),
    Row(
        "43",
        "the migration waits longer",
        _OPPOSITE.format(seconds=2.5),
        NO_GO,
        rule="deadlock",
        scripts=_BOTH_ORDERS,
        note="it asks last, so the server ends it",
    ),
    Row(
        "43",
        "the application waits longer",
        _OPPOSITE.format(seconds=0.4),
        NO_GO,
        rule="deadlock",
        scripts=_BOTH_ORDERS,
        note="either may be the one that the server ends",
    ),
    Row(
        "45",
        "",
        "ALTER TABLE orders ADD c int",
        GO,
        Structure(ACX_ORDERS),
        warns=True,
        scripts={"read_all@2": "\\set id random(1, :rows)\nSELECT * FROM orders WHERE id = :id;\n"},
        note="0A000 counted apart: the driver prepares again",
    ),
)
