"""Statements that commit as they go: what they may have done under a lock is never taken for measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, Statement, TableTotals
from rehearse.model.verdict import Finding, GateStatus, Judgement, Severity, Verdict
from tests.judge.build import (
    AX,
    CUSTOMERS,
    MS,
    ORDERS,
    PRODUCTION,
    ROW_SHARE,
    ROWS,
    RX,
    START,
    S,
    lock,
    migration,
    statement,
)
from tests.judge.test_judge_projection import concluded

LOOP = "DO $$ BEGIN LOOP UPDATE orders SET a = 1 WHERE id = 1; COMMIT; END LOOP; END $$"
READ = TableTotals(ORDERS, ROWS, ROWS, 0)
CHANGED = TableTotals(ORDERS, ROWS, 0, ROWS)


def block(
    *done: TableTotals,
    held_ms: int | None = 5,
    mode: LockMode = AX,
    transactions: int | None = 60,
    loops: bool = True,
    took_s: float = 0.6,
) -> Statement:
    held = () if held_ms is None else (replace(lock(ORDERS, mode), span_ns=(START, START + held_ms * MS)),)
    effects = Effects(
        locks=(*held, lock(ORDERS, RX)),
        totals=done,
        transactions=transactions,
        loops=loops,
        longest_transaction_ns=round(took_s * S) // 60,
    )
    made = statement(LOOP, took_s=took_s, timeout_ms=9, effects=effects)
    return replace(made, command="DO", effects=effects, ended_ns=made.started_ns + round(took_s * S))


def found(judgement: Judgement, rule: str) -> list[Finding]:
    return [finding for finding in judgement.findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("done", "rule"), [(READ, "scan-under-lock"), (CHANGED, "lock-held-across-statements")]
)
def test_work_on_a_whole_table_that_may_have_been_under_a_lock_is_unmeasured(
    done: TableTotals, rule: str
) -> None:
    judgement = concluded(migration(block(done)), PRODUCTION)  # 5 ms here, 3.3 s there
    (finding,) = found(judgement, rule)
    assert finding.severity is Severity.UNMEASURED
    assert "ACCESS EXCLUSIVE on orders" in finding.message
    assert "outside of the block" in finding.advice
    assert judgement.verdict is Verdict.INCONCLUSIVE
    (held,) = [gate for gate in judgement.gates if gate.gate.startswith("blocking.projected")]
    assert held.status is GateStatus.UNMEASURED
    assert "what commits as it goes" in held.note


def test_a_backfill_in_batches_goes_on_as_long_as_the_table_has_rows() -> None:
    run = migration(block(CHANGED, held_ms=None))  # 0.6 s here
    known = dict(concluded(run, PRODUCTION).metrics)["duration.projected"]
    assert known is not None
    assert known.value == pytest.approx(0.6 * PRODUCTION / ROWS, rel=0.1)
    assert dict(concluded(run, None).metrics)["duration.projected"] is None


def test_without_production_rows_it_is_unmeasured_as_well() -> None:
    judgement = concluded(migration(block(READ)), None)
    assert {finding.severity for finding in found(judgement, "scan-under-lock")} == {Severity.UNMEASURED}


@pytest.mark.parametrize(
    "harmless",
    [
        block(READ, CHANGED, held_ms=None),  # batches: nobody waits for the lock
        block(READ, held_ms=1),  # 0.7 s in production, even if all of it went into the scan
        block(replace(READ, read=ROWS // 10)),
        block(replace(CHANGED, changed=ROWS // 50)),
        block(replace(READ, rows=500, read=500, created_here=True)),
    ],
)
def test_nothing_is_said_where_nothing_can_have_happened(harmless: Statement) -> None:
    judgement = concluded(migration(harmless), PRODUCTION)
    assert judgement.verdict is Verdict.GO, judgement.findings


def test_work_on_another_table_may_have_been_under_the_lock_as_well() -> None:
    judgement = concluded(migration(block(replace(READ, table=CUSTOMERS))), PRODUCTION)
    assert judgement.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("transactions", "loops", "took_s", "verdict"),
    [
        (2, False, 0.6, Verdict.NO_GO),  # UPDATE, COMMIT
        (2, False, 0.002, Verdict.GO),  # 0.7 s in production
        (2, True, 0.6, Verdict.INCONCLUSIVE),  # batches of a fixed size, perhaps
        (60, True, 0.6, Verdict.GO),
        (None, True, 0.6, Verdict.GO),  # judged by how long they lasted
    ],
)
def test_so_many_rows_in_so_few_transactions_are_no_batches(
    transactions: int | None, loops: bool, took_s: float, verdict: Verdict
) -> None:
    changing = block(CHANGED, held_ms=None, transactions=transactions, loops=loops, took_s=took_s)
    judgement = concluded(migration(changing), PRODUCTION)
    assert judgement.verdict is verdict, judgement.findings


def test_batches_of_some_thousand_rows_are_batches_of_a_small_table_too() -> None:
    small = TableTotals(ORDERS, 20_000, 0, 20_000)
    judgement = concluded(migration(block(small, held_ms=None, transactions=5)), PRODUCTION)
    assert judgement.verdict is Verdict.GO


def test_a_block_that_lasts_without_changing_much_is_no_long_transaction() -> None:
    waiting = block(replace(CHANGED, changed=5), held_ms=None, transactions=2, loops=False)
    assert waiting.effects
    waiting = replace(waiting, effects=replace(waiting.effects, longest_transaction_ns=500 * MS))
    assert concluded(migration(waiting), PRODUCTION).verdict is Verdict.GO


@pytest.mark.parametrize(("transactions", "verdict"), [(2, Verdict.INCONCLUSIVE), (60, Verdict.GO)])
def test_rows_that_a_block_may_have_locked_all_at_once_are_unmeasured(
    transactions: int, verdict: Verdict
) -> None:
    locking = block(
        replace(READ, locks_rows=True), mode=ROW_SHARE, transactions=transactions, loops=transactions > 2
    )
    judgement = concluded(migration(locking), PRODUCTION)
    assert judgement.verdict is verdict
    assert bool(found(judgement, "rows-locked")) == (verdict is not Verdict.GO)
