"""Rows that are locked without being changed: what of them is known, and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearse.engines.postgres.split import split
from rehearse.migrate.rowlocks import rows_locked
from rehearse.model.migration import Effects, MigrationRun, SqlFile, TableWork, TransactionMode
from rehearse.model.relation import Relation

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

ORDERS, CUSTOMERS = Relation("public", "orders"), Relation("public", "customers")


def locked(run: MigrationRun) -> list[tuple[tuple[Relation, int], ...]]:
    return [s.effects.rows_locked for s in run.statements if s.effects]


@pytest.mark.parametrize("mode", list(TransactionMode))
def test_a_select_for_update_locks_the_rows_that_it_returns(mode: TransactionMode, migrate: Migrate) -> None:
    run = migrate(
        """SELECT id FROM orders FOR UPDATE; SELECT id FROM orders WHERE note = 'n7' FOR NO KEY UPDATE;
        SELECT o.id FROM orders o JOIN customers c USING (id) WHERE o.id <= 1500 FOR SHARE OF o;
        SELECT id FROM orders; SELECT id FROM orders FOR KEY SHARE; SELECT 'x' AS "for", id FROM orders;""",
        mode,
    )
    assert locked(run)[:2] == [((ORDERS, 2000),), ((ORDERS, 1),)]
    assert (ORDERS, 1500) in locked(run)[2]
    assert locked(run)[3:] == [(), (), ()]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("DO $$ BEGIN PERFORM id FROM orders FOR UPDATE; END $$", 2000),
        ("SELECT count(*) FROM (SELECT id FROM orders FOR SHARE) s", 2000),
        ("WITH all_of_them AS (SELECT id FROM orders FOR UPDATE) SELECT 1 FROM all_of_them LIMIT 1", 1),
        ("DO $$ BEGIN PERFORM id FROM orders WHERE amount = 7 FOR UPDATE; END $$", 500),
        ("DO $$ BEGIN PERFORM id FROM orders; END $$", None),
    ],
)
def test_inside_it_locks_no_more_than_it_read_and_wrote_log_for(
    text: str, most: int | None, migrate: Migrate
) -> None:
    """Warmed up, so that no whole pages are written to the log, nor hint bits set."""
    run = migrate("CHECKPOINT; UPDATE orders SET status = 'old'; SELECT count(*) FROM orders; " + text)
    found = dict(locked(run)[-1])
    if most == 2000:
        assert found == {ORDERS: 2000}
    else:
        assert found.get(ORDERS, 0) <= (most or 0)


def test_the_second_one_of_a_transaction_counts_as_well(migrate: Migrate) -> None:
    run = migrate(
        """BEGIN; SELECT id FROM orders WHERE id = 7 FOR UPDATE;
        SET LOCAL enable_seqscan = off; SELECT id FROM orders WHERE id <= 1500 FOR UPDATE;
        SELECT id FROM orders WHERE id <= 1500; COMMIT;"""
    )
    found = dict(zip([s.text for s in run.statements], locked(run), strict=True))
    assert [found[s.text] for s in run.statements if s.command == "SELECT"] == [
        ((ORDERS, 1),),
        ((ORDERS, 1500),),
        (),
    ]


FUNCTIONS = """
CREATE FUNCTION inner_one() RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN PERFORM id FROM orders FOR UPDATE; RETURN 1; END $$;
CREATE FUNCTION "Outer"() RETURNS bigint LANGUAGE sql AS $$ SELECT inner_one() $$;
CREATE FUNCTION harmless() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM orders $$;
"""


def test_rows_that_a_called_function_locks_are_counted(migrate: Migrate) -> None:
    calls = ('SELECT "Outer"()', "DO $$ BEGIN PERFORM inner_one(); END $$", "SELECT harmless()")
    assert locked(migrate(";".join(calls), setup=FUNCTIONS)) == [((ORDERS, 2000),), ((ORDERS, 2000),), ()]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE POLICY p ON orders FOR UPDATE USING (true)",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT id FROM orders FOR UPDATE $$",
        "DO $$ BEGIN RAISE NOTICE 'unterminated; END $$",
    ],
)
def test_other_statements_lock_no_rows(text: str) -> None:
    (statement,) = split(SqlFile("up.sql", text))
    assert rows_locked(statement, "", Effects()) == ()


def test_rows_that_were_fetched_piece_by_piece_are_not_none() -> None:
    """The server says how many there were only of what is fetched at once."""
    (statement,) = split(SqlFile("up.sql", "SELECT id FROM orders FOR UPDATE"))
    work = TableWork(ORDERS, 2000, 1 << 20)
    assert rows_locked(statement, "", Effects(scanned=(work,))) == ((ORDERS, 2000),)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("UPDATE orders SET x = 1 WHERE id IN (SELECT id FROM orders LIMIT 60 FOR UPDATE SKIP LOCKED)", 60),
        ("WITH b AS (SELECT id FROM orders LIMIT 50 FOR UPDATE) DELETE FROM orders USING b WHERE true", 50),
        ("UPDATE orders SET x = 1 WHERE id IN (SELECT id FROM orders FOR UPDATE)", 2000),
        ("UPDATE orders o SET x = (SELECT 1 FROM orders p WHERE p.id = o.id LIMIT 1 FOR UPDATE)", 2000),
    ],
)
def test_a_batch_locks_no_more_than_its_limit(text: str, rows: int) -> None:
    (statement,) = split(SqlFile("up.sql", text))
    work = TableWork(ORDERS, 2000, 1 << 20)
    found = rows_locked(statement, "UPDATE 60", Effects(scanned=(work,), wal_bytes=1 << 20))
    assert found == ((ORDERS, rows),)


def test_rows_that_are_fetched_through_a_cursor_stay_locked_and_add_up(migrate: Migrate) -> None:
    """Sorting reads the table at the first FETCH, and none of it afterwards."""
    run = migrate(
        """BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT id FROM orders ORDER BY note FOR UPDATE;
        FETCH 10 FROM "c"; FETCH FORWARD 500 IN c; MOVE ALL c; FETCH NEXT FROM c;
        DECLARE d CURSOR FOR SELECT id FROM orders; FETCH ALL FROM d; COMMIT;"""
    )
    found = [(s.command, dict(s.effects.rows_locked)) for s in run.statements if s.effects]
    fetched = [rows.get(ORDERS, 0) for command, rows in found if command in ("FETCH", "MOVE")]
    assert fetched == [10, 510, 2000, 2000, 0]
    assert not any(rows for command, rows in found if command == "DECLARE")


TRIGGER = """
CREATE FUNCTION lock_orders() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM id FROM orders FOR UPDATE; RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE ON customers FOR EACH STATEMENT EXECUTE FUNCTION lock_orders();
"""


@pytest.mark.parametrize("before", [True, False], ids=["there before", "made in the transaction"])
def test_rows_that_a_trigger_locks_are_counted(before: bool, migrate: Migrate) -> None:
    change = "UPDATE customers SET name = 'x' WHERE id = 1;"
    run = migrate(f"BEGIN; {'' if before else TRIGGER} {change} COMMIT;", setup=TRIGGER if before else "")
    assert dict(
        next(s.effects for s in run.statements if s.effects and s.command == "UPDATE").rows_locked
    ) == {ORDERS: 2000}


@pytest.mark.parametrize(
    "body",
    ["$$ BEGIN PERFORM id FROM orders FOR UPDATE; END $$", "'BEGIN PERFORM id FROM orders FOR UPDATE; END'"],
)
def test_a_function_made_in_the_same_transaction_is_known_by_its_text(body: str, migrate: Migrate) -> None:
    run = migrate(
        f"BEGIN; CREATE OR REPLACE FUNCTION public.lock_all() RETURNS void LANGUAGE plpgsql AS {body};"
        "SELECT lock_all(); COMMIT;"
    )
    assert ((ORDERS, 2000),) in locked(run)


@pytest.mark.parametrize("made", ["{}", "EXECUTE format($f$ {} $f$)"], ids=["as it is", "executed"])
def test_what_a_block_made_in_the_same_transaction_is_known_by_its_text(made: str, migrate: Migrate) -> None:
    function = (
        "CREATE FUNCTION lock_all() RETURNS trigger LANGUAGE plpgsql AS "
        "$g$ BEGIN PERFORM id FROM orders FOR UPDATE; RETURN NULL; END $g$"
    )
    trigger = "CREATE TRIGGER t AFTER UPDATE ON customers EXECUTE FUNCTION lock_all()"
    run = migrate(
        f"BEGIN; DO $$ BEGIN {made.format(function)}; {made.format(trigger)}; END $$;"
        "UPDATE customers SET name = 'x' WHERE id = 1; COMMIT;"
    )
    changed = next(s.effects for s in run.statements if s.effects and s.command == "UPDATE")
    assert dict(changed.rows_locked) == {ORDERS: 2000}


def test_statements_that_a_block_puts_together_are_read_too(migrate: Migrate) -> None:
    execute = "DO $$ BEGIN EXECUTE format('SELECT id FROM %I FOR UPDATE', 'orders'); END $$;"
    note = "SELECT 'seen FOR UPDATE', count(*) FROM orders WHERE id IN (SELECT id FROM orders FOR KEY SHARE);"
    found = locked(migrate(execute + note))
    assert found == [((ORDERS, 2000),), ()]


def test_a_block_that_commits_is_read_with_what_it_calls(migrate: Migrate) -> None:
    run = migrate("DO $$ BEGIN PERFORM inner_one(); COMMIT; END $$;", setup=FUNCTIONS)
    (effects,) = (s.effects for s in run.statements if s.effects)
    assert [total.table for total in effects.totals if total.locks_rows] == [ORDERS]


def test_a_prepared_statement_locks_what_its_query_does(migrate: Migrate) -> None:
    run = migrate(
        """PREPARE part (int) AS SELECT id FROM orders WHERE id <= $1 FOR UPDATE; EXECUTE part (700);
        PREPARE seen AS SELECT count(*) FROM orders; EXECUTE seen;"""
    )
    executed = [s.effects.rows_locked for s in run.statements if s.effects and s.command == "EXECUTE"]
    assert executed == [((ORDERS, 700),), ()]
