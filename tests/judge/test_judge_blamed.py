"""Who is blamed for writes that vanish, which locks are named one by one, what plans of functions need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.compatibility import (
    NO_ROWS,
    Cell,
    CompatibilityFacts,
    Misfitting,
    SchemaVersion,
)
from rehearse.model.migration import Effects
from rehearse.model.record import Trial, TrialKind
from rehearse.model.verdict import Finding, Severity, Verdict
from rehearse.model.workload import Version
from tests.judge.build import (
    AX,
    ORDERS,
    SRE,
    START,
    WRITE,
    Failing,
    S,
    end_of,
    index_lock,
    lock,
    migration,
    quiet,
    record,
    samples,
    statement,
    work,
)

RULE = "breaks-running-application"
FUNCTION = "CREATE OR REPLACE FUNCTION public.divert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$"
TRIGGER = "CREATE TRIGGER t {} INSERT ON orders FOR EACH ROW EXECUTE FUNCTION divert()"


def vanishing(*texts: str) -> Finding:
    """What is said where an UPDATE of the running application finds no row any more after `texts`."""
    run = migration(*(statement(text, lock(ORDERS, SRE), timeout_ms=100) for text in texts))
    refused = Misfitting(WRITE, 1, NO_ROWS, "UPDATE 0", 1)
    cell = Cell(Version.OLD, SchemaVersion.NEW, 1, (refused,))
    trial = Trial(TrialKind.COMPATIBILITY, compatibility=CompatibilityFacts((cell,)))
    made = record(run)
    findings = judge(replace(made, trials=(*made.trials, trial)), quiet(run)).findings
    return next(f for f in findings if f.rule == RULE and f.subject == WRITE)


@pytest.mark.parametrize("when", ["BEFORE", "INSTEAD OF"])
def test_a_trigger_that_can_swallow_rows_is_blamed(when: str) -> None:
    finding = vanishing(FUNCTION, TRIGGER.format(when))
    assert (finding.severity, finding.statement) == (Severity.FAILURE, 1)


def test_a_replaced_function_is_blamed_where_nothing_says_that_its_trigger_comes_too_late() -> None:
    assert vanishing(FUNCTION).statement == 0


def test_what_comes_after_the_row_is_written_swallows_none() -> None:
    finding = vanishing(FUNCTION, TRIGGER.format("AFTER"))
    assert (finding.severity, finding.statement) == (Severity.UNMEASURED, None)
    with_rule = vanishing("CREATE RULE r AS ON UPDATE TO orders DO INSTEAD NOTHING", TRIGGER.format("AFTER"))
    assert with_rule.statement == 0


def test_tables_are_named_and_their_indexes_counted() -> None:
    indexes = [index_lock(f"orders_{n}", AX) for n in range(4)]
    rewriting = Effects(rewritten=(work(),), wal_bytes=9)
    text = "ALTER TABLE orders ALTER COLUMN id TYPE bigint"
    run = migration(statement(text, lock(ORDERS, AX), *indexes, effects=rewriting))
    found = {f.rule: f for f in judge(record(run), quiet(run)).findings}
    queue = found["unbounded-lock-queue"].message
    assert "needs ACCESS EXCLUSIVE on orders and ACCESS EXCLUSIVE on 4 indexes of orders and has" in queue
    took = [line for line in found["rewrite-under-lock"].evidence if line.startswith("it took")]
    assert len(took) == 2
    assert "4 indexes of orders" in took[1]


def test_one_index_is_named() -> None:
    run = migration(statement("ALTER INDEX orders_1 RENAME TO i", index_lock("orders_1", AX)))
    found = {f.rule: f for f in judge(record(run), quiet(run)).findings}
    assert "ACCESS EXCLUSIVE on index orders_1 of orders" in found["unbounded-lock-queue"].message


def test_a_type_that_functions_remember_is_mended_by_changing_these() -> None:
    run = migration(statement("ALTER TABLE orders RENAME a TO b", lock(ORDERS, AX), timeout_ms=100))
    failing = samples(end_ns=end_of(run)[1], failing=[Failing(WRITE, "42804", START, 60 * S)])
    finding = next(f for f in judge(record(run), failing).findings if f.rule == RULE)
    assert "RESET ALL" in finding.advice


@pytest.mark.parametrize(("recovery_s", "verdict"), [(0.3, Verdict.INCONCLUSIVE), (4, Verdict.NO_GO)])
def test_cached_plans_of_which_too_few_came_afterwards_are_unmeasured(
    recovery_s: float, verdict: Verdict
) -> None:
    """100 a second over 32 connections: 30 may all be the first on theirs, 400 may not."""
    run = migration(statement("ALTER TABLE orders ALTER a TYPE text", lock(ORDERS, AX), timeout_ms=100))
    made = record(run)
    phases = made.trials[0].phases
    end_ns = phases[-1].start_ns + round(recovery_s * S)
    phases = (*phases[:-1], replace(phases[-1], end_ns=end_ns))
    made = replace(made, trials=(replace(made.trials[0], phases=phases),))
    failing = [Failing("read_order", "0A000", phases[-1].start_ns - S // 50, 60 * S)]
    judgement = judge(made, samples(end_ns=end_ns, failing=failing))
    assert judgement.verdict is verdict
    finding = next(f for f in judgement.findings if f.rule == RULE)
    assert ("--recovery 2s" in finding.advice) is (verdict is Verdict.INCONCLUSIVE)
