"""The three ways a file is sent, and what each means for transactions, locks and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearse.migrate.preview import preview, touched
from rehearse.migrate.run import run_migration
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    ColumnChange,
    LockEvidence,
    MigrationState,
    RelationChange,
    SqlFile,
    StatementOutcome,
    TransactionMode,
)
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from tests.migrate.reading import locks, outcomes, value

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

AS_WRITTEN, PER_FILE, SINGLE = TransactionMode
OK, FAILED, NOT_RUN = StatementOutcome.OK, StatementOutcome.FAILED, StatementOutcome.NOT_RUN
ORDERS = Relation("public", "orders")

BACKFILL = """
ALTER TABLE orders ADD region text;
UPDATE orders SET region = 'eu';
CREATE INDEX orders_region ON orders (region);
"""


def test_as_written_each_statement_is_a_transaction(migrate: Migrate) -> None:
    run = migrate(BACKFILL)
    assert [s.transaction for s in run.statements] == [0, 1, 2]
    assert [span.committed for span in run.transactions] == [True, True, True]
    assert [locks(s) for s in run.statements] == [
        {LockMode.ACCESS_EXCLUSIVE},
        {LockMode.ROW_EXCLUSIVE},
        {LockMode.SHARE},
    ]
    update = run.statements[1].effects
    assert update
    assert update.rows_changed == ((ORDERS, 2000),)
    assert [(work.table, work.rows) for work in update.scanned] == [(ORDERS, 2000)]
    assert update.wal_exact
    assert update.wal_bytes
    assert update.wal_bytes > 100_000


@pytest.mark.parametrize("mode", [PER_FILE, SINGLE])
def test_one_transaction_for_the_file_holds_the_first_lock_to_the_end(
    mode: TransactionMode, migrate: Migrate
) -> None:
    run = migrate(BACKFILL, mode)
    assert [s.transaction for s in run.statements] == [0, 0, 0]
    (span,) = run.transactions
    assert span.committed
    first, update, index = run.statements
    assert locks(first) == {LockMode.ACCESS_EXCLUSIVE}
    assert locks(update) == set(), "it has what it needs already"
    assert update.effects
    assert update.effects.rows_changed == ((ORDERS, 2000),)
    assert index.effects
    assert [build.index.name for build in index.effects.built] == ["orders_region"]
    assert index.effects.scanned == ()
    times = [span.started_ns, *(t for s in run.statements for t in (s.started_ns, s.ended_ns)), span.ended_ns]
    assert times == sorted(times)
    assert update.ended_ns > update.started_ns


def test_begin_in_the_file_makes_one_transaction(migrate: Migrate) -> None:
    text = f"SET lock_timeout = '3s'; BEGIN; SET LOCAL lock_timeout = '500ms'; {BACKFILL} COMMIT; SELECT 1;"
    run = migrate(text)
    assert [s.transaction for s in run.statements] == [0, 1, 1, 1, 1, 1, 1, 2]
    assert [s.lock_timeout_ms for s in run.statements] == [0, 3000, 3000, 500, 500, 500, 500, 3000]
    assert all(span.committed for span in run.transactions)


def test_the_statement_timeout_that_a_statement_ran_under_is_known(migrate: Migrate) -> None:
    run = migrate(
        "ALTER TABLE orders ADD COLUMN early int; SET statement_timeout = '70s';"
        "CREATE INDEX CONCURRENTLY a ON orders (id); BEGIN; SET LOCAL statement_timeout = '30s';"
        "ALTER TABLE orders ADD COLUMN inner_one int; COMMIT; DO $$ BEGIN COMMIT; END $$;"
    )
    asked = ("ALTER", "CREATE", "DO")
    limits = [s.statement_timeout_ms for s in run.statements if s.command.startswith(asked)]
    assert limits == [0, 70_000, 30_000, 70_000]


def test_and_chain_starts_the_next_transaction_at_once(migrate: Migrate) -> None:
    run = migrate("BEGIN; SELECT 1; COMMIT AND CHAIN; SELECT 2; ROLLBACK;")
    assert [s.transaction for s in run.statements] == [0, 0, 0, 1, 1]
    assert [span.committed for span in run.transactions] == [True, False]


@pytest.mark.parametrize("mode", [AS_WRITTEN, SINGLE])
def test_what_one_transaction_reads_and_writes_is_not_the_next_ones(
    mode: TransactionMode, migrate: Migrate
) -> None:
    text = "BEGIN; UPDATE orders SET note = 'x'; {end}; ALTER TABLE orders ADD COLUMN a int; COMMIT"
    end = "COMMIT AND CHAIN" if mode is AS_WRITTEN else "COMMIT; BEGIN"
    run = migrate(text.format(end=end), mode)
    written, added = run.statements[1].effects, run.statements[-2].effects
    assert written
    assert added
    assert written.rows_changed == ((ORDERS, 2000),)
    assert [work.table for work in written.scanned] == [ORDERS]
    assert (added.rows_changed, added.scanned) == ((), ())


def test_an_isolation_level_can_still_be_set(migrate: Migrate) -> None:
    text = "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET LOCAL lock_timeout = 1; COMMIT;"
    assert outcomes(migrate(text)) == [OK] * 4


@pytest.mark.parametrize("mode", list(TransactionMode))
def test_a_failure_stops_the_migration_there(mode: TransactionMode, migrate: Migrate, shop: Target) -> None:
    run = migrate("CREATE TABLE a (); INSERT INTO nowhere VALUES (1); CREATE TABLE b ();", mode)
    assert outcomes(run) == [OK, FAILED, NOT_RUN]
    failed = run.failed
    assert failed
    assert (failed.index, failed.sqlstate) == (1, "42P01")
    assert failed.message == 'relation "nowhere" does not exist'
    kept = mode is AS_WRITTEN
    assert (value(shop, "SELECT to_regclass('a') IS NOT NULL")) is kept
    assert run.transactions[0].committed is kept


def test_a_failure_never_quotes_rows(migrate: Migrate) -> None:
    failed = migrate("ALTER TABLE orders ADD CHECK (id <> 7)").failed
    assert failed
    assert failed.message
    assert "Failing row" not in failed.message


def test_a_transaction_left_open_is_rolled_back(migrate: Migrate, shop: Target) -> None:
    run = migrate("BEGIN; CREATE TABLE a ();")
    assert outcomes(run) == [OK, OK]
    assert "rolled back" in (run.statements[-1].message or "")
    assert [span.committed for span in run.transactions] == [False]
    assert value(shop, "SELECT to_regclass('a')") is None


def test_concurrently_fails_in_one_transaction_as_it_does_for_the_tools(migrate: Migrate) -> None:
    text = "CREATE TABLE a (); CREATE INDEX CONCURRENTLY i ON orders (code);"
    for mode in (PER_FILE, SINGLE):
        run = migrate(text, mode)
        assert outcomes(run) == [OK, FAILED]
        assert run.statements[1].sqlstate == "25001"


def test_concurrently_alone_in_a_single_query_works(migrate: Migrate) -> None:
    run = migrate("CREATE INDEX CONCURRENTLY i ON orders (code);", SINGLE)
    effects = run.statements[0].effects
    assert effects
    assert [(b.index.name, b.concurrently) for b in effects.built] == [("i", True)]
    evidence = {lock.evidence for lock in effects.locks if lock.relation == ORDERS}
    assert evidence <= {LockEvidence.SAMPLED, LockEvidence.DOCUMENTED}
    assert evidence


@pytest.mark.parametrize("mode", [PER_FILE, SINGLE])
def test_a_constraint_that_fails_at_commit_fails_the_last_statement(
    mode: TransactionMode, migrate: Migrate
) -> None:
    setup = (
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers DEFERRABLE INITIALLY DEFERRED"
    )
    run = migrate("UPDATE orders SET customer_id = -1 WHERE id = 5; SELECT 1;", mode, setup=setup)
    assert outcomes(run) == [OK, FAILED]
    assert run.statements[1].sqlstate == "23503"
    assert [span.committed for span in run.transactions] == [False]


def test_a_single_query_may_have_transactions_of_its_own(migrate: Migrate, shop: Target) -> None:
    text = "CREATE TABLE a (); COMMIT; CREATE TABLE b (); ROLLBACK; CREATE TABLE c (); SELECT 1;"
    run = migrate(text, SINGLE)
    assert [s.transaction for s in run.statements] == [0, 0, 1, 1, 2, 2]
    assert [span.committed for span in run.transactions] == [True, False, True]
    assert value(shop, "SELECT to_regclass('b')") is None


def test_copy_data_is_sent_along(migrate: Migrate, shop: Target) -> None:
    copies = "COPY a FROM stdin;\n1\n2\n\\.\nCOPY a TO stdout;\nCOPY a FROM stdin;\n3\n\\.\n"
    text = f"CREATE TABLE a (i int);\n{copies}"
    for mode in TransactionMode:
        run = migrate(text if mode is AS_WRITTEN else f"DROP TABLE a;\n{text}", mode)
        assert set(outcomes(run)) == {OK}, run.failed
        assert value(shop, "SELECT sum(i) FROM a") == 6


@pytest.mark.parametrize(
    ("text", "emptied"),
    [
        ("DELETE FROM orders", True),
        ("DELETE FROM orders WHERE id > 100", False),
        (
            "WITH old AS (DELETE FROM orders RETURNING *) INSERT INTO orders (id) SELECT id + 9999 FROM old",
            False,
        ),
    ],
)
def test_a_delete_of_every_row_empties(migrate: Migrate, text: str, emptied: bool) -> None:
    effects = migrate(text).statements[0].effects
    assert effects
    assert [change.what for change in effects.relations] == (["truncated"] if emptied else [])


def test_lock_outside_a_transaction_fails_as_by_hand(migrate: Migrate) -> None:
    assert migrate("LOCK TABLE orders").statements[0].sqlstate == "25P01"
    assert outcomes(migrate("BEGIN; LOCK TABLE orders; COMMIT")) == [OK, OK, OK]


def test_a_savepoint_gives_its_locks_and_changes_back(migrate: Migrate) -> None:
    text = """BEGIN; SAVEPOINT s; ALTER TABLE orders ALTER id TYPE bigint; ROLLBACK TO s;
      ALTER TABLE orders ALTER id TYPE bigint; COMMIT;"""
    run = migrate(text)
    assert outcomes(run) == [OK] * 6
    for number in (2, 4):
        effects = run.statements[number].effects
        assert effects
        assert [work.table for work in effects.rewritten] == [ORDERS]
        assert locks(run.statements[number]) == {LockMode.ACCESS_EXCLUSIVE}


def test_what_was_rolled_back_is_forgotten(migrate: Migrate) -> None:
    run = migrate("BEGIN; TRUNCATE orders; ROLLBACK; ALTER TABLE orders ADD CHECK (id > 0);")
    effects = run.statements[3].effects
    assert effects
    assert [(work.table, work.rows) for work in effects.scanned] == [(ORDERS, 2000)]
    assert effects.relations == ()


def test_changes_of_columns_and_tables(migrate: Migrate) -> None:
    run = migrate(
        """ALTER TABLE orders DROP COLUMN code, ALTER amount TYPE numeric(12,4);
        ALTER TABLE orders RENAME note TO remark;
        ALTER TABLE orders RENAME TO purchases;
        DROP TABLE customers; TRUNCATE purchases;
        CREATE TABLE mine (i int); ALTER TABLE mine DROP COLUMN i; DROP TABLE mine;
        ALTER TABLE parts DROP COLUMN at; TRUNCATE parts;"""
    )
    assert run.failed is None
    columns = [change for s in run.statements if s.effects for change in s.effects.columns]
    assert columns == [
        ColumnChange(ORDERS, "amount", "retyped", after="numeric(12,4)"),
        ColumnChange(ORDERS, "code", "dropped"),
        ColumnChange(ORDERS, "note", "renamed", after="remark"),
        ColumnChange(Relation("public", "parts"), "at", "dropped"),
    ]
    assert [change for s in run.statements if s.effects for change in s.effects.relations] == [
        RelationChange(ORDERS, "renamed", after="purchases", rows=2000),
        RelationChange(Relation("public", "customers"), "dropped", rows=2000),
        RelationChange(Relation("public", "purchases"), "truncated", rows=2000),
        RelationChange(Relation("public", "parts_1"), "truncated", rows=2000),
    ]


def test_a_schema_renamed_takes_its_tables_along(migrate: Migrate) -> None:
    run = migrate(
        "SELECT 1; ALTER SCHEMA shop RENAME TO store; DROP SCHEMA store CASCADE",
        setup="DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; CREATE TABLE shop.t (i int)",
    )
    effects = run.statements[1].effects
    assert effects
    assert effects.relations == (RelationChange(Relation("shop", "t"), "renamed", after="store.t", rows=0),)


def test_what_the_migration_created_is_marked(migrate: Migrate) -> None:
    run = migrate(
        """CREATE TABLE mine (i int); INSERT INTO mine SELECT generate_series(1, 300);
        CREATE INDEX mine_i ON mine (i); ALTER TABLE mine ALTER i TYPE bigint;"""
    )
    _, insert, index, retype = (s.effects for s in run.statements)
    assert insert
    assert {lock.created_here for lock in insert.locks} == {True}
    assert index
    assert [(b.created_here, b.rows) for b in index.built] == [(True, 300)]
    assert retype
    assert [(w.created_here, w.rows) for w in retype.rewritten] == [(True, 300)]
    assert touched(run) == frozenset()


def test_touched_uses_the_names_from_before(shop: Target) -> None:
    text = """ALTER TABLE orders RENAME TO old; CREATE TABLE orders (LIKE old);
      ALTER TABLE old ADD CHECK (id > 0); CREATE INDEX CONCURRENTLY i ON customers (email);
      SELECT count(*) FROM parts;"""
    run = preview(shop, [SqlFile("up.sql", text)], AS_WRITTEN)
    assert run.failed is None
    assert touched(run) == {ORDERS, Relation("public", "customers"), Relation("public", "parts_1")}


def test_states_are_announced_and_files_do_not_share_settings(shop: Target) -> None:
    seen: list[MigrationState] = []
    files = [SqlFile("a.sql", "SET lock_timeout = '1s'; SELECT 1;"), SqlFile("b.sql", "SELECT 2;")]
    run = run_migration(shop, files, AS_WRITTEN, timeout_s=30, on_state=seen.append)
    assert [(s.statement, s.text) for s in seen] == [
        (0, "SET lock_timeout = '1s'"),
        (1, "SELECT 1"),
        (2, "SELECT 2"),
        (None, ""),
    ]
    assert [s.lock_timeout_ms for s in run.statements] == [0, 1000, 0]
    assert [(s.file, s.line) for s in run.statements] == [("a.sql", 1), ("a.sql", 1), ("b.sql", 1)]
    assert seen[0].pid is not None
