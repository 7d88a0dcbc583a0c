"""A machine that stood still is evidence neither against a migration nor for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.judge import judge
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, MigrationRun
from rehearse.model.record import RunRecord
from rehearse.model.relation import Relation
from rehearse.model.spans import Spans
from rehearse.model.verdict import Finding, GateResult, GateStatus, Judgement, Severity, Verdict
from rehearse.model.waits import Blocker, LockWait, ObserverCost, Party, Role
from rehearse.model.workload import DriverHealth, SampleColumns
from tests.judge.build import (
    AX,
    BASELINE,
    MS,
    ORDERS,
    START,
    SUE,
    Blocked,
    S,
    build,
    end_of,
    gate,
    lock,
    migration,
    quiet,
    record,
    samples,
    statement,
    with_trial,
    work,
)

HEALTH = DriverHealth(1, 32, 3000, 3000, 1600, 1598, MS, 2 * MS, 5 * MS, 0.2, 3)
OBSERVER = ObserverCost(500, 1, 100, 20 * MS, 100 * MS)
STALL = (START + 2 * S, START + 2 * S + 1240 * MS)
VALIDATE = migration(statement("ALTER TABLE orders VALIDATE CONSTRAINT an_fkey", lock(ORDERS, SUE), took_s=4))


def told(made: RunRecord, *, driver: Spans = (), observer: Spans = (), disk: Spans = ()) -> RunRecord:
    """The record with what its own processes said of the machine."""
    return with_trial(
        made,
        driver=replace(HEALTH, pauses=driver),
        observer=replace(OBSERVER, lapses=observer, unflushed=disk),
    )


def stalled(run: MigrationRun, span: tuple[int, int] = STALL) -> SampleColumns:
    return samples(end_ns=end_of(run)[1], blocked=[Blocked(*span)])


def result(judgement: Judgement, metric: str) -> GateResult:
    return next(g for g in judgement.gates if g.metric == metric)


def failures(judgement: Judgement) -> list[Finding]:
    return [f for f in judgement.findings if f.severity is Severity.FAILURE]


def test_a_stall_in_which_the_driver_was_not_served_is_not_measured_and_says_what_to_change() -> None:
    made, traffic = record(VALIDATE), stalled(VALIDATE)
    assert judge(made, traffic).verdict is Verdict.NO_GO
    judgement = judge(told(made, driver=((STALL[0] + 20 * MS, STALL[1]),)), traffic)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    missed = result(judgement, "stall.max")
    assert missed.status is GateStatus.UNMEASURED
    assert missed.disturbed
    assert "1.22 s" in missed.note
    finding = next(f for f in judgement.findings if f.rule == "stall")
    assert "this machine" in finding.advice


def test_response_times_are_counted_without_the_time_in_which_the_driver_was_not_served() -> None:
    gates = (gate("latency.p99{phase=migration}", "<=", 3.0, "latency.p99{phase=baseline}"),)
    made, traffic = record(VALIDATE, gates=gates), stalled(VALIDATE)
    assert failures(judge(made, traffic))
    judgement = judge(told(made, driver=(STALL,)), traffic)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.gates[0].disturbed
    slow = samples(
        end_ns=end_of(VALIDATE)[1],
        latency_ns=lambda number: 5 * MS if number < START * 100 // S else 400 * MS,
    )
    assert judge(told(made, driver=(STALL,)), slow).verdict is Verdict.NO_GO


def test_what_had_piled_up_in_a_standstill_is_worked_off_before_response_times_count() -> None:
    gates = (gate("latency.p99{phase=migration}", "<=", 3.0, "latency.p99{phase=baseline}"),)
    for worked_off_s, verdict in ((1, Verdict.INCONCLUSIVE), (3, Verdict.NO_GO)):
        traffic = stalled(VALIDATE, (STALL[0], STALL[1] + worked_off_s * S))
        assert judge(told(record(VALIDATE, gates=gates), driver=(STALL,)), traffic).verdict is verdict


def test_throughput_is_counted_by_what_would_have_been_finished_in_time() -> None:
    gates = (gate("throughput{phase=migration}", ">=", 0.9, "throughput{phase=baseline}"),)
    late = (START + 3 * S, START + 4 * S + 100 * MS)
    made, traffic = record(VALIDATE, gates=gates), stalled(VALIDATE, late)
    assert judge(made, traffic).verdict is Verdict.NO_GO
    assert judge(told(made, driver=(late,)), traffic).verdict is Verdict.INCONCLUSIVE


def test_a_stall_that_is_too_long_without_the_standstill_as_well_is_the_migrations() -> None:
    longer = (STALL[0], STALL[0] + 3 * S)
    judgement = judge(told(record(VALIDATE), driver=(STALL,)), stalled(VALIDATE, longer))
    assert judgement.verdict is Verdict.NO_GO
    assert result(judgement, "stall.max").status is GateStatus.FAILED


def test_a_standstill_before_or_after_the_stall_excuses_nothing() -> None:
    elsewhere = (BASELINE, (STALL[1], STALL[1] + S))
    judgement = judge(told(record(VALIDATE), driver=elsewhere, disk=elsewhere), stalled(VALIDATE))
    assert judgement.verdict is Verdict.NO_GO


def test_a_stall_that_a_wait_behind_the_migration_explains_stays_one() -> None:
    waiter, blocker = Party(1, Role.TRAFFIC, "read_order"), Party(2, Role.MIGRATION, statement=0)
    wait = LockWait(
        waiter, (Blocker(blocker, AX, queued=False),), "relation", AX, ORDERS, STALL[0], STALL[0] + 900 * MS
    )
    gates = (gate("stall.max", "<=", 1),)
    made = told(record(VALIDATE, gates=gates), driver=((STALL[0] + 900 * MS, STALL[1]),))
    traffic = stalled(VALIDATE)
    assert judge(made, traffic).verdict is Verdict.INCONCLUSIVE
    assert judge(with_trial(made, waits=(wait,)), traffic).verdict is Verdict.NO_GO


def test_nothing_is_excused_where_nobody_knows_of_waits() -> None:
    made = told(record(VALIDATE), driver=(STALL,))
    blind = with_trial(made, observer=ObserverCost(0, 0, 100, 20 * MS, 100 * MS))
    assert result(judge(blind, stalled(VALIDATE)), "stall.max").status is GateStatus.FAILED


INSTANT = migration(
    statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=1.2, timeout_ms=100)
)
FROZEN = (START + 10 * MS, START + 1190 * MS)


def test_a_short_lock_that_the_standing_machine_stretched_is_not_measured() -> None:
    made, traffic = record(INSTANT), stalled(INSTANT, (START, START + 1200 * MS))
    assert judge(made, traffic).verdict is Verdict.NO_GO
    judgement = judge(told(made, driver=(FROZEN,), observer=(FROZEN,)), traffic)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert result(judgement, "blocking.projected").disturbed
    assert not failures(judgement)


def test_a_lock_is_excused_only_where_driver_and_observer_both_stood_still() -> None:
    made, traffic = record(INSTANT), quiet(INSTANT)
    for pauses in ({"driver": (FROZEN,)}, {"observer": (FROZEN,)}):
        assert result(judge(told(made, **pauses), traffic), "blocking.projected").status is GateStatus.FAILED


def test_a_lock_that_is_half_the_migrations_own_speaks_for_itself() -> None:
    half = (START + 600 * MS, START + 1190 * MS)
    judgement = judge(told(record(INSTANT), driver=(half,), observer=(half,)), quiet(INSTANT))
    assert judgement.verdict is Verdict.NO_GO


def test_the_same_holds_for_a_lock_over_several_statements() -> None:
    run = migration(
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=1),
        statement("SELECT 1", took_s=1.2, transaction=1),
    )
    for gates in (None, ()):  # whether or not there is a gate that would tell, too
        made = record(run, gates=gates)
        found = failures(judge(made, quiet(run)))
        assert "lock-held-across-statements" in {f.rule for f in found}
        judgement = judge(told(made, driver=(FROZEN,), observer=(FROZEN,)), quiet(run))
        assert judgement.verdict is Verdict.INCONCLUSIVE
        held = next(f for f in judgement.findings if f.rule == "lock-held-across-statements")
        assert (held.severity, held.disturbed) == (Severity.UNMEASURED, True)
        assert "this machine" in held.advice


def test_work_under_a_lock_is_a_failure_however_still_the_machine_stood() -> None:
    run = migration(
        statement(
            "ALTER TABLE orders ALTER a TYPE bigint",
            lock(ORDERS, AX),
            took_s=1.2,
            effects=Effects(rewritten=(work(),), wal_bytes=1000),
        )
    )
    judgement = judge(told(record(run), driver=(FROZEN,), observer=(FROZEN,)), stalled(run, FROZEN))
    assert judgement.verdict is Verdict.NO_GO
    assert result(judgement, "blocking.projected").status is GateStatus.FAILED


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        (Effects(wal_bytes=1000), Verdict.INCONCLUSIVE),
        (Effects(wal_bytes=2**30), Verdict.NO_GO),
        (Effects(wal_bytes=None), Verdict.NO_GO),
        (Effects(wal_bytes=1000, built=(build(),)), Verdict.NO_GO),
        (Effects(wal_bytes=1000, rewritten=(work(),)), Verdict.NO_GO),
    ],
)
def test_a_disk_that_stood_still_excuses_only_what_hardly_writes(effects: Effects, verdict: Verdict) -> None:
    run = migration(statement("SELECT 1", lock(ORDERS, SUE), took_s=4, effects=effects))
    made = told(record(run), disk=((STALL[0] + 90 * MS, STALL[1] - 50 * MS),))
    assert judge(made, stalled(run)).verdict is verdict


spans = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(50, 3000)).map(
        lambda pair: (START + pair[0] * MS, START + sum(pair) * MS)
    ),
    max_size=3,
).map(lambda found: tuple(sorted(found)))


@st.composite
def _runs(draw: st.DrawFn) -> MigrationRun:
    mode: LockMode = draw(st.sampled_from((SUE, AX)))
    relation: Relation = ORDERS
    effects = draw(st.sampled_from((Effects(wal_bytes=1000), Effects(scanned=(work(),), wal_bytes=1000))))
    took_s = draw(st.floats(0.05, 3))
    return migration(statement("ALTER TABLE orders x", lock(relation, mode), took_s=took_s, effects=effects))


@settings(max_examples=40, deadline=None)
@given(_runs(), st.tuples(st.integers(0, 1500), st.integers(0, 2500)), spans, spans, spans)
def test_standstills_never_make_a_go_and_never_weaken_structure(
    run: MigrationRun, blocked: tuple[int, int], driver: Spans, observer: Spans, disk: Spans
) -> None:
    block = START + blocked[0] * MS, START + sum(blocked) * MS
    made, traffic = record(run), stalled(run, block)
    before = judge(made, traffic)
    after = judge(told(made, driver=driver, observer=observer, disk=disk), traffic)
    if after.verdict is Verdict.GO:
        assert before.verdict is Verdict.GO
    if any(f.severity is Severity.FAILURE and f.rule == "scan-under-lock" for f in before.findings):
        assert after.verdict is Verdict.NO_GO
    for then, now in zip(before.gates, after.gates, strict=True):
        if now.status is not then.status:
            assert (then.status, now.status) == (GateStatus.FAILED, GateStatus.UNMEASURED)
            assert now.disturbed
