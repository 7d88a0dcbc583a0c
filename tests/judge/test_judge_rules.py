"""What single rules say, beside what the catalogue asks of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    MigrationRun,
    RelationChange,
    StatementOutcome,
)
from rehearse.model.record import RunRecord
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity, Verdict
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.model.workload import Footprint, SampleColumns
from tests.judge.build import (
    AUDIT,
    AX,
    CUSTOMERS,
    FOOTPRINTS,
    MS,
    ORDERS,
    READ,
    ROWS,
    RX,
    SHARE,
    START,
    SUE,
    WRITE,
    S,
    build,
    index_lock,
    lock,
    migration,
    queued,
    quiet,
    record,
    statement,
    with_trial,
    work,
)


def found(made: RunRecord, traffic: SampleColumns, rule: str) -> list[Finding]:
    return [f for f in judge(made, traffic).findings if f.rule == rule]


def altering(effects: Effects, text: str = "ALTER TABLE orders DROP COLUMN note") -> MigrationRun:
    return migration(statement(text, lock(ORDERS, AX), timeout_ms=9, effects=effects))


# --- locks ---


def test_victims_are_named_with_waits_that_are_lower_bounds() -> None:
    run = migration(
        statement(
            "CREATE INDEX i ON orders (note)",
            lock(ORDERS, SHARE),
            took_s=2,
            effects=Effects(built=(build(),), wal_bytes=9),
        )
    )
    wait = LockWait(
        Party(9, Role.TRAFFIC, WRITE),
        (Blocker(Party(1, Role.MIGRATION, statement=0), SHARE, False),),
        "relation",
        RX,
        ORDERS,
        START + 50 * MS,
        START + 1950 * MS,
    )
    (finding,) = found(with_trial(record(run), waits=(wait,)), queued(run), "index-build-blocks-writes")
    text = "\n".join(finding.evidence)
    assert "place_order: 191 transactions delayed" in text
    assert "place_order waited for ROW EXCLUSIVE on orders, blocked by the migration: 1 wait seen" in text
    assert "the longest at least 1.9 s" in text
    assert "read_order" not in text  # SHARE lets readers through
    assert finding.advice.startswith("CREATE INDEX CONCURRENTLY i ON orders (note);")
    assert "stops writes." in finding.message


def test_a_reindex_stops_reads_as_well() -> None:
    run = migration(
        statement(
            "REINDEX INDEX i",
            lock(ORDERS, SHARE),
            index_lock("i", AX),
            took_s=1,
            effects=Effects(built=(build(),), wal_bytes=9),
        )
    )
    (finding,) = found(record(run), quiet(run), "index-build-blocks-writes")
    assert "and reads as well" in finding.message


def test_a_lock_held_already_is_not_queued_for_again() -> None:
    twice = [
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=1),
        statement("ALTER TABLE orders ADD COLUMN b int", lock(ORDERS, AX), transaction=1),
    ]
    assert [
        f.statement
        for f in found(record(migration(*twice)), quiet(migration(*twice)), "unbounded-lock-queue")
    ] == [0]
    stronger = [replace(twice[0], effects=Effects(locks=(lock(ORDERS, SHARE),), wal_bytes=9)), twice[1]]
    run = migration(*stronger)
    assert [f.statement for f in found(record(run), quiet(run), "unbounded-lock-queue")] == [0, 1]


def test_whom_the_migration_waited_for_is_named() -> None:
    run = migration(
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=3, waited_s=2.9)
    )
    wait = LockWait(
        Party(1, Role.MIGRATION, statement=0),
        (Blocker(Party(4, Role.ADVERSARY, label="long-reader"), LockMode.ACCESS_SHARE, False),),
        "relation",
        AX,
        ORDERS,
        START,
        START + 29 * S // 10,
    )
    (finding,) = found(with_trial(record(run), waits=(wait,)), queued(run), "unbounded-lock-queue")
    assert any("long-reader" in line and "2.9 s" in line for line in finding.evidence)


def test_locks_under_the_new_name_of_a_hot_table_count() -> None:
    renaming = Effects(relations=(RelationChange(ORDERS, "renamed", "sales"),), wal_bytes=9)
    sales = Relation("public", "sales")
    run = migration(
        statement("ALTER TABLE orders RENAME TO sales", lock(ORDERS, AX), effects=renaming),
        statement(
            "ALTER TABLE sales ALTER COLUMN id TYPE bigint",
            lock(sales, AX),
            took_s=1,
            effects=Effects(rewritten=(work(sales),), wal_bytes=9),
        ),
    )
    (finding,) = found(record(run), quiet(run), "rewrite-under-lock")
    assert finding.statement == 1
    assert finding.observed is not None
    assert finding.observed.value > 100


def test_concurrent_forms_lock_indexes_that_no_plan_uses() -> None:
    run = migration(statement("DROP INDEX CONCURRENTLY i", lock(ORDERS, SUE), index_lock("i", AX)))
    judgement = judge(record(run), quiet(run))
    assert judgement.verdict is Verdict.GO
    assert not judgement.findings


def test_a_lock_on_a_view_is_in_the_way_of_its_readers() -> None:
    view = Relation("public", "recent")
    run = migration(statement("DROP VIEW recent", lock(view, AX, "view")))
    reads = (*FOOTPRINTS, Footprint(READ, ((view, LockMode.ACCESS_SHARE),)))
    assert [f.subject for f in found(record(run, footprints=reads), quiet(run), "unbounded-lock-queue")] == [
        "recent"
    ]


# --- invalid-index-left and migration-failed ---


def test_an_invalid_index_that_was_dropped_is_not_left() -> None:
    index = Relation("public", "i")
    failed = statement(
        "CREATE INDEX CONCURRENTLY i ON orders (a)",
        lock(ORDERS, SUE),
        effects=Effects(invalid_indexes=(index,), wal_bytes=9),
    )
    run = migration(failed, statement("DROP INDEX CONCURRENTLY i", lock(ORDERS, SUE)))
    assert not found(record(run), quiet(run), "invalid-index-left")
    again = statement(
        "REINDEX INDEX CONCURRENTLY i",
        lock(ORDERS, SUE),
        effects=Effects(built=(build(name="i"),), wal_bytes=9),
    )
    assert not found(record(migration(failed, again)), quiet(migration(failed, again)), "invalid-index-left")
    assert found(record(migration(failed)), quiet(migration(failed)), "invalid-index-left")


@pytest.mark.parametrize(
    ("state", "words"),
    [("23502", "precondition"), ("23505", "precondition"), ("55P03", "lock_timeout"), ("57014", "cancelled")],
)
def test_why_a_migration_failed(state: str, words: str) -> None:
    run = migration(
        statement("ALTER TABLE customers ADD COLUMN a int", lock(CUSTOMERS, AX)),
        statement("ALTER TABLE orders ...", outcome=StatementOutcome.FAILED, sqlstate=state),
        statement("ALTER TABLE orders ...", outcome=StatementOutcome.NOT_RUN),
    )
    (finding,) = found(record(run), quiet(run), "migration-failed")
    assert finding.statement == 1
    assert state in finding.message
    assert "the server's words" in finding.message
    text = " ".join(finding.evidence)
    assert words in text
    assert "1 statement after it did not run" in text
    assert "stayed committed" in text


def test_a_migration_that_took_too_long() -> None:
    run = migration(
        statement("UPDATE orders SET a = 1", outcome=StatementOutcome.CANCELLED, sqlstate="57014", took_s=1)
    )
    (finding,) = found(record(run), quiet(run), "migration-failed")
    assert "10 min" in finding.message


# --- order ---


def test_findings_come_by_severity_then_in_the_migrations_order_structure_first() -> None:
    rewriting = Effects(rewritten=(work(),), wal_bytes=9)
    run = migration(
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX)),
        statement(
            "ALTER TABLE orders ALTER COLUMN id TYPE bigint", lock(ORDERS, AX), took_s=2, effects=rewriting
        ),
        statement(
            "UPDATE audit SET a = 1",
            lock(AUDIT, RX),
            effects=Effects(rows_changed=((AUDIT, ROWS),), wal_bytes=9),
        ),
    )
    findings = judge(record(run), queued(run)).findings
    ranks = [list(Severity).index(f.severity) for f in findings]
    assert ranks == sorted(ranks)
    assert findings[0].rule == "rewrite-under-lock"
    failures = [f.statement for f in findings if f.severity is Severity.FAILURE]
    assert failures == [1] * len(failures)
    assert [f.rule for f in findings if f.severity is Severity.UNMEASURED] == ["workload-missed-table"]


def test_a_transaction_left_open_leaves_nothing() -> None:
    run = migration(
        statement("BEGIN", transaction=3),
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=3, timeout_ms=9),
        rolled_back=[3],
    )
    assert [f.statement for f in found(record(run), quiet(run), "migration-failed")] == [1]


@pytest.mark.parametrize("after", ["sales", "public.sales", '"Sales"', 'archive."Sales"'])
def test_new_names_are_understood_as_they_are_written(after: str) -> None:
    names = {
        "sales": Relation("public", "sales"),
        "public.sales": Relation("public", "sales"),
        '"Sales"': Relation("public", "Sales"),
        'archive."Sales"': Relation("archive", "Sales"),
    }
    renaming = Effects(relations=(RelationChange(ORDERS, "renamed", after),), wal_bytes=9)
    run = migration(
        statement("ALTER TABLE orders ...", lock(ORDERS, AX), timeout_ms=9, effects=renaming),
        statement("ALTER TABLE ... ADD COLUMN a int", lock(names[after], AX)),
    )
    assert [f.statement for f in found(record(run), quiet(run), "unbounded-lock-queue")] == [1]


def test_a_plain_vacuum_gives_way() -> None:
    run = migration(statement("VACUUM orders", lock(ORDERS, AX), took_s=3))
    run = replace(run, statements=(replace(run.statements[0], command="VACUUM"),))
    assert judge(record(run), quiet(run)).verdict is Verdict.GO
