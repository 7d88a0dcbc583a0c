"""The catalogue's rows 23 to 45: locks and effects as measured, a hot table, production of 200 M rows,
default gates.
"""

from __future__ import annotations

from rehearse.model.migration import (
    Effects,
    RelationChange,
    StatementOutcome,
)
from rehearse.model.relation import Relation
from rehearse.model.workload import Footprint
from tests.judge.build import (
    AS,
    AX,
    FOOTPRINTS,
    MS,
    ORDERS,
    READ,
    ROWS,
    RX,
    SHARE,
    SRE,
    START,
    SUE,
    WRITE,
    Blocked,
    Failing,
    S,
    X,
    build,
    index_lock,
    lock,
    statement,
    work,
)
from tests.judge.catalogue_columns import (
    AFTER,
    BREAKS,
    BUILD,
    CHILD,
    GO,
    NO_GO,
    REWRITE,
    SCAN,
    VIEW,
    Row,
    alter,
    instant,
    rewrites,
)

ROWS_23_TO_45 = (
    Row(
        "23",
        NO_GO,
        (
            statement(
                "CREATE INDEX i ON orders (note)",
                lock(ORDERS, SHARE),
                index_lock("i", AX),
                took_s=0.3,
                effects=Effects(built=(build(),), wal_bytes=9),
            ),
        ),
        BUILD,
        warns=True,
    ),
    Row(
        "24",
        GO,
        (
            statement(
                "CREATE INDEX CONCURRENTLY i ON orders (note)",
                lock(ORDERS, SUE),
                index_lock("i", RX),
                took_s=2.0,
                effects=Effects(built=(build(concurrently=True),), scanned=(work(),), wal_bytes=9),
            ),
        ),
    ),
    Row("25", GO, (statement("DROP INDEX i", lock(ORDERS, AX), index_lock("i", AX)),), warns=True),
    Row(
        "25, concurrently",
        GO,
        (statement("DROP INDEX CONCURRENTLY i", lock(ORDERS, SUE), index_lock("i", AX)),),
    ),
    Row(
        "26",
        NO_GO,
        (
            statement(
                "REINDEX INDEX i",
                lock(ORDERS, SHARE),
                index_lock("i", AX),
                took_s=0.3,
                effects=Effects(built=(build(),), wal_bytes=9),
            ),
        ),
        BUILD,
        warns=True,
    ),
    Row(
        "26, concurrently",
        GO,
        (
            statement(
                "REINDEX INDEX CONCURRENTLY i",
                lock(ORDERS, SUE),
                index_lock("i", AX),
                took_s=1.0,
                effects=Effects(built=(build(concurrently=True),), wal_bytes=9),
            ),
        ),
    ),
    Row("27", NO_GO, (rewrites("ALTER COLUMN customer_id TYPE bigint"),), REWRITE),
    Row("28", GO, instant("ALTER COLUMN note TYPE text"), warns=True),
    Row("29", NO_GO, (rewrites("ALTER COLUMN note TYPE varchar(9)"),), REWRITE),
    Row("30", NO_GO, (rewrites("ALTER COLUMN created_at TYPE timestamptz"),), REWRITE),
    Row("31", NO_GO, (rewrites("SET UNLOGGED"),), REWRITE),
    Row(
        "32",
        NO_GO,
        (
            statement(
                "VACUUM FULL orders",
                lock(ORDERS, AX),
                took_s=0.4,
                effects=Effects(rewritten=(work(),), built=(build(),), wal_bytes=9),
            ),
        ),
        REWRITE,
    ),
    Row(
        "32, cluster",
        NO_GO,
        (
            statement(
                "CLUSTER orders USING i",
                lock(ORDERS, AX),
                took_s=0.4,
                effects=Effects(rewritten=(work(),), wal_bytes=9),
            ),
        ),
        REWRITE,
    ),
    Row(
        "33",
        NO_GO,
        (
            statement(
                "REFRESH MATERIALIZED VIEW totals",
                lock(VIEW, AX, "materialized view"),
                took_s=0.4,
                effects=Effects(rewritten=(work(VIEW, 10),), scanned=(work(),), wal_bytes=9),
            ),
        ),
        REWRITE,
        footprints=(*FOOTPRINTS, Footprint(READ, ((VIEW, AS),))),
    ),
    Row(
        "33, concurrently",
        GO,
        (
            statement(
                "REFRESH MATERIALIZED VIEW CONCURRENTLY totals",
                lock(VIEW, X, "materialized view"),
                took_s=0.4,
                effects=Effects(scanned=(work(),), wal_bytes=9),
            ),
        ),
        footprints=(*FOOTPRINTS, Footprint(READ, ((VIEW, AS),))),
    ),
    Row(
        "34, truncate",
        NO_GO,
        (
            statement(
                "TRUNCATE orders",
                lock(ORDERS, AX),
                effects=Effects(relations=(RelationChange(ORDERS, "truncated", rows=ROWS),), wal_bytes=9),
            ),
        ),
        "data-loss",
        warns=True,
    ),
    Row(
        "34, drop",
        NO_GO,
        (
            statement(
                "DROP TABLE orders",
                lock(ORDERS, AX),
                effects=Effects(relations=(RelationChange(ORDERS, "dropped", rows=ROWS),), wal_bytes=9),
            ),
        ),
        "data-loss",
        errors=(Failing(READ, "42P01", *AFTER),),
        also=(BREAKS,),
    ),
    Row(
        "35, hot child",
        NO_GO,
        (
            alter(
                "ATTACH PARTITION orders_2030 FOR VALUES IN (1)",
                lock(ORDERS, SUE, "partitioned table"),
                lock(CHILD, AX),
                took_s=0.1,
                effects=Effects(scanned=(work(CHILD),), wal_bytes=9),
            ),
        ),
        SCAN,
        footprints=(*FOOTPRINTS, Footprint(WRITE, ((CHILD, RX),))),
    ),
    Row(
        "35, with a check",
        GO,
        (
            alter(
                "ATTACH PARTITION orders_2030 FOR VALUES IN (1)",
                lock(ORDERS, SUE, "partitioned table"),
                lock(CHILD, AX),
            ),
        ),
        footprints=(*FOOTPRINTS, Footprint(WRITE, ((CHILD, RX),))),
        warns=True,
    ),
    Row(
        "36",
        GO,
        instant("DETACH PARTITION orders_2030", lock(ORDERS, AX, "partitioned table"), lock(CHILD, AX)),
        warns=True,
    ),
    Row(
        "37", GO, (statement("CREATE TRIGGER t BEFORE INSERT ON orders ...", lock(ORDERS, SRE)),), warns=True
    ),
    Row("38", GO, instant("ALTER COLUMN note SET STATISTICS 500", lock(ORDERS, SUE))),
    Row(
        "39",
        NO_GO,
        (
            statement(
                "UPDATE orders SET status = 'x'",
                lock(ORDERS, RX),
                took_s=0.6,
                effects=Effects(rows_changed=((ORDERS, ROWS),), scanned=(work(),), wal_bytes=127_000_000),
            ),
        ),
        "long-transaction",
    ),
    Row(
        "40",
        NO_GO,
        (
            statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=1),
            statement(
                "UPDATE orders SET a = 1",
                lock(ORDERS, RX),
                transaction=1,
                took_s=0.6,
                effects=Effects(rows_changed=((ORDERS, ROWS),), scanned=(work(),), wal_bytes=9),
            ),
            statement(
                "CREATE INDEX i ON orders (a)",
                lock(ORDERS, SHARE),
                transaction=1,
                took_s=0.2,
                effects=Effects(built=(build(),), wal_bytes=9),
            ),
        ),
        "lock-held-across-statements",
    ),
    Row(
        "41",
        NO_GO,
        (statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=4.0, waited_s=3.99),),
        "stall",
        blocked=(Blocked(START, START + 4 * S),),
        warns=True,
    ),
    Row(
        "42",
        NO_GO,
        (
            statement(
                "CREATE INDEX CONCURRENTLY i ON orders (note)",
                lock(ORDERS, SUE),
                outcome=StatementOutcome.FAILED,
                sqlstate="55P03",
                timeout_ms=100,
                effects=Effects(invalid_indexes=(Relation("public", "i"),)),
            ),
        ),
        "invalid-index-left",
        also=("migration-failed",),
    ),
    Row(
        "43, the migration",
        NO_GO,
        (
            statement(
                "UPDATE orders SET status = 'x' WHERE id < 9",
                outcome=StatementOutcome.FAILED,
                sqlstate="40P01",
            ),
        ),
        "deadlock",
        also=("migration-failed",),
    ),
    Row(
        "43, the application",
        NO_GO,
        (
            statement(
                "UPDATE orders SET status = 'x' WHERE id < 9",
                lock(ORDERS, RX),
                took_s=1.0,
                effects=Effects(rows_changed=((ORDERS, 8),), wal_bytes=9),
            ),
        ),
        "deadlock",
        errors=(Failing(WRITE, "40P01", START, START + S, every=50),),
    ),
    Row("44", GO, (statement("ALTER TYPE state ADD VALUE 'late'"),)),
    Row(
        "45",
        GO,
        instant("ADD COLUMN a int"),
        errors=(Failing(READ, "0A000", START + 5 * MS, START + 300 * MS),),
        warns=True,
    ),
    Row(
        "45, not prepared again",
        NO_GO,
        instant("ADD COLUMN a int"),
        BREAKS,
        errors=(Failing(READ, "0A000", *AFTER),),
    ),
)
