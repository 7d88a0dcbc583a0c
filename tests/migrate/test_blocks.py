"""Blocks and procedures that commit as they go: what they did over all of their transactions is known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from conformance.row import GO, Row
from conformance.structural import Bench
from rehearse.engines.postgres.catalog import Catalog, RelationFacts
from rehearse.engines.postgres.totals import Marks, locks_behind
from rehearse.migrate.documented import locked_by_text
from rehearse.migrate.run import run_migration
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, MigrationRun, SqlFile, TableTotals, ToolSpec, TransactionMode
from rehearse.model.relation import Relation
from rehearse.model.target import Target

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

ORDERS = Relation("public", "orders")
AX, SRE = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE_ROW_EXCLUSIVE
PROCEDURE = "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ {} $$; CALL p()"


def last(run: MigrationRun) -> Effects:
    statement = run.statements[-1]
    assert statement.effects, statement.message
    return statement.effects


def totals(effects: Effects, table: Relation = ORDERS) -> TableTotals:
    return next(total for total in effects.totals if total.table == table)


def modes(effects: Effects, table: str = "orders") -> set[LockMode]:
    return {lock.mode for lock in effects.locks if lock.relation.name == table}


@pytest.mark.parametrize("form", ["DO $$ {} $$", PROCEDURE])
def test_a_scan_between_two_commits_is_counted_and_its_lock_known(form: str, migrate: Migrate) -> None:
    body = "BEGIN COMMIT; ALTER TABLE orders ALTER note SET NOT NULL; COMMIT; END"
    effects = last(migrate(form.format(body)))
    assert (totals(effects).rows, totals(effects).read, totals(effects).changed) == (2000, 2000, 0)
    assert effects.transactions == 3
    assert AX in modes(effects)
    assert not effects.scanned  # by one transaction of many: which, is not known


def test_rows_changed_and_locked_are_counted_over_all_transactions(migrate: Migrate) -> None:
    body = """DECLARE low int := 0; BEGIN WHILE low < 2000 LOOP
      PERFORM id FROM orders WHERE id > low AND id <= low + 100 FOR UPDATE;
      UPDATE orders SET note = 'x' WHERE id > low AND id <= low + 100; low := low + 100; COMMIT;
      END LOOP; END"""
    for form in ("DO $$ {} $$", PROCEDURE):
        effects = last(migrate(form.format(body)))
        assert totals(effects).changed == 2000
        assert totals(effects).locks_rows
        assert effects.loops
        assert effects.transactions == 21
        assert not effects.rows_changed
        assert AX not in modes(effects)


def test_what_parallel_workers_may_have_read_counts_as_read(migrate: Migrate) -> None:
    settings = """SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0;
      SET parallel_tuple_cost = 0; SET parallel_leader_participation = off;"""
    block = "DO $$ BEGIN COMMIT; LOCK orders; PERFORM count(*) FROM orders WHERE note > ''; COMMIT; END $$"
    effects = last(migrate(settings + block))
    assert totals(effects).read >= 1000


def test_what_only_changes_under_weaker_locks_leaves_no_mark(migrate: Migrate) -> None:
    setup = "ALTER TABLE orders ADD CONSTRAINT c CHECK (note IS NOT NULL) NOT VALID"
    body = """BEGIN ALTER TABLE orders VALIDATE CONSTRAINT c; COMMIT;
      ALTER TABLE orders SET (fillfactor = 90); COMMIT;
      ALTER TABLE orders ALTER note SET STATISTICS 500; ANALYZE orders; COMMIT; END"""
    effects = last(migrate(f"DO $$ {body} $$", setup=setup))
    assert totals(effects).read >= 2000
    assert not {mode for mode in modes(effects) if mode.strength > LockMode.SHARE_UPDATE_EXCLUSIVE.strength}


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ("CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION noop()", SRE),
        ("ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers", SRE),
        ("ALTER TABLE orders ADD CHECK (amount > 0)", AX),
        ("ALTER TABLE orders ALTER status DROP DEFAULT", AX),
        ("ALTER TABLE orders RENAME amount TO total", AX),
        ("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", AX),
        ("LOCK TABLE public.customers, ONLY Orders IN SHARE ROW EXCLUSIVE MODE NOWAIT", SRE),
        ('LOCK "orders"', AX),
    ],
)
def test_a_strong_lock_is_known_by_what_was_changed_under_it(
    change: str, mode: LockMode, migrate: Migrate
) -> None:
    effects = last(migrate(f"DO $$ BEGIN {change}; COMMIT; END $$"))
    assert mode in modes(effects)


def test_a_column_of_that_name_locks_no_table() -> None:
    catalog = Catalog({1: RelationFacts(1, ORDERS, "r")})
    assert not locked_by_text("DO $$ BEGIN UPDATE a SET lock = 1 FROM orders; COMMIT; END $$", catalog)
    assert locked_by_text("BEGIN LOCK orders; COMMIT; END", catalog) == {(1, AX)}


def test_what_is_taken_away_was_locked_against_everybody() -> None:
    before = {1: Marks("a", frozenset({"x"})), 2: Marks("a", frozenset()), 3: Marks("a", frozenset())}
    after = {1: Marks("a", frozenset()), 2: Marks("a", frozenset({"x"})), 4: Marks("a", frozenset())}
    assert locks_behind(before, after) == {(1, AX), (2, SRE)}


def test_each_is_judged_by_what_cannot_be_excluded(shop_database: Target) -> None:
    bench = Bench(shop_database)
    scan = "ALTER TABLE orders ADD CHECK (amount >= 0)"
    batches = """LOOP UPDATE orders SET note = 'x' WHERE id IN (
      SELECT id FROM orders WHERE note IS DISTINCT FROM 'x' LIMIT 10 FOR UPDATE SKIP LOCKED);
      EXIT WHEN NOT FOUND; COMMIT; END LOOP"""
    found: dict[int, set[tuple[frozenset[str], frozenset[str]]]] = {}
    for number, body in enumerate((scan, batches, f"COMMIT; {scan}", f"{batches}; {scan}; COMMIT")):
        for form in ("DO $$ BEGIN {}; END $$", f"{PROCEDURE.format('BEGIN {}; END')}"):
            executed = bench.execute(Row("B", "", form.format(body), GO))
            found.setdefault(number, set()).add((executed.failures, executed.unmeasured))
    scanned, unsure = frozenset({"scan-under-lock"}), frozenset({"scan-under-lock"})
    assert found[0] == {(scanned, frozenset())}  # one transaction, looked into
    assert found[1] == {(frozenset(), frozenset())}
    assert found[2] == found[3] == {(frozenset(), unsure)}
    for change, rule in (
        ("ALTER TABLE orders ALTER id TYPE numeric", "rewrite-under-lock"),
        ("CREATE INDEX late ON orders (amount)", "index-build-blocks-writes"),
    ):
        executed = bench.execute(Row("B", "", f"DO $$ BEGIN COMMIT; {change}; COMMIT; END $$", GO))
        assert rule in executed.failures
    bench.close()


def test_a_block_that_fails_says_why_and_keeps_what_it_has_committed(migrate: Migrate) -> None:
    run = migrate("DO $$ BEGIN UPDATE orders SET note = 'x'; COMMIT; PERFORM 1 / 0; END $$; SELECT 1")
    assert run.failed is run.statements[0]
    assert run.failed.sqlstate == "22012"


def test_a_session_that_is_lost_in_a_block_is_said_to_be(migrate: Migrate) -> None:
    run = migrate("DO $$ BEGIN COMMIT; PERFORM pg_terminate_backend(pg_backend_pid()); END $$; SELECT 1")
    assert run.failed is run.statements[0]
    assert run.failed.sqlstate == "57P01"


def test_the_same_is_known_of_a_block_that_a_tool_sends(shop: Target) -> None:
    block = "DO $$ BEGIN COMMIT; ALTER TABLE orders ALTER note SET NOT NULL; COMMIT; END $$"
    program = (
        "import os, psycopg\n"
        "with psycopg.connect(os.environ['DATABASE_URL'], autocommit=True) as c:\n"
        f"    c.execute({block!r})\n"
    )
    argv = (sys.executable, "-c", program)
    file = SqlFile("migrate", "", ToolSpec(argv))
    run = run_migration(
        shop, [file], TransactionMode.AS_WRITTEN, timeout_s=60.0, on_state=lambda _state: None
    )
    effects = next(s.effects for s in run.statements if s.command == "DO")
    assert effects
    assert totals(effects).read >= 2000
    assert AX in modes(effects)
