"""Few rows that stay locked for long are told, batches that do not are not, and many of one kind once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.migration import Effects, Statement, TableTotals
from rehearse.model.verdict import Finding, Judgement, Severity, Verdict
from tests.judge.build import (
    AUDIT,
    ORDERS,
    PRODUCTION,
    ROWS,
    RX,
    SUE,
    lock,
    migration,
    quiet,
    record,
    statement,
    work,
)


def changing(text: str, rows: int, *, took_s: float = 0.01, transaction: int = -1) -> Statement:
    effects = Effects(rows_changed=((ORDERS, rows),), wal_bytes=9)
    return statement(text, lock(ORDERS, RX), took_s=took_s, transaction=transaction, effects=effects)


def pause(took_s: float) -> Statement:
    return statement(f"SELECT pg_sleep({took_s})", took_s=took_s, transaction=7)


def concluded(*statements: Statement, production: int | None = PRODUCTION) -> Judgement:
    run = migration(*statements)
    return judge(record(run, production=production), quiet(run))


def found(judgement: Judgement) -> list[Finding]:
    return [finding for finding in judgement.findings if finding.rule == "long-transaction"]


THREE = changing("UPDATE orders SET a = 1 WHERE id IN (1, 2, 3)", 3, transaction=7)


@pytest.mark.parametrize("production", [PRODUCTION, None])
def test_three_rows_that_stay_locked_behind_a_pause_are_a_warning(production: int | None) -> None:
    judgement = concluded(THREE, pause(8), production=production)
    (finding,) = found(judgement)
    assert judgement.verdict is Verdict.GO
    assert finding.severity is Severity.WARNING
    assert "locks 3 rows of orders" in finding.message
    assert "keeps them locked for 8.01 s" in finding.message
    assert found(concluded(THREE, pause(0.5), production=production)) == []


def test_rows_locked_without_a_change_count_as_well() -> None:
    locked = replace(THREE, text="SELECT * FROM orders WHERE id < 4 FOR UPDATE", command="SELECT")
    effects = Effects(locks=(lock(ORDERS, RX),), rows_locked=((ORDERS, 3),))
    assert len(found(concluded(replace(locked, effects=effects), pause(8)))) == 1


def test_work_behind_the_rows_counts_as_long_as_it_takes_in_production() -> None:
    effects = Effects(scanned=(work(AUDIT),), wal_bytes=9)
    validated = statement(
        "ALTER TABLE audit VALIDATE CONSTRAINT c",
        lock(AUDIT, SUE),
        took_s=0.1,
        transaction=7,
        effects=effects,
    )
    (finding,) = found(concluded(THREE, validated))
    assert "up to 66.7 s at production size, 110 ms here" in finding.message
    assert found(concluded(THREE, validated, production=ROWS)) == []


def test_new_rows_lock_nobody_out_but_those_that_a_trigger_changes_do() -> None:
    added = changing("INSERT INTO orders VALUES (1)", 1, transaction=7)
    assert found(concluded(added, pause(8))) == []
    by_trigger = replace(added, text="INSERT INTO audit VALUES (1)")
    assert by_trigger.effects is not None
    changed = replace(by_trigger.effects, rows_changed=((AUDIT, 1), (ORDERS, 1)))
    assert len(found(concluded(replace(by_trigger, effects=changed), pause(8)))) == 1


def test_a_block_that_commits_is_judged_by_its_longest_transaction() -> None:
    totals = (TableTotals(ORDERS, ROWS, read=30, changed=30),)
    for longest_s, told in ((2, 1), (0.4, 0)):
        effects = Effects(longest_transaction_ns=round(longest_s * 1e9), totals=totals, transactions=10)
        block = statement("DO $$ BEGIN ... END $$", lock(ORDERS, RX), took_s=6, effects=effects)
        assert len(found(concluded(block))) == told


def test_long_batches_are_told_once_and_counted_and_short_ones_are_not_told() -> None:
    text = "UPDATE orders SET a = 1 WHERE id BETWEEN {} AND {}"
    batches = [text.format(n * 1000 + 1, n * 1000 + 1000) for n in range(5)]
    assert found(concluded(*(changing(batch, 1000, took_s=0.1) for batch in batches))) == []
    (finding,) = found(concluded(*(changing(batch, 1000, took_s=1.5) for batch in batches)))
    assert finding.severity is Severity.WARNING
    assert any("4 other transactions" in line for line in finding.evidence)


def small(*statements: Statement) -> Judgement:
    """Of 2,000 rows rehearsed."""
    run = migration(*statements)
    made = record(run)
    tables = tuple(replace(table, rows=2000) for table in made.tables)
    return judge(replace(made, tables=tables), quiet(run))


def test_batches_of_a_fixed_size_pass_however_small_the_rehearsed_table_is() -> None:
    text = "UPDATE orders SET a = 1 WHERE id BETWEEN {} AND {}"
    halves = [changing(text.format(n * 1000 + 1, n * 1000 + 1000), 1000) for n in range(2)]
    assert found(small(*halves)) == []
    assert small(*halves).verdict is Verdict.GO
    locking = Effects(rows_locked=((ORDERS, 1000),))
    locked = [
        replace(
            half, text=half.text.replace("UPDATE orders SET a = 1", "SELECT 1 FROM orders"), command="SELECT"
        )
        for half in halves
    ]
    locked = [replace(half, effects=locking) for half in locked]
    assert not any(finding.rule == "rows-locked" for finding in small(*locked).findings)
    assert any(finding.rule == "rows-locked" for finding in small(locked[0]).findings)
    (once,) = found(small(halves[0]))
    assert once.severity is Severity.FAILURE  # nothing says that another one comes


@pytest.mark.parametrize(("batches", "verdict"), [(2, Verdict.NO_GO), (4, Verdict.GO)])
def test_two_statements_with_parameters_may_be_two_halves(batches: int, verdict: Verdict) -> None:
    text = "UPDATE orders SET a = 1 WHERE id BETWEEN $1 AND $2"
    assert small(*(changing(text, 2000 // batches) for _ in range(batches))).verdict is verdict


def test_batches_of_no_known_size_are_one_finding_that_counts_them() -> None:
    text = "UPDATE orders SET a = 1 WHERE region = '{}'"
    judgement = small(*(changing(text.format(n), 500) for n in range(4)))
    (finding,) = found(judgement)
    assert judgement.verdict is Verdict.NO_GO
    assert any("3 other transactions" in line for line in finding.evidence)
