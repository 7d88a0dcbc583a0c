"""What the server's counters tell of reading whole tables, and what they leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import rehearse.migrate.perform
from rehearse.engines.postgres.catalog import Catalog, RelationFacts
from rehearse.engines.postgres.probe import Counters, Held, Mark, Probe, mark_of
from rehearse.migrate.ledger import Ledger
from rehearse.model.locks import LockMode
from rehearse.model.migration import TransactionMode
from rehearse.model.relation import Relation

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

OID = 20_000
ROWS = 600_000
ORDERS = Relation("public", "orders")
BIG = RelationFacts(OID, ORDERS, "r", filenode=1, size_bytes=40_000_000, rows=ROWS)
CHECKS = """ALTER TABLE orders ALTER code SET NOT NULL; ALTER TABLE orders ADD CHECK (id > 0);
ALTER TABLE orders ALTER note SET NOT NULL;"""


def read(command: str, counters: Counters, *, workers: int = 2, facts: RelationFacts = BIG) -> bool:
    """Whether a statement that counted this is said to have read the whole table."""
    ledger = Ledger(Catalog({OID: facts}), {OID: ROWS})
    ledger.begin()
    held = Held(OID, frozenset({LockMode.ACCESS_SHARE}), counters, facts)
    probe = Probe(1, 1, 1, 0, (held,), workers=workers, parallel_from_bytes=8 << 20)
    return bool(ledger.probed(command, probe).scanned)


@pytest.mark.parametrize(
    ("counters", "workers", "whole"),
    [
        (Counters(read=234_720, begun=1), 2, True),  # as it is counted where two others helped
        (Counters(read=234_720, begun=1), 0, False),
        (Counters(read=40_000, begun=1), 2, False),
        (Counters(read=0, begun=1), 2, True),  # they were done before it had begun
        (Counters(read=0, begun=0), 2, False),
    ],
)
def test_what_parallel_workers_have_read_is_not_among_the_counters(
    counters: Counters, workers: int, whole: bool
) -> None:
    assert read("CREATE TABLE", counters, workers=workers) is whole


def test_nobody_helps_to_write_nor_to_read_a_small_table() -> None:
    third = Counters(read=ROWS // 3, begun=1)
    assert not read("UPDATE", third)
    assert not read("CREATE TABLE", third, facts=replace(BIG, size_bytes=1_000_000))


def test_where_the_server_does_not_count_it_is_said(migrate: Migrate) -> None:
    run = migrate("SET track_counts = off; ALTER TABLE orders ADD CHECK (id > 0);")
    assert [s.effects.counted for s in run.statements if s.effects] == [True, False]


@pytest.mark.parametrize("mode", list(TransactionMode))
@pytest.mark.parametrize("late_ms", [-2_000, 2_000])
def test_a_mark_that_was_served_late_makes_no_statement_shorter(
    mode: TransactionMode, late_ms: int, migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks are compared by marks, which a busy machine answers when it likes."""

    def late(row: tuple[str | None, ...]) -> Mark:
        mark = mark_of(row)
        return replace(mark, clock_us=mark.clock_us + late_ms * 1_000)

    monkeypatch.setattr(rehearse.migrate.perform, "mark_of", late)
    run = migrate(CHECKS, mode)
    times = [t for s in run.statements for t in (s.started_ns, s.ended_ns)]
    assert times == sorted(times)
    for statement in run.statements:
        assert statement.ended_ns - statement.started_ns > 20_000, "nobody reads 2,000 rows in no time"
        assert statement.effects
        assert [work.table for work in statement.effects.scanned] == [ORDERS]


def test_a_weaker_lock_taken_before_the_stronger_one_is_told_of_it(migrate: Migrate) -> None:
    run = migrate(
        """DO $$ BEGIN LOCK TABLE orders IN SHARE MODE; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE; END $$;
        LOCK TABLE orders IN SHARE MODE; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;""",
        TransactionMode.PER_FILE,
    )
    locks = [lock for s in run.statements if s.effects for lock in s.effects.locks if lock.relation == ORDERS]
    assert [(lock.mode, LockMode.SHARE in lock.weaker) for lock in locks] == [
        (LockMode.ACCESS_EXCLUSIVE, True)
    ]
    run = migrate(
        "LOCK TABLE orders IN SHARE MODE; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;",
        TransactionMode.PER_FILE,
    )
    locks = [lock for s in run.statements if s.effects for lock in s.effects.locks if lock.relation == ORDERS]
    assert [lock.weaker for lock in locks] == [(), ()], "each statement took one"
