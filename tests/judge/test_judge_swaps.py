"""A copy takes a table's place: whether what the application changed meanwhile is in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.migration import Effects, RelationChange, Statement
from rehearse.model.record import RunRecord, ScriptInfo
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity
from tests.judge.build import (
    AS,
    AX,
    ORDERS,
    READ,
    ROWS,
    RX,
    SRE,
    WRITE,
    lock,
    migration,
    quiet,
    record,
    statement,
)

NEW = Relation("public", "orders_new")
GONE = Effects(relations=(RelationChange(ORDERS, "renamed", after="orders_old", rows=ROWS),))


def copy(transaction: int = 0, rows: int = ROWS) -> Statement:
    effects = Effects(rows_changed=((NEW, rows),))
    return statement(
        "INSERT INTO orders_new SELECT * FROM orders",
        lock(ORDERS, AS),
        lock(NEW, RX, created_here=True),
        effects=effects,
        transaction=transaction,
    )


def swap(transaction: int = 1) -> Statement:
    return statement(
        "ALTER TABLE orders RENAME TO orders_old", lock(ORDERS, AX), effects=GONE, transaction=transaction
    )


def trigger(events: str = "UPDATE") -> Statement:
    text = f"CREATE TRIGGER both AFTER {events} ON orders FOR EACH ROW EXECUTE FUNCTION both()"
    return statement(text, lock(ORDERS, SRE), transaction=9)


def told(
    *statements: Statement, writes: str = "UPDATE orders SET status = $1 WHERE id = $2"
) -> list[Finding]:
    run = migration(*statements)
    made: RunRecord = record(run)
    scripts = (ScriptInfo(READ, 5, ("SELECT id FROM orders",)), ScriptInfo(WRITE, 5, (writes,)))
    findings = judge(replace(made, scripts=scripts), quiet(run)).findings
    return [found for found in findings if found.subject == "orders (changed meanwhile)"]


@pytest.mark.parametrize(
    "writes",
    [
        "UPDATE orders SET status = $1 WHERE id = $2",
        'delete from only public."orders" where id = $1',
        "INSERT INTO orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET status = 'x'",
        "UPDATE LOW_PRIORITY `orders` SET status = ? WHERE id = ?",
        "DELETE FROM `shop`.`orders` WHERE id = ?",
        "REPLACE INTO orders (id, status) VALUES (?, ?)",
        "INSERT IGNORE INTO `orders` (id) VALUES (?) ON DUPLICATE KEY UPDATE status = 'x'",
    ],
)
def test_changes_between_copy_and_swap_are_unmeasured(writes: str) -> None:
    (found,) = told(copy(), swap(), writes=writes)
    assert (found.rule, found.severity, found.statement) == ("data-loss", Severity.UNMEASURED, 1)


@pytest.mark.parametrize(
    "writes", ["INSERT INTO orders (id) VALUES ($1)", "UPDATE orders_seen SET n = 1", "SELECT 1 FROM orders"]
)
def test_where_nothing_is_changed_nothing_is_at_stake(writes: str) -> None:
    assert not told(copy(), swap(), writes=writes)


def test_a_lock_from_before_the_copy_to_the_swap_keeps_changes_out() -> None:
    locked = statement("LOCK TABLE orders", lock(ORDERS, SRE), transaction=0)
    assert not told(locked, copy(), swap(0))
    assert told(copy(), locked, swap(0)), "it came after the copy"
    assert told(locked, copy(1), swap(1)), "it ended before the copy"


def test_a_trigger_made_before_the_copy_carries_them_over() -> None:
    assert not told(trigger(), copy(), swap())
    assert told(copy(), trigger(), swap())


def test_a_table_made_beside_it_is_no_copy() -> None:
    assert not told(copy(rows=ROWS // 10), swap())
    assert not told(swap())


@pytest.mark.parametrize(
    ("events", "writes", "carried"),
    [
        ("INSERT", "UPDATE orders SET status = $1 WHERE id = $2", False),
        ("INSERT OR UPDATE OF status", "UPDATE orders SET status = $1 WHERE id = $2", True),
        ("UPDATE OF note", "UPDATE orders SET status = $1 WHERE note = $2", False),
        ('UPDATE OF note, "status" OR INSERT', "UPDATE orders SET (at, status) = (now(), $1)", True),
        ("UPDATE", "DELETE FROM orders WHERE id = $1", False),
        ("UPDATE OR DELETE", "DELETE FROM orders WHERE id = $1", True),
        ("DELETE", "DELETE FROM orders WHERE id = $1", True),
        ("DELETE", "INSERT INTO orders VALUES ($1) ON CONFLICT (id) DO UPDATE SET status = 'x'", False),
    ],
)
def test_a_trigger_carries_only_what_it_fires_for(events: str, writes: str, carried: bool) -> None:
    swap = statement("ALTER TABLE orders RENAME TO orders_old", lock(ORDERS, AX), transaction=2, effects=GONE)
    assert (told(trigger(events), copy(1), swap, writes=writes) == []) is carried


@pytest.mark.parametrize(
    "text",
    [
        'DROP TRIGGER IF EXISTS "both" ON orders',
        "DROP FUNCTION both() CASCADE",
        "ALTER TABLE orders DISABLE TRIGGER both",
        "ALTER TABLE orders DISABLE TRIGGER ALL",
    ],
)
def test_a_trigger_carries_nothing_over_after_it_is_gone(text: str) -> None:
    gone = statement(text, lock(ORDERS, AX), transaction=5)
    assert told(trigger(), copy(), gone, swap())
    assert not told(trigger(), copy(), swap(), gone), "the copy had taken the place by then"
    assert not told(gone, trigger(), copy(), swap()), "it was made anew"
    with_the_swap = statement(text, lock(ORDERS, AX), transaction=1)
    assert not told(trigger(), copy(), with_the_swap, swap(1)), "the lock keeps changes out"
    other = statement("DROP TRIGGER other ON orders", lock(ORDERS, AX), transaction=5)
    assert not told(trigger(), copy(), other, swap())


@pytest.mark.parametrize(
    ("condition", "carried"),
    [
        ("NEW.status = 'open'", False),
        ("OLD.* IS DISTINCT FROM NEW.*", True),
        ("OLD.* IS DISTINCT FROM NEW.* AND NEW.id > 5", False),
        ("pg_trigger_depth() = 0", True),
    ],
)
def test_a_trigger_with_a_condition_carries_over_only_what_meets_it(condition: str, carried: bool) -> None:
    text = f"CREATE TRIGGER both AFTER UPDATE ON orders FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION f()"
    made = statement(text, lock(ORDERS, SRE), transaction=9)
    assert (told(made, copy(), swap()) == []) is carried


def test_what_a_trigger_does_is_not_what_it_fires_for() -> None:
    text = "CREATE TRIGGER both AFTER INSERT ON orders FOR EACH ROW UPDATE totals SET n = n + 1"
    assert told(statement(text, lock(ORDERS, SRE), transaction=9), copy(), swap())


@pytest.mark.parametrize(
    ("body", "carried"),
    [
        ("RETURN NULL; -- INSERT INTO orders_new", False),
        ("IF TG_OP = 'UPDATE' THEN RETURN NULL; END IF; RETURN NULL;", False),
        ("UPDATE orders_new SET status = NEW.status WHERE id = NEW.id; RETURN NULL;", True),
    ],
)
def test_a_trigger_whose_function_is_emptied_carries_nothing_over(body: str, carried: bool) -> None:
    text = f"CREATE OR REPLACE FUNCTION public.both() RETURNS trigger AS $$ BEGIN {body}\nEND $$"
    emptied = statement(text, transaction=5)
    assert (told(trigger(), copy(), emptied, swap()) == []) is carried
    assert not told(trigger(), copy(), swap(), emptied), "the copy had taken the place by then"
    assert not told(trigger(), copy(), statement(text.replace("both", "other"), transaction=5), swap())
