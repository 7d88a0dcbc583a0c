"""What is concluded where the traffic is a closed loop, retries, or belongs to two applications."""

from __future__ import annotations

from dataclasses import replace

from rehearse.judge.judge import judge
from rehearse.model.migration import MigrationRun
from rehearse.model.record import RunRecord, ScriptInfo
from rehearse.model.verdict import Severity, Verdict
from rehearse.model.workload import Outcome, SampleColumns, Version
from tests.judge.build import (
    AX,
    MS,
    ORDERS,
    READ,
    START,
    WRITE,
    Failing,
    S,
    add,
    end_of,
    gate,
    lock,
    migration,
    only,
    queued,
    quiet,
    record,
    samples,
    statement,
)


def closed(made: RunRecord) -> RunRecord:
    workload = replace(made.scenario.workload, closed_loop=True)
    return replace(made, scenario=replace(made.scenario, workload=workload))


def instant() -> MigrationRun:
    return migration(statement("ALTER TABLE orders ADD COLUMN b int", lock(ORDERS, AX), timeout_ms=9))


def gates(made: RunRecord, *chosen: str) -> RunRecord:
    kept = tuple(one for one in made.scenario.gates if one.metric.name in chosen)
    return replace(made, scenario=replace(made.scenario, gates=kept))


def test_a_closed_loop_never_passes_a_gate_on_latency() -> None:
    run = instant()
    traffic = quiet(run)
    assert judge(record(run), traffic).verdict is Verdict.GO
    judgement = judge(closed(record(run)), traffic)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    said = [f for f in judgement.findings if f.rule == "closed-loop"]
    assert [f.severity for f in said] == [Severity.UNMEASURED]
    without = judge(gates(closed(record(run)), "stall.max", "errors.rate"), traffic)
    assert without.verdict is Verdict.GO
    assert [f.severity for f in without.findings if f.rule == "closed-loop"] == [Severity.WARNING]


def test_a_closed_loop_that_stalls_is_a_no_go_all_the_same() -> None:
    run = migration(statement("LOCK TABLE orders", lock(ORDERS, AX), took_s=3.0, timeout_ms=9))
    traffic = queued(run)
    judgement = judge(gates(closed(record(run)), "stall.max"), traffic)
    assert judgement.verdict is Verdict.NO_GO


def test_a_latency_gate_that_fails_in_a_closed_loop_has_failed() -> None:
    run = instant()
    made = record(run)
    made = replace(made, scenario=replace(made.scenario, gates=(gate("latency.p50", "<=", 0.001),)))
    judgement = judge(closed(made), quiet(run))
    assert judgement.verdict is Verdict.NO_GO


def test_retries_are_counted_and_are_neither_errors_nor_due() -> None:
    run = instant()
    traffic = quiet(run)
    before = dict(judge(record(run), traffic).metrics)
    traffic.sqlstates = ("40001",)
    for number in range(30):
        at = START + number * MS
        add(traffic, 1, at, at + MS, Outcome.RETRIED, 0, 0)
    judgement = judge(record(run), traffic)
    metrics = {name: value.value for name, value in judgement.metrics if value is not None}
    assert judgement.verdict is Verdict.GO
    assert metrics["retries.count"] == 30
    assert metrics["retries.count{phase=baseline}"] == 0
    for name in ("errors.count", "throughput", "latency.p99", "stall.max"):
        known = before[name]
        assert known is not None
        assert metrics[name] == known.value
    rate = metrics["retries.rate"]
    assert 0 < rate < 30 / 100


def test_a_deadlock_that_a_retry_healed_is_a_warning() -> None:
    run = instant()
    traffic = quiet(run)
    traffic.sqlstates = ("40P01",)
    add(traffic, 1, START + MS, START + 2 * MS, Outcome.RETRIED, 0, 0)
    judgement = judge(record(run), traffic)
    assert judgement.verdict is Verdict.GO
    assert [f.severity for f in judgement.findings if f.rule == "deadlock"] == [Severity.WARNING]


def two_versions(run_end: int) -> SampleColumns:
    """`place_order` belongs to the new application: it is sent once the migration is over."""
    failing = [Failing(WRITE, "23502", 0, run_end), Failing(READ, "42703", START + 2 * S, run_end, every=2)]
    return only(samples(end_ns=run_end, failing=failing), lambda script, due: script == 0 or due > START + S)


def versioned(made: RunRecord) -> RunRecord:
    old, new = made.scripts
    return replace(made, scripts=(old, replace(new, version=Version.NEW)))


def test_failures_are_told_by_version() -> None:
    run = instant()
    judgement = judge(versioned(record(run)), two_versions(end_of(run)[1]))
    found = {(f.rule, f.subject) for f in judgement.findings if f.severity is Severity.FAILURE}
    assert ("breaks-new-application", WRITE) in found
    assert ("breaks-running-application", READ) in found
    assert ("breaks-running-application", WRITE) not in found
    assert ("breaks-new-application", READ) not in found
    finding = next(f for f in judgement.findings if f.rule == "breaks-new-application")
    assert "23502" in finding.message
    assert any("INSERT INTO orders" in line for line in finding.evidence)


def test_a_new_application_that_works_goes() -> None:
    run = instant()
    new = ScriptInfo("new_order", 1, ("INSERT INTO orders (channel) VALUES ($1)",), version=Version.NEW)
    made = record(run)
    traffic = quiet(run)
    traffic.scripts = (*traffic.scripts, new.name)
    for number in range(200):
        at = START + 2 * S + number * 10 * MS
        add(traffic, 2, at, at + 4 * MS)
    judgement = judge(replace(made, scripts=(*made.scripts, new)), traffic)
    assert judgement.verdict is Verdict.GO, judgement.findings


def test_a_new_script_that_was_hardly_sent_is_unmeasured() -> None:
    run = instant()
    made = versioned(record(run))
    extra = ScriptInfo("archive_order", 1, ("DELETE FROM orders WHERE id = $1",), version=Version.NEW)
    judgement = judge(replace(made, scripts=(*made.scripts, extra)), quiet(run))
    found = [f for f in judgement.findings if f.rule == "breaks-new-application"]
    assert [(f.severity, f.subject) for f in found] == [(Severity.UNMEASURED, "archive_order")]
