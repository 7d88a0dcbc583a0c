"""The catalogue's rows 1 to 22: locks and effects as measured, a hot table, production of 200 M rows,
default gates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rehearse.model.migration import (
    ColumnChange,
    Effects,
    HeldLock,
    RelationChange,
    Statement,
)
from rehearse.model.relation import Relation
from rehearse.model.verdict import Verdict
from rehearse.model.workload import Footprint
from tests.judge.build import (
    AX,
    CUSTOMERS,
    FOOTPRINTS,
    MS,
    ORDERS,
    READ,
    ROW_SHARE,
    SRE,
    START,
    SUE,
    WRITE,
    Blocked,
    Failing,
    S,
    build,
    lock,
    statement,
    work,
)

GO, NO_GO = Verdict.GO, Verdict.NO_GO
VIEW = Relation("public", "totals")
CHILD = Relation("public", "orders_2030")
NEW = Relation("public", "order_notes")


@dataclass(frozen=True)
class Row:
    """One row of the catalogue. `rule` fails it; `warns`: the lock needs a lock_timeout."""

    number: str
    verdict: Verdict
    statements: tuple[Statement, ...]
    rule: str = ""
    warns: bool = False
    errors: tuple[Failing, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    expendable: tuple[str, ...] = ()
    footprints: tuple[Footprint, ...] = FOOTPRINTS
    also: tuple[str, ...] = field(default=())


def alter(action: str, *locks: HeldLock, took_s: float = 0.005, effects: Effects | None = None) -> Statement:
    return statement(
        f"ALTER TABLE orders {action}", *(locks or (lock(ORDERS, AX),)), took_s=took_s, effects=effects
    )


def rewrites(action: str) -> Statement:
    return alter(action, took_s=0.4, effects=Effects(rewritten=(work(),), built=(build(),), wal_bytes=9))


def scans(action: str) -> Statement:
    return alter(action, took_s=0.05, effects=Effects(scanned=(work(),), wal_bytes=9))


def instant(action: str, *locks: HeldLock) -> tuple[Statement, ...]:
    return (alter(action, *locks),)


FOREIGN = (lock(ORDERS, SRE), lock(CUSTOMERS, SRE))
REWRITE, SCAN, BUILD = "rewrite-under-lock", "scan-under-lock", "index-build-blocks-writes"
BREAKS = "breaks-running-application"
COLUMNS_NOTE = (ColumnChange(ORDERS, "note", "dropped", rows_with_data=5),)
AFTER = (START + 5 * MS, START + 60 * S)
BUSY = Effects(scanned=(work(),), wal_bytes=9)

ROWS_1_TO_22 = (
    Row("1", GO, instant("ADD COLUMN a int DEFAULT 1"), warns=True),
    Row("2", NO_GO, (rewrites("ADD COLUMN a uuid DEFAULT gen_random_uuid()"),), REWRITE, warns=True),
    Row("3", NO_GO, (rewrites("ADD COLUMN a serial"),), REWRITE),
    Row("4", NO_GO, (rewrites("ADD COLUMN a text GENERATED ALWAYS AS (upper(note)) STORED"),), REWRITE),
    Row("5", NO_GO, (rewrites("ADD COLUMN a positive"),), REWRITE),
    Row("6", NO_GO, (scans("ADD COLUMN a int CHECK (a > 0)"),), SCAN),
    Row(
        "7",
        GO,
        instant("ADD COLUMN a bigint REFERENCES customers", lock(ORDERS, AX), lock(CUSTOMERS, SRE)),
        warns=True,
    ),
    Row(
        "8, in use",
        NO_GO,
        (alter("DROP COLUMN note", effects=Effects(columns=COLUMNS_NOTE, wal_bytes=9)),),
        BREAKS,
        errors=(Failing(READ, "42703", *AFTER),),
        also=("data-loss", "errors"),
    ),
    Row(
        "8, holding data",
        NO_GO,
        (
            alter(
                "DROP COLUMN memo",
                effects=Effects(columns=(ColumnChange(ORDERS, "memo", "dropped"),), wal_bytes=9),
            ),
        ),
        "data-loss",
    ),
    Row(
        "8, expendable",
        GO,
        (
            alter(
                "DROP COLUMN memo",
                effects=Effects(columns=(ColumnChange(ORDERS, "memo", "dropped"),), wal_bytes=9),
            ),
        ),
        warns=True,
        expendable=("orders.memo",),
    ),
    Row(
        "9",
        NO_GO,
        (
            alter(
                "RENAME COLUMN note TO remark",
                effects=Effects(columns=(ColumnChange(ORDERS, "note", "renamed", "remark"),), wal_bytes=9),
            ),
        ),
        BREAKS,
        errors=(Failing(READ, "42703", *AFTER),),
    ),
    Row(
        "9, table",
        NO_GO,
        (
            alter(
                "RENAME TO sales",
                lock(Relation("public", "sales"), AX),
                effects=Effects(relations=(RelationChange(ORDERS, "renamed", "sales"),), wal_bytes=9),
            ),
        ),
        BREAKS,
        errors=(Failing(READ, "42P01", *AFTER), Failing(WRITE, "42P01", *AFTER)),
        warns=True,
    ),
    Row("10", GO, instant("ALTER COLUMN note DROP NOT NULL"), warns=True),
    Row("11", NO_GO, (scans("ALTER COLUMN note SET NOT NULL"),), SCAN),
    Row("12", GO, instant("ALTER COLUMN note SET NOT NULL"), warns=True),
    Row("13", NO_GO, (scans("ADD CHECK (amount > 0)"),), SCAN),
    Row("13, not valid", GO, instant("ADD CHECK (amount > 0) NOT VALID"), warns=True),
    Row("14", GO, (alter("VALIDATE CONSTRAINT c", lock(ORDERS, SUE), took_s=2.0, effects=BUSY),)),
    Row(
        "15",
        NO_GO,
        (
            alter(
                "ADD FOREIGN KEY (customer_id) REFERENCES customers",
                *FOREIGN,
                took_s=0.2,
                effects=Effects(scanned=(work(), work(CUSTOMERS)), wal_bytes=9),
            ),
        ),
        SCAN,
    ),
    Row(
        "16",
        GO,
        instant("ADD FOREIGN KEY (customer_id) REFERENCES customers NOT VALID", *FOREIGN),
        warns=True,
    ),
    Row(
        "17",
        GO,
        (
            alter(
                "VALIDATE CONSTRAINT f",
                lock(ORDERS, SUE),
                lock(CUSTOMERS, ROW_SHARE),
                took_s=2.0,
                effects=BUSY,
            ),
        ),
    ),
    Row("18", GO, instant("DROP CONSTRAINT f", lock(ORDERS, AX), lock(CUSTOMERS, AX)), warns=True),
    Row(
        "19",
        GO,
        (
            statement(
                "CREATE TABLE order_notes (o bigint REFERENCES orders)",
                lock(NEW, AX, created_here=True),
                lock(ORDERS, SRE),
            ),
        ),
        warns=True,
    ),
    Row(
        "20",
        NO_GO,
        (
            alter(
                "ADD UNIQUE (note)",
                took_s=0.5,
                effects=Effects(built=(build(),), scanned=(work(),), wal_bytes=9),
            ),
        ),
        BUILD,
    ),
    Row("21", GO, instant("ADD UNIQUE USING INDEX i"), warns=True),
    Row("22", NO_GO, (scans("ADD PRIMARY KEY USING INDEX i"),), SCAN),
)
