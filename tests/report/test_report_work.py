"""The words for what was seen of a migration from outside: chains of waits, phases, retries, files."""

from __future__ import annotations

from dataclasses import replace

from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    MigrationRun,
    SessionWork,
    Statement,
    StatementOutcome,
    TransactionMode,
    TransactionSpan,
    WorkPhase,
)
from rehearse.model.relation import Relation
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.report.work import cost_lines, effect_lines, held_ns, wait_groups

MS = 1_000_000
ORDERS = Relation("public", "orders")
READER = Party(1, Role.ADVERSARY, label="long-reader")
MIGRATION = Party(2, Role.MIGRATION, statement=0)
VICTIM = Party(3, Role.TRAFFIC, script="read_order")
LATE = Party(4, Role.TRAFFIC, script="place_order")


def wait(waiter: Party, mode: LockMode, first_ms: int, *blockers: Blocker) -> LockWait:
    return LockWait(waiter, blockers, "relation", mode, ORDERS, first_ms * MS, 900 * MS)


def test_the_tree_above_a_wait_goes_to_the_one_that_waits_for_nobody() -> None:
    queued = Blocker(MIGRATION, LockMode.ACCESS_EXCLUSIVE, queued=True)
    waits = [
        wait(MIGRATION, LockMode.ACCESS_EXCLUSIVE, 0, Blocker(READER, LockMode.ACCESS_SHARE, queued=False)),
        wait(VICTIM, LockMode.ACCESS_SHARE, 100, queued),
        wait(LATE, LockMode.ROW_EXCLUSIVE, 200, Blocker(VICTIM, LockMode.ROW_SHARE, queued=True)),
    ]
    own, first, second = wait_groups(waits)
    top = "the migration waits for ACCESS EXCLUSIVE on orders behind long-reader (ACCESS SHARE)"
    assert own.chain == ()
    assert first.chain == (top,)
    assert second.chain == (
        "read_order waits for ACCESS SHARE on orders behind the migration (queued for ACCESS EXCLUSIVE)",
        top,
    )
    in_a_ring = [wait(VICTIM, LockMode.SHARE, 0, Blocker(LATE, None, queued=False))]
    in_a_ring.append(wait(LATE, LockMode.SHARE, 0, Blocker(VICTIM, None, queued=False)))
    assert {len(group.chain) for group in wait_groups(in_a_ring)} == {1}


def test_phases_retries_and_files_have_their_lines() -> None:
    statement = Statement(0, "X", "up.sql", 1, "CREATE INDEX", 0, 0, 900 * MS, StatementOutcome.OK)
    phase = WorkPhase(0, "CREATE INDEX", ORDERS, "building index: loading tuples", 100 * MS, 600 * MS, 3, 4)
    statement = replace(statement, effects=Effects(), retries=3, retried_ns=150 * MS, phases=(phase,))
    first, second = effect_lines(statement)
    assert first.startswith("CREATE INDEX of orders: building index: loading tuples, for at least 500 ms")
    assert first.endswith(", 75 % done when last seen")
    assert second == "asked for a lock again after waiting in vain, 3 times at least: at least 150 ms lost"
    work = SessionWork(2, 5 * 1024**2, 1024**2, 8 * 1024**2, own=True)
    span = TransactionSpan(0, 0, 900 * MS, committed=True, work=work)
    run = MigrationRun(TransactionMode.AS_WRITTEN, 0, 900 * MS, (statement,), (span,))
    assert cost_lines(run, statement) == (
        "wrote 2 temporary files, 5 MiB (all sessions of the database)",
        "it read 1 MiB of blocks from files and wrote 8 MiB of them back",
    )
    shared = replace(span, work=replace(work, temp_files=0, written_bytes=None, own=False))
    assert cost_lines(replace(run, transactions=(shared,)), statement) == (
        "read 1 MiB of blocks from files (all sessions of the database)",
    )


def test_locks_are_held_from_when_they_were_had_to_the_end_of_the_transaction() -> None:
    held = HeldLock(ORDERS, LockMode.SHARE, "table", ORDERS)
    statement = Statement(0, "X", "up.sql", 1, "X", 0, 0, 900 * MS, StatementOutcome.OK, waited_ns=200 * MS)
    locking = replace(statement, effects=Effects(locks=(held,)))
    span = TransactionSpan(0, 0, 5000 * MS, committed=True)
    run = MigrationRun(TransactionMode.PER_FILE, 0, 5000 * MS, (locking,), (span,))
    assert held_ns(run, locking) == 4800 * MS
    assert held_ns(run, replace(statement, effects=Effects())) is None
    short = replace(held, span_ns=(100 * MS, 130 * MS))  # in a block that commits as it goes
    assert held_ns(run, replace(statement, effects=Effects(locks=(short,)))) == 30 * MS
