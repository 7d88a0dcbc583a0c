"""Traffic that waited for rows which the migration had written, and had not committed yet."""

from __future__ import annotations

from rehearse.judge.judge import judge
from rehearse.model.migration import Effects, TableTotals
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding
from rehearse.model.waits import Blocker, LockWait, Party, Role
from tests.judge.build import (
    MS,
    ORDERS,
    RX,
    START,
    WRITE,
    S,
    lock,
    migration,
    queued,
    record,
    statement,
    with_trial,
)

LINES = Relation("public", "lines")
LOOP = "DO $$ BEGIN LOOP UPDATE orders SET note = '' WHERE id > 1; COMMIT; END LOOP; END $$"


def late(lock_type: str, *, transactions: int | None = 20) -> Finding:
    """What the judge says of the response times beside batches that are too large."""
    totals = (TableTotals(ORDERS, 2_000_000, 0, 100_000), TableTotals(LINES, 9, 0, 90))
    effects = Effects(totals=totals, transactions=transactions, longest_transaction_ns=S, loops=True)
    run = migration(statement(LOOP, lock(ORDERS, RX), took_s=3, timeout_ms=9, effects=effects))
    wait = LockWait(
        Party(9, Role.TRAFFIC, WRITE),
        (Blocker(Party(1, Role.MIGRATION, statement=0), RX, False),),
        lock_type,
        None,
        ORDERS,
        START + 50 * MS,
        START + 1950 * MS,
    )
    judgement = judge(with_trial(record(run), waits=(wait,)), queued(run))
    return next(finding for finding in judgement.findings if finding.rule == "latency")


def test_smaller_batches_are_advised() -> None:
    advice = late("transactionid").advice
    assert advice.startswith("Change fewer rows in a transaction: ")
    assert "wrote about 5,000 rows of orders in each, and kept each locked for up to 1 s" in advice
    assert "Some 500 rows take a tenth of a second" in advice
    assert "about" not in late("tuple", transactions=None).advice


def test_nobody_waited_for_a_row() -> None:
    assert "Change fewer rows" not in late("relation").advice
