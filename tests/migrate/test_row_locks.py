"""Rows that are locked without being changed: what of them is known, and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearse.engines.postgres.split import split
from rehearse.migrate.rowlocks import rows_locked
from rehearse.model.migration import Effects, MigrationRun, SqlFile, TransactionMode
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
    few = () if run.statements[1].transaction == 0 else ((ORDERS, 1),)  # one transaction locks a table once
    assert locked(run)[:2] == [((ORDERS, 2000),), few]
    assert (ORDERS, 1500) in locked(run)[2]
    assert locked(run)[3:] == [(), (), ()]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("DO $$ BEGIN PERFORM id FROM orders FOR UPDATE; END $$", 2000),
        ("SELECT count(*) FROM (SELECT id FROM orders FOR SHARE) s", 2000),
        ("WITH all_of_them AS (SELECT id FROM orders FOR UPDATE) SELECT 1 FROM all_of_them LIMIT 1", None),
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
