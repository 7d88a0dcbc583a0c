"""A small part of a table, changed in one transaction: many rows in production, or a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.migration import Effects, Statement, TableTotals
from rehearse.model.verdict import Finding, Judgement, Severity, Verdict
from tests.judge.build import (
    ORDERS,
    PRODUCTION,
    ROWS,
    RX,
    lock,
    migration,
    quiet,
    record,
    statement,
    work,
)

RULE = "long-transaction"


def changing(text: str, rows: int, *, took_s: float = 0.25, scans: bool = False) -> Statement:
    """A statement that changes `rows` of orders, found by reading the table or through an index."""
    scanned = (work(),) if scans else ()
    effects = Effects(rows_changed=((ORDERS, rows),), scanned=scanned, wal_bytes=9)
    return statement(text, lock(ORDERS, RX), took_s=took_s, effects=effects)


def concluded(*statements: Statement, production: int | None = PRODUCTION) -> Judgement:
    run = migration(*statements)
    return judge(record(run, production=production), quiet(run))


def found(judgement: Judgement) -> list[Finding]:
    return [finding for finding in judgement.findings if finding.rule == RULE]


PART = "UPDATE orders SET code = 'x' WHERE id % 20 = 0"


def test_a_twentieth_of_the_table_is_minutes_in_production() -> None:
    judgement = concluded(changing(PART, ROWS // 20, scans=True))
    (finding,) = found(judgement)
    assert judgement.verdict is Verdict.NO_GO
    assert finding.severity is Severity.FAILURE
    assert "(5.0% of it)" in finding.message
    assert "about 10,000,000 rows" in finding.message
    assert "locked for up to 3 min" in finding.message


@pytest.mark.parametrize(
    ("rows", "took_s", "production"),
    [
        (ROWS // 20, 0.25, ROWS),  # production is no larger: a quarter of a second
        (99, 0.25, PRODUCTION),  # rows picked one by one
        (500, 0.25, 10 * ROWS),  # 5,000 rows, no more than a batch
    ],
)
def test_what_is_short_or_few_rows_in_production_may_pass(rows: int, took_s: float, production: int) -> None:
    judgement = concluded(changing(PART, rows, took_s=took_s, scans=True), production=production)
    assert all(finding.severity is Severity.WARNING for finding in found(judgement))
    assert judgement.verdict is Verdict.GO


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE orders SET a = 1 WHERE id BETWEEN 10001 AND 15000",
        'UPDATE public."orders" SET a = 1 FROM c WHERE c.o = 1 AND "orders"."id" BETWEEN 1 AND 5000',
        "UPDATE orders AS o SET a = 1 WHERE o.id > 10000 AND id <= 15000 AND (a IS NULL OR a <> 1)",
        "UPDATE orders SET a = 1 WHERE id BETWEEN $1 AND $2",
        f"DELETE FROM orders WHERE id IN ({', '.join(map(str, range(5000)))})",
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE a IS NULL LIMIT 5000)",
        "DELETE FROM orders WHERE ctid = ANY ('{\"(0,1)\"}'::tid[])",
    ],
)
def test_batches_of_a_fixed_size_pass(text: str) -> None:
    judgement = concluded(changing(text, 5000, took_s=0.05))
    assert found(judgement) == []
    assert judgement.verdict is Verdict.GO


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE orders SET a = 1 WHERE status = 'old'",
        "UPDATE orders SET a = 1 WHERE id BETWEEN 1 AND 5000 OR status = 'old'",
        "UPDATE orders SET a = (SELECT b FROM c LIMIT 1) WHERE status = 'old'",
        "UPDATE orders SET a = 1 WHERE paid BETWEEN 1 AND 5000",
        "UPDATE orders o SET a = 1 FROM customers c WHERE c.id = o.c AND c.id BETWEEN 1 AND 5000",
        "DELETE FROM orders WHERE id IN (SELECT id FROM late)",
    ],
)
def test_what_an_index_found_may_grow_or_not(text: str) -> None:
    judgement = concluded(changing(text, 5000, took_s=0.05))
    (finding,) = found(judgement)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert finding.severity is Severity.UNMEASURED
    assert "--trials scale" in finding.advice


def test_a_wide_range_is_as_many_rows_as_it_has_room_for() -> None:
    wide = "UPDATE orders SET a = 1 WHERE id BETWEEN 300000 AND 40000000"
    assert concluded(changing(wide, 5000)).verdict is Verdict.NO_GO


def test_parts_in_one_transaction_add_up() -> None:
    twice = [replace(changing(PART, 2000, took_s=0.6, scans=True), transaction=7) for _ in range(2)]
    apart = [changing(PART, 2000, took_s=0.6, scans=True) for _ in range(2)]
    assert concluded(*apart, production=3 * ROWS).verdict is Verdict.GO
    assert concluded(*twice, production=3 * ROWS).verdict is Verdict.NO_GO


@pytest.mark.parametrize(
    ("scans", "severity", "verdict"),
    [(True, Severity.UNMEASURED, Verdict.INCONCLUSIVE), (False, Severity.WARNING, Verdict.GO)],
)
def test_without_production_rows_it_says_so(scans: bool, severity: Severity, verdict: Verdict) -> None:
    judgement = concluded(changing(PART, ROWS // 20, scans=scans), production=None)
    (finding,) = found(judgement)
    assert (finding.severity, judgement.verdict) == (severity, verdict)
    assert "production rows are not given" in finding.message


@pytest.mark.parametrize(
    ("read", "loops", "verdict"),
    [(ROWS, False, Verdict.NO_GO), (9, False, Verdict.INCONCLUSIVE), (ROWS, True, Verdict.GO)],
)
def test_a_block_that_commits_once(read: int, loops: bool, verdict: Verdict) -> None:
    effects = Effects(
        totals=(TableTotals(ORDERS, ROWS, read, ROWS // 20),),
        transactions=1,
        loops=loops,
        longest_transaction_ns=40_000_000,
    )
    text = "DO $$ BEGIN UPDATE orders SET a = 1 WHERE b; COMMIT; END $$"
    judgement = concluded(statement(text, lock(ORDERS, RX), took_s=0.25, effects=effects))
    assert judgement.verdict is verdict
    assert len(found(judgement)) == (verdict is not Verdict.GO)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("INSERT INTO orders SELECT * FROM old_orders", Verdict.GO),
        ("INSERT INTO orders SELECT * FROM o ON CONFLICT (id) DO UPDATE SET a = 1", Verdict.NO_GO),
    ],
)
def test_rows_that_are_new_are_in_nobodys_way(text: str, verdict: Verdict) -> None:
    judgement = concluded(changing(text, ROWS))
    (finding,) = found(judgement)
    assert judgement.verdict is verdict
    assert ("adds 300,000 rows to orders" in finding.message) is (verdict is Verdict.GO)
    assert ("keeps them locked" in finding.message) is (verdict is Verdict.NO_GO)


def test_rows_of_a_materialized_view_are_in_nobody_s_way() -> None:
    refresh = "REFRESH MATERIALIZED VIEW CONCURRENTLY orders"
    assert found(concluded(changing(refresh, ROWS // 2, scans=True))) == []
