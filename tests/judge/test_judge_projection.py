"""Work that grows with the table, at production size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.judge import judge
from rehearse.judge.projection import Work, WorkKind, growth_of, may_grow_to
from rehearse.model.migration import Effects, MigrationRun, Statement
from rehearse.model.record import TableFacts
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Judgement, Severity, Verdict
from tests.judge.build import (
    AUDIT,
    AX,
    CUSTOMERS,
    ORDERS,
    PRODUCTION,
    ROWS,
    RX,
    SHARE,
    SRE,
    S,
    build,
    gate,
    lock,
    migration,
    quiet,
    record,
    statement,
    tables,
    work,
)

ADD = statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=1, timeout_ms=9)
UPDATE = statement(
    "UPDATE orders SET a = 1",
    lock(ORDERS, RX),
    transaction=1,
    took_s=0.3,
    effects=Effects(rows_changed=((ORDERS, ROWS),), wal_bytes=9),
)


def rewriting(took_s: float = 0.3, rows: int = ROWS) -> Statement:
    return statement(
        "ALTER TABLE orders ALTER COLUMN amount TYPE numeric(20,4)",
        lock(ORDERS, AX),
        took_s=took_s,
        timeout_ms=9,
        effects=Effects(rewritten=(work(rows=rows),), wal_bytes=9),
    )


def concluded(run: MigrationRun, production: int | None, limit_s: float = 1.0) -> Judgement:
    """Judged by the budget alone."""
    gates = (gate("blocking.projected", "<=", limit_s),)
    return judge(record(run, production=production, gates=gates), quiet(run))


def one(judgement: Judgement, rule: str) -> Finding:
    (found,) = [f for f in judgement.findings if f.rule == rule]
    return found


@given(st.integers(2, 10**7), st.integers(2, 10**10))
@settings(deadline=None)
def test_growth_is_linear_and_n_log_n_where_rows_are_sorted(rows: int, production: int) -> None:
    facts = TableFacts(ORDERS, rows, 1, 1, production)
    assert growth_of(facts) == production / rows
    sorting = growth_of(facts, sorting=True)
    assert sorting == pytest.approx(production * math.log(production) / (rows * math.log(rows)))


def test_growth_that_nobody_knows() -> None:
    assert growth_of(TableFacts(ORDERS, 10, 1, 1, None)) is None
    assert growth_of(TableFacts(ORDERS, 0, 1, 1, 10)) is None
    assert growth_of(TableFacts(ORDERS, 0, 1, 1, 0)) == 1


def test_a_rewrite_within_the_budget_is_a_note_and_beyond_it_a_failure() -> None:
    run = migration(rewriting(took_s=0.3))
    within = concluded(run, ROWS)
    assert within.verdict is Verdict.GO
    assert one(within, "rewrite-under-lock").severity is Severity.NOTE
    close = concluded(run, 2 * ROWS)
    assert close.verdict is Verdict.GO
    assert one(close, "rewrite-under-lock").severity is Severity.WARNING
    beyond = concluded(run, 4 * ROWS)
    assert beyond.verdict is Verdict.NO_GO
    finding = one(beyond, "rewrite-under-lock")
    assert finding.observed is not None
    assert finding.observed.value == pytest.approx(1.2)


def test_the_budget_is_the_users_gate() -> None:
    run = migration(rewriting(took_s=0.3))
    assert concluded(run, 4 * ROWS, limit_s=2).verdict is Verdict.GO
    assert concluded(run, ROWS, limit_s=0.1).verdict is Verdict.NO_GO


def test_an_unknown_size_is_no_go_and_says_how_large_the_table_may_get() -> None:
    judgement = concluded(migration(rewriting(took_s=0.3)), None)
    finding = one(judgement, "rewrite-under-lock")
    assert judgement.verdict is Verdict.NO_GO
    assert "orders may grow to about 1,000,000 rows" in finding.message
    assert "production rows" in finding.message


def test_an_empty_table_says_nothing_about_its_size() -> None:
    run = migration(rewriting(rows=0))
    made = replace(record(run), tables=tables(rows=0))
    assert judge(made, quiet(run)).verdict is Verdict.NO_GO


def test_the_time_a_statement_waited_does_not_grow() -> None:
    waited = replace(rewriting(took_s=5.0), waited_ns=round(4.9e9))
    assert concluded(migration(waited), 4 * ROWS).verdict is Verdict.GO


def test_one_transaction_adds_up_from_the_lock_on() -> None:
    run = migration(ADD, UPDATE)
    judgement = concluded(run, 10 * ROWS)
    finding = one(judgement, "lock-held-across-statements")
    assert finding.severity is Severity.FAILURE
    assert finding.statement == 1
    assert finding.observed is not None
    assert finding.observed.value == pytest.approx(0.005 + 3.0)
    assert dict(judgement.metrics)["blocking.projected"] == finding.observed


def test_long_work_is_told_under_the_lock_of_its_time() -> None:
    weaker = statement("CREATE TABLE kids (id int REFERENCES orders)", lock(ORDERS, SRE), transaction=1)
    dropped = statement("ALTER TABLE orders DROP COLUMN b", lock(ORDERS, AX), transaction=1)
    before = one(concluded(migration(weaker, UPDATE, dropped), 10 * ROWS), "lock-held-across-statements")
    assert "SHARE ROW EXCLUSIVE on orders, held since up.sql:1 (CREATE TABLE)" in before.message
    after = one(concluded(migration(weaker, dropped, UPDATE), 10 * ROWS), "lock-held-across-statements")
    assert "ACCESS EXCLUSIVE on orders, held since up.sql:2 (ALTER TABLE)" in after.message


def test_the_same_statements_in_transactions_of_their_own_do_not_hold_the_lock() -> None:
    run = migration(replace(ADD, transaction=1), replace(UPDATE, transaction=2))
    rules = {f.rule for f in concluded(run, 10 * ROWS).findings}
    assert "lock-held-across-statements" not in rules
    assert "long-transaction" in rules


def test_what_ran_before_the_lock_was_taken_does_not_count() -> None:
    run = migration(UPDATE, ADD)
    judgement = concluded(run, 10 * ROWS)
    metrics = dict(judgement.metrics)
    assert metrics["blocking.projected"] == metrics["blocking.held"]
    assert "lock-held-across-statements" not in {f.rule for f in judgement.findings}


def test_constant_work_is_taken_as_measured() -> None:
    run = migration(ADD, statement("SELECT pg_sleep(0.8)", transaction=1, took_s=0.8))
    assert concluded(run, 1000 * ROWS).verdict is Verdict.GO
    longer = migration(ADD, statement("SELECT pg_sleep(1.5)", transaction=1, took_s=1.5))
    finding = one(concluded(longer, 1000 * ROWS), "lock-held-across-statements")
    assert (finding.severity, finding.statement) == (Severity.FAILURE, 1)


def test_a_few_rows_found_by_an_index_do_not_grow() -> None:
    few = replace(UPDATE, effects=Effects(rows_changed=((ORDERS, 12),), wal_bytes=9))
    assert concluded(migration(ADD, few), None).verdict is Verdict.GO


def test_a_table_that_the_migration_made_is_nobodys_trouble() -> None:
    new = Relation("public", "order_totals")
    made_here = statement(
        "CREATE INDEX i ON order_totals (x)",
        lock(new, SHARE, created_here=True),
        took_s=4,
        effects=Effects(built=(build(new, created_here=True),), wal_bytes=9),
    )
    assert concluded(migration(made_here), None).verdict is Verdict.GO


def test_a_copy_made_under_a_lock_grows_as_its_source() -> None:
    new = Relation("public", "order_copies")
    reference = statement(
        "CREATE TABLE order_copies (id bigint REFERENCES orders)",
        lock(new, AX, created_here=True),
        lock(ORDERS, SRE),
        transaction=1,
    )
    copy = statement(
        "INSERT INTO order_copies TABLE orders",
        lock(new, RX, created_here=True),
        transaction=1,
        took_s=0.3,
        effects=Effects(rows_changed=((new, ROWS),), wal_bytes=9),
    )
    assert concluded(migration(reference, copy), 100 * ROWS).verdict is Verdict.NO_GO
    assert concluded(migration(reference, copy), ROWS).verdict is Verdict.GO


def test_a_cold_table_scanned_under_a_hot_ones_lock_counts() -> None:
    adding = statement(
        "ALTER TABLE audit ADD FOREIGN KEY (o) REFERENCES orders",
        lock(AUDIT, SRE),
        lock(ORDERS, SRE),
        took_s=0.3,
        effects=Effects(scanned=(work(AUDIT), work(ORDERS)), wal_bytes=9),
    )
    assert "scan-under-lock" in {f.rule for f in concluded(migration(adding), None).findings}


def test_locks_that_the_traffic_does_not_mind_are_no_holds() -> None:
    reading = statement(
        "CREATE INDEX i ON customers (email)",
        lock(CUSTOMERS, SHARE),
        took_s=3,
        effects=Effects(built=(build(CUSTOMERS),), wal_bytes=9),
    )
    made = record(migration(reading))
    only_read = tuple(
        replace(
            f,
            locks=tuple(
                entry for entry in f.locks if entry[0] != CUSTOMERS or not entry[1].conflicts_with(SHARE)
            ),
        )
        for f in made.footprints
    )
    judgement = judge(replace(made, footprints=only_read), quiet(migration(reading)))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "never writes it" in one(judgement, "workload-missed-table").message
    assert judge(made, quiet(migration(reading))).verdict is Verdict.NO_GO


@pytest.mark.parametrize(
    ("rows_changed", "production", "verdict"),
    [
        (ROWS, None, Verdict.NO_GO),
        (ROWS // 20, None, Verdict.GO),  # 5 % of the table
        (ROWS, ROWS, Verdict.GO),  # 0.3 s at full size
        (ROWS, 10 * ROWS, Verdict.NO_GO),
    ],
)
def test_how_much_of_a_table_one_transaction_may_change(
    rows_changed: int, production: int | None, verdict: Verdict
) -> None:
    changing = replace(UPDATE, effects=Effects(rows_changed=((ORDERS, rows_changed),), wal_bytes=9))
    assert concluded(migration(changing), production).verdict is verdict


BATCHES = "DO $$ BEGIN LOOP UPDATE orders SET a = 1; COMMIT; END LOOP; END $$"
ONE_PIECE = "DO $$ BEGIN UPDATE orders SET a = 1; COMMIT; END $$"


@pytest.mark.parametrize(
    ("text", "longest_s", "verdict"),
    [
        (BATCHES, 0.1, Verdict.GO),
        (BATCHES, 0.5, Verdict.INCONCLUSIVE),  # batches of a fixed size, perhaps, at so few rows
        (ONE_PIECE, 0.5, Verdict.NO_GO),
    ],
)
def test_a_block_that_commits_is_judged_by_its_longest_transaction(
    text: str, longest_s: float, verdict: Verdict
) -> None:
    did = Effects(locks=(lock(ORDERS, RX),), longest_transaction_ns=round(longest_s * S))
    block = replace(UPDATE, command="DO", text=text, effects=did, ended_ns=round(0.6 * S))
    assert concluded(migration(block), PRODUCTION).verdict is verdict


def test_the_word_commit_in_a_comment_does_not_make_batches() -> None:
    text = "DO $$ BEGIN UPDATE orders SET a = 1; /* no COMMIT here */ END $$"
    changing = replace(UPDATE, command="DO", text=text)
    assert concluded(migration(changing), PRODUCTION).verdict is Verdict.NO_GO


@given(st.integers(1, 10**6), st.floats(0.001, 100), st.floats(0.01, 10))
@settings(deadline=None)
def test_a_table_of_the_size_allowed_just_uses_the_budget_up(rows: int, took: float, budget: float) -> None:
    allowed = may_grow_to([Work(WorkKind.SCAN, ORDERS, rows, None, listed=True)], took, 0.0, budget)
    assert allowed is not None
    assert allowed / rows * took == pytest.approx(budget)


def test_work_over_a_table_that_took_no_time_at_all_was_not_timed() -> None:
    judgement = concluded(migration(rewriting(took_s=0.0)), PRODUCTION)
    (found,) = [f for f in judgement.findings if f.rule == "rewrite-under-lock"]
    assert found.severity is Severity.UNMEASURED
    assert judgement.verdict is not Verdict.GO
