"""Blocks and procedures in a file: those that commit as they go are seen from outside, others from within."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearse.engines.postgres.connect import connect
from rehearse.migrate.preview import named_where_untold, preview
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    LockEvidence,
    SqlFile,
    StatementOutcome,
    TransactionMode,
)
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from tests.migrate.reading import locks, outcomes, value

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

OK = StatementOutcome.OK
ORDERS = Relation("public", "orders")

# Returns when the session that watches from outside has looked twice since the call.
SEEN = """
CREATE FUNCTION be_seen() RETURNS void LANGUAGE plpgsql AS $$
DECLARE since timestamptz := clock_timestamp(); looks timestamptz[] := '{}'; look timestamptz;
BEGIN
  WHILE cardinality(looks) < 3 LOOP
    PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
    SELECT max(query_start) INTO look FROM pg_stat_activity
      WHERE application_name = 'rehearse' AND datname = current_database() AND query_start > since
        AND query LIKE '%pg_lock_status%';
    IF look IS NOT NULL AND look <> ALL (looks) THEN looks := looks || look; END IF;
  END LOOP;
END $$;
"""


def test_do_without_commit_is_seen_from_inside(migrate: Migrate) -> None:
    run = migrate("DO $$ BEGIN UPDATE orders SET note = 'COMMIT'; -- COMMIT\n END $$")
    effects = run.statements[0].effects
    assert effects
    assert effects.rows_changed == ((ORDERS, 2000),)
    assert locks(run.statements[0]) == {LockMode.ROW_EXCLUSIVE}
    assert {lock.evidence for lock in effects.locks} == {LockEvidence.TRANSACTION}


def test_do_with_commit_is_seen_from_outside(migrate: Migrate, shop: Target) -> None:
    text = """DO $$ BEGIN FOR i IN 0..3 LOOP
      UPDATE orders SET note = 'x' WHERE id % 4 = i; PERFORM be_seen(); PERFORM pg_sleep(0.05);
      PERFORM be_seen(); COMMIT; END LOOP; END $$"""
    run = migrate(text, setup=SEEN)
    assert outcomes(run) == [OK]
    effects = run.statements[0].effects
    assert effects
    assert {(lock.mode, lock.evidence) for lock in effects.locks if lock.relation == ORDERS} == {
        (LockMode.ROW_EXCLUSIVE, LockEvidence.SAMPLED)
    }
    assert value(shop, "SELECT count(*) FROM orders WHERE note = 'x'") == 2000
    longest_ns = effects.longest_transaction_ns
    assert longest_ns
    others_ns = 3 * 50_000_000
    assert 50_000_000 <= longest_ns <= run.ended_ns - run.started_ns - others_ns


def test_a_block_that_commits_at_its_end_is_seen_to_be_one_transaction(migrate: Migrate) -> None:
    text = """DO $$ BEGIN UPDATE orders SET note = 'x';
      PERFORM be_seen(); PERFORM pg_sleep(0.2); PERFORM be_seen(); COMMIT; END $$"""
    run = migrate(text, setup=SEEN)
    effects = run.statements[0].effects
    assert effects
    assert (effects.longest_transaction_ns or 0) >= 200_000_000


def test_tables_that_a_committing_block_works_on_are_known_by_name(shop: Target) -> None:
    with connect(shop, "rehearse") as connection:
        connection.execute("TRUNCATE orders, customers")
    block = "DO $$ BEGIN UPDATE orders SET note = 'x'; COMMIT; END $$"
    run = preview(shop, [SqlFile("up.sql", block)], TransactionMode.AS_WRITTEN)
    assert named_where_untold(run, [ORDERS, Relation("public", "customers")]) == {ORDERS}


def test_locks_that_a_block_must_have_taken_are_known_when_they_were_not_seen(migrate: Migrate) -> None:
    text = """DO $$ BEGIN ALTER TABLE orders ADD COLUMN x int; COMMIT;
      CREATE INDEX a_new ON customers (name); COMMIT; END $$"""
    did = migrate(text).statements[0]
    assert LockMode.ACCESS_EXCLUSIVE in locks(did)
    assert LockMode.SHARE in locks(did, "customers")


def test_emptied_and_filled_anew_inside_a_block_is_not_a_rewrite(migrate: Migrate) -> None:
    effects = (
        migrate("DO $$ BEGIN TRUNCATE orders; INSERT INTO orders (id) VALUES (1); END $$")
        .statements[0]
        .effects
    )
    assert effects
    assert [(change.relation, change.what) for change in effects.relations] == [(ORDERS, "truncated")]
    assert not effects.rewritten


def test_a_rewrite_inside_a_block_is_one(migrate: Migrate) -> None:
    effects = migrate("DO $$ BEGIN ALTER TABLE orders ALTER id TYPE bigint; END $$").statements[0].effects
    assert effects
    assert [work.table for work in effects.rewritten] == [ORDERS]
    assert not effects.relations


def test_a_procedure_that_commits_is_run_again_by_itself(migrate: Migrate, shop: Target) -> None:
    text = """CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO customers VALUES (9001); COMMIT; ALTER TABLE customers ADD x int; COMMIT; END $$;
      CALL p();"""
    assert outcomes(migrate(text)) == [OK, OK]
    assert value(shop, "SELECT count(x IS NULL) FROM customers WHERE id = 9001") == 1


def test_a_lock_in_a_block_that_commits_is_held_for_its_longest_transaction_only(migrate: Migrate) -> None:
    text = """DO $$ BEGIN
      PERFORM be_seen(); COMMIT;
      LOCK TABLE orders IN ACCESS EXCLUSIVE MODE; PERFORM be_seen(), pg_sleep(0.1); COMMIT;
      PERFORM be_seen(); COMMIT;
      LOCK TABLE orders IN SHARE MODE; PERFORM be_seen(), pg_sleep(0.4); COMMIT;
      PERFORM be_seen(); COMMIT;
      LOCK TABLE customers IN SHARE MODE; COMMIT; PERFORM pg_sleep(0.4); COMMIT;
    END $$"""
    (statement,) = migrate(text, setup=SEEN).statements
    assert statement.effects is not None
    locks = {(str(lock.relation), lock.mode): lock for lock in statement.effects.locks}
    exclusive = locks["orders", LockMode.ACCESS_EXCLUSIVE]
    share = locks["orders", LockMode.SHARE]  # weaker, but held for longer
    whole_ns = statement.ended_ns - statement.started_ns
    for lock, least_ns in ((exclusive, 100_000_000), (share, 400_000_000)):
        assert lock.span_ns is not None
        start_ns, end_ns = lock.span_ns
        assert least_ns <= end_ns - start_ns <= whole_ns - 300_000_000
