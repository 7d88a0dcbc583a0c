"""Unmeasured is never passed: whatever is taken out of a GO record, it is a GO no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.judge import judge
from rehearse.model.gates import Aborted
from rehearse.model.migration import Effects, MigrationRun, StatementOutcome
from rehearse.model.record import Phase, RunRecord, Stage
from rehearse.model.relation import Relation
from rehearse.model.verdict import GateStatus, Judgement, Severity, Verdict
from rehearse.model.waits import ObserverCost
from rehearse.model.workload import DriverHealth, Footprint, Outcome, SampleColumns
from tests.judge.build import (
    AS,
    AUDIT,
    AX,
    BASELINE,
    CUSTOMERS,
    MS,
    ORDERS,
    READ,
    ROW_SHARE,
    ROWS,
    RX,
    SCRIPTS,
    SRE,
    START,
    SUE,
    WRITE,
    Blocked,
    Failing,
    S,
    add,
    build,
    end_of,
    index_lock,
    lock,
    migration,
    only,
    quiet,
    record,
    samples,
    statement,
    tables,
    with_trial,
    work,
)

RUN = migration(
    statement("SET lock_timeout = '2s'"),
    statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), timeout_ms=2000),
    statement(
        "UPDATE orders SET a = 1 WHERE id < 1000",
        lock(ORDERS, RX),
        took_s=0.1,
        timeout_ms=2000,
        effects=Effects(rows_changed=((ORDERS, 999),), wal_bytes=9),
    ),
    statement(
        "CREATE INDEX CONCURRENTLY i ON orders (a)",
        lock(ORDERS, SUE),
        index_lock("i", RX),
        took_s=0.5,
        effects=Effects(built=(build(concurrently=True),), scanned=(work(),), wal_bytes=9),
    ),
)


@dataclass(frozen=True)
class Case:
    record: RunRecord
    samples: SampleColumns | None


Damage = Callable[[Case], Case]


def go() -> Case:
    return Case(record(RUN), quiet(RUN))


def concluded(case: Case) -> Judgement:
    return judge(case.record, case.samples)


def trial(**changes: object) -> Damage:
    return lambda case: replace(case, record=with_trial(case.record, **changes))


def whole(**changes: object) -> Damage:
    return lambda case: replace(case, record=replace(case.record, **changes))  # type: ignore[arg-type] # any field


def changed_run(change: Callable[[MigrationRun], MigrationRun]) -> Damage:
    def damage(case: Case) -> Case:
        run = case.record.trials[0].migration
        assert run is not None
        return replace(case, record=with_trial(case.record, migration=change(run)))

    return damage


def statement_changed(index: int, **changes: object) -> Damage:
    def change(run: MigrationRun) -> MigrationRun:
        changed = [replace(s, **changes) if s.index == index else s for s in run.statements]  # type: ignore[arg-type] # any field
        return replace(run, statements=tuple(changed))

    return changed_run(change)


def without_phase(phase: Phase) -> Damage:
    def damage(case: Case) -> Case:
        kept = tuple(span for span in case.record.trials[0].phases if span.phase is not phase)
        return replace(case, record=with_trial(case.record, phases=kept))

    return damage


def kept(keep: Callable[[int, int], bool]) -> Damage:
    def damage(case: Case) -> Case:
        assert case.samples is not None
        return replace(case, samples=only(case.samples, keep))

    return damage


def without_spans(run: MigrationRun) -> MigrationRun:
    return replace(run, transactions=())


PHASE_END = end_of(RUN)[0]
GAP = ObserverCost(500, 1, 100, 3 * S, 100 * MS, gaps=((START, START + 3 * S),))
DRIVER = DriverHealth(1, 32, 3000, 3000, 1600, 1598, MS, 2 * MS, 5 * MS, 0.2, 3)

DAMAGES: dict[str, Damage] = {
    "no samples": lambda case: replace(case, samples=None),
    "empty samples": lambda case: replace(case, samples=SampleColumns(scripts=(READ, WRITE))),
    "no baseline samples": kept(lambda _, due: due >= START),
    "hardly a baseline": kept(lambda _, due: due >= START - S // 4),
    "no migration samples": kept(lambda _, due: not START <= due < PHASE_END),
    "no recovery samples": kept(lambda _, due: due < PHASE_END),
    "a script stopped": kept(lambda script, due: script == 0 or due < START),
    "a script never sent": kept(lambda script, _: script == 0),
    "no trial": whole(trials=()),
    "no migration": trial(migration=None),
    "no observer": trial(observer=None),
    "an observer that never saw anything": trial(observer=ObserverCost(0, 0, 100, 0, 100 * MS)),
    "an observer that failed": trial(observer=ObserverCost(5, 0, 100, 0, 100 * MS, failed_samples=300)),
    "an observer with a gap": trial(observer=GAP),
    "no driver health": trial(driver=None),
    "a driver behind": trial(driver=replace(DRIVER, finished_baseline=1200)),
    "a late driver": trial(driver=replace(DRIVER, lag_p99_ns=300 * MS)),
    "a driver with no time to spare": trial(driver=replace(DRIVER, cpu_share=0.97)),
    "a driver with nothing to send": trial(driver=replace(DRIVER, skipped=100)),
    "no phases": trial(phases=()),
    "no baseline": without_phase(Phase.BASELINE),
    "no migration phase": without_phase(Phase.MIGRATION),
    "no recovery": without_phase(Phase.RECOVERY),
    "no footprints": whole(footprints=()),
    "a footprint missing": whole(footprints=(Footprint(READ, ((ORDERS, AS), (CUSTOMERS, AS))),)),
    "empty footprints": whole(footprints=(Footprint(READ, ()), Footprint(WRITE, ()))),
    "no scripts": whole(scripts=()),
    "a script more, never measured": whole(scripts=(*SCRIPTS, replace(SCRIPTS[0], name="report"))),
    "effects of the ALTER not read": statement_changed(1, effects=None),
    "effects of the UPDATE not read": statement_changed(2, effects=None),
    "effects of the index not read": statement_changed(3, effects=None),
    "rows of the UPDATE not counted": statement_changed(2, effects=Effects(wal_bytes=9, counted=False)),
    "no transaction ends": changed_run(without_spans),
    "no statements": changed_run(lambda run: replace(run, statements=())),
    "a statement still running": statement_changed(3, outcome=StatementOutcome.RUNNING, effects=None),
    "a statement that did not run": statement_changed(3, outcome=StatementOutcome.NOT_RUN, effects=None),
    "a failed statement": statement_changed(3, outcome=StatementOutcome.FAILED),
    "cut short": whole(stage=Stage.RECOVERY),
    "an error": whole(error="the server went away"),
}


def test_the_record_that_is_damaged_is_a_go() -> None:
    judgement = concluded(go())
    assert judgement.verdict is Verdict.GO, [f.message for f in judgement.findings]
    assert {gate.status.value for gate in judgement.gates} == {"passed"}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_record_with_a_part_missing_is_never_a_go(name: str) -> None:
    judgement = concluded(DAMAGES[name](go()))
    assert judgement.verdict is not Verdict.GO
    serious = [f for f in judgement.findings if f.severity in (Severity.FAILURE, Severity.UNMEASURED)]
    assert serious
    assert all(finding.message for finding in serious)


@settings(deadline=None, max_examples=60)
@given(st.sets(st.sampled_from(sorted(DAMAGES)), min_size=1, max_size=4))
def test_no_combination_of_damages_makes_a_go(names: set[str]) -> None:
    case = go()
    for name in sorted(names):
        try:
            case = DAMAGES[name](case)
        except (IndexError, AssertionError):  # what it would damage is gone already
            continue
    assert concluded(case).verdict is not Verdict.GO


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(DAMAGES)))
def test_damage_does_not_make_a_no_go_inconclusive_about_structure(name: str) -> None:
    """Facts of structure stand, whatever else is missing, as long as they themselves are there."""
    run = migration(
        statement(
            "ALTER TABLE orders ALTER COLUMN id TYPE bigint",
            lock(ORDERS, AX),
            took_s=0.5,
            effects=Effects(rewritten=(work(),), wal_bytes=9),
        )
    )
    spared = ("no trial", "no migration", "no footprints", "empty footprints", "no statements")
    if name in spared or not name.startswith(("no ", "an observer", "a driver", "cut", "an error")):
        return
    case = DAMAGES[name](Case(record(run), quiet(run)))
    assert concluded(case).verdict is Verdict.NO_GO


# --- What must not be called unmeasured: a flaky verdict is a defect as well ---


def test_short_gaps_and_gaps_outside_of_the_migration_do_no_harm() -> None:
    gaps = ((START, START + S // 2), (2 * S, 5 * S))
    case = trial(observer=ObserverCost(500, 1, 100, 3 * S, 100 * MS, gaps=gaps))(go())
    assert concluded(case).verdict is Verdict.GO


def test_some_noise_in_the_baseline_does_no_harm() -> None:
    noisy = samples(end_ns=end_of(RUN)[1], latency_ns=lambda number: (3 + number * 7919 % 90) * MS)
    assert concluded(Case(record(RUN), noisy)).verdict is Verdict.GO


def test_a_restless_baseline_does_no_harm_where_the_gates_hold_against_its_quieter_half_too() -> None:
    restless = samples(end_ns=end_of(RUN)[1], blocked=[Blocked(2 * S, 3 * S)])
    assert concluded(Case(record(RUN), restless)).verdict is Verdict.GO


def test_a_restless_baseline_is_told_where_a_gate_would_lean_on_it() -> None:
    slow = Blocked(START + S // 10, START + S // 10 + 500 * MS)
    restless = samples(end_ns=end_of(RUN)[1], blocked=[Blocked(2 * S, 3 * S), slow])
    judgement = concluded(Case(record(RUN), restless))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "baseline-noisy" in {f.rule for f in judgement.findings}


def test_company_that_was_not_there_is_told() -> None:
    judgement = concluded(trial(missing_adversaries=("long-reader",))(go()))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert [f.subject for f in judgement.findings if f.rule == "adversary-missing"] == ["long-reader"]


def test_a_baseline_full_of_errors_is_told() -> None:
    failing = samples(end_ns=end_of(RUN)[1], failing=[Failing(WRITE, "23505", 0, 60 * S, every=5)])
    judgement = concluded(Case(record(RUN), failing))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert {f.rule for f in judgement.findings if f.severity is Severity.UNMEASURED} == {"baseline-noisy"}


def test_a_statement_that_touches_nothing_need_not_be_read() -> None:
    assert concluded(statement_changed(0, effects=None)(go())).verdict is Verdict.GO


# --- Tables that the workload missed ---


@pytest.mark.parametrize("mode", [SUE, SRE, AX])
def test_a_locked_table_that_nobody_touches(mode: object) -> None:
    run = migration(statement("ALTER TABLE audit SET (fillfactor = 70)", lock(AUDIT, mode)))  # type: ignore[arg-type] # of LockMode
    judgement = judge(record(run), quiet(run))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    (finding,) = [f for f in judgement.findings if f.severity is Severity.UNMEASURED]
    assert (finding.rule, finding.subject, finding.statement) == ("workload-missed-table", "audit", 0)


def test_rows_changed_in_a_table_that_nobody_touches() -> None:
    changing = statement(
        "DELETE FROM audit", lock(AUDIT, RX), effects=Effects(rows_changed=((AUDIT, 5),), wal_bytes=9)
    )
    assert judge(record(migration(changing)), quiet(migration(changing))).verdict is Verdict.INCONCLUSIVE
    reading = statement("SELECT FROM audit", lock(AUDIT, AS), lock(AUDIT, ROW_SHARE))
    assert judge(record(migration(reading)), quiet(migration(reading))).verdict is Verdict.GO


def test_the_other_partitions_of_a_table_in_use_are_not_missed() -> None:
    parts = [Relation("public", f"orders_{year}") for year in (2028, 2029, 2030)]
    run = migration(
        statement(
            "ALTER TABLE orders ADD COLUMN a int",
            lock(ORDERS, AX, "partitioned table"),
            *(lock(part, AX) for part in parts),
            timeout_ms=2000,
        )
    )
    assert judge(record(run), quiet(run)).verdict is Verdict.GO


def test_what_the_migration_makes_for_itself_is_not_missed() -> None:
    new = Relation("public", "order_notes")
    run = migration(
        statement("CREATE TABLE order_notes (id int)", lock(new, AX, created_here=True)),
        statement("CREATE INDEX i ON order_notes (id)", lock(new, AX)),
    )
    assert judge(record(run), quiet(run)).verdict is Verdict.GO


def test_the_size_of_the_baseline_is_what_counts() -> None:
    assert BASELINE == (S, START)
    few = samples(end_ns=end_of(RUN)[1], per_second=5)
    assert concluded(Case(record(RUN), few)).verdict is Verdict.INCONCLUSIVE


def test_tables_of_unknown_size_are_not_taken_for_small() -> None:
    made = replace(record(RUN), tables=())
    assert concluded(Case(made, quiet(RUN))).verdict is not Verdict.NO_GO
    changing = migration(
        statement(
            "UPDATE orders SET a = 1",
            lock(ORDERS, RX),
            effects=Effects(rows_changed=((ORDERS, 5000),), wal_bytes=9),
        )
    )
    unknown = replace(record(changing), tables=())
    assert judge(unknown, quiet(changing)).verdict is Verdict.INCONCLUSIVE
    assert judge(replace(unknown, tables=tables(None, ROWS)), quiet(changing)).verdict is Verdict.GO


def test_samples_skipped_by_the_client_are_no_transactions() -> None:
    traffic = quiet(RUN)
    traffic = only(traffic, lambda script, due: script == 0 or due < START)
    for number in range(300):
        add(traffic, 1, START + number * 10 * MS, START + number * 10 * MS, Outcome.SKIPPED)
    assert concluded(Case(record(RUN), traffic)).verdict is Verdict.INCONCLUSIVE


def test_of_a_migration_that_was_broken_off_nothing_is_projected() -> None:
    """The rewrite that was cut short has no effects to go by, which is no proof that it had none."""
    aborted = Aborted("stall.max > 10s", 10.1, START)
    judgement = concluded(trial(aborted=aborted)(go()))
    known = dict(judgement.metrics)
    projections = ("blocking.held", "blocking.projected", "duration.projected", "wal.projected")
    assert [name for name in projections if known.get(name) is not None] == []
    (gate,) = [each for each in judgement.gates if each.metric == "blocking.projected"]
    assert gate.status is GateStatus.UNMEASURED
    assert "broken off" in gate.note
    assert judgement.verdict is Verdict.NO_GO
