"""What a migration costs in files, and what it leaves: temporary files, blocks, sizes, dead rows."""

from __future__ import annotations

from collections.abc import Callable

from rehearse.model.migration import MigrationRun, TransactionMode
from rehearse.model.relation import Relation

Migrate = Callable[..., MigrationRun]

WIDE = """CREATE TABLE wide AS
  SELECT g AS id, md5(g::text) AS a, md5((-g)::text) AS b FROM generate_series(1, 60000) g"""
SORTS = """
SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 0;
CREATE INDEX wide_a ON wide (a, b);
UPDATE wide SET id = -id WHERE id <= 1000;
DROP TABLE customers;
"""


def test_temporary_files_blocks_sizes_and_dead_rows(migrate: Migrate) -> None:
    run = migrate(SORTS, setup=WIDE)
    by_command = {s.command: run.transactions[s.transaction].work for s in run.statements}
    index, update = by_command["CREATE INDEX"], by_command["UPDATE"]
    assert index is not None
    assert update is not None
    assert index.temp_files >= 1
    assert index.temp_bytes > 3_000_000
    assert index.own  # the embedded server keeps a session's own count
    assert index.written_bytes is not None
    assert update.temp_files == 0
    left = {one.relation.name: one for one in run.aftermath}
    assert left["wide_a"].before_bytes is None
    assert (left["wide_a"].after_bytes or 0) > 4_000_000
    assert left["wide"].dead_rows == 1000
    assert (left["customers"].before_bytes or 0) > 0
    assert left["customers"].after_bytes is None
    assert Relation("public", "parts_1") not in {one.relation for one in run.aftermath}


def test_what_is_made_anew_lies_beside_its_old_file(migrate: Migrate) -> None:
    indexes = "CREATE INDEX wide_id ON wide (id); CREATE INDEX wide_b ON wide (b)"
    run = migrate(
        "ALTER TABLE wide ALTER COLUMN id TYPE bigint; REINDEX INDEX CONCURRENTLY wide_b;",
        setup=f"DROP TABLE IF EXISTS wide; {WIDE}; {indexes}",
    )
    left = {one.relation.name: one for one in run.aftermath}
    assert len(left) == len(run.aftermath)  # an index that was swapped is told once
    for name in ("wide", "wide_id", "wide_b"):
        one = left[name]
        assert one.before_bytes
        assert one.after_bytes
        assert one.peak_bytes == one.before_bytes + one.after_bytes


def test_a_transaction_of_several_statements_is_accounted_for_as_a_whole(migrate: Migrate) -> None:
    text = "SET maintenance_work_mem = '1MB'; CREATE INDEX wide_a ON wide (a, b); SELECT 1;"
    for mode in (TransactionMode.PER_FILE, TransactionMode.SINGLE_QUERY):
        run = migrate(text, mode, setup=f"DROP TABLE IF EXISTS wide; {WIDE}")
        (span,) = run.transactions
        assert span.work is not None
        assert span.work.temp_files >= 1
