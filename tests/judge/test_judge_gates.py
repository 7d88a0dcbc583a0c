"""Gates: limits, floors, the noise guard, and nothing passed that was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.gates import Gate
from rehearse.model.verdict import GateResult, GateStatus, Severity, Verdict
from rehearse.model.waits import ObserverCost, ResourceSample
from rehearse.model.workload import SampleColumns
from tests.judge.build import (
    AX,
    MS,
    ORDERS,
    READ,
    START,
    WRITE,
    Blocked,
    S,
    add,
    end_of,
    gate,
    lock,
    migration,
    queued,
    quiet,
    record,
    samples,
    statement,
    with_trial,
)

RUN = migration(statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), timeout_ms=2000))
RATIO = gate("latency.p99{phase=migration}", "<=", 3, "latency.p99{phase=baseline}")
PASSED, FAILED, UNMEASURED = GateStatus.PASSED, GateStatus.FAILED, GateStatus.UNMEASURED


def evaluated(made: Gate, traffic: SampleColumns | None) -> GateResult:
    (result,) = judge(record(RUN, gates=(made,)), traffic).gates
    return result


def slower(factor: int, *, baseline_ms: int = 5, from_ns: int = START) -> SampleColumns:
    """Responses take `factor` times as long from `from_ns` on."""
    traffic = SampleColumns(scripts=(READ, WRITE))
    for number in range(14 * 100):
        for script in (0, 1):
            due = number * 10 * MS + script
            add(traffic, script, due, due + baseline_ms * MS * (factor if due >= from_ns else 1))
    return traffic


@pytest.mark.parametrize(
    ("operator", "limit", "status"),
    [
        ("<=", 1.5, PASSED),
        ("<=", 1.4, FAILED),
        ("<", 1.6, PASSED),
        ("<", 1.5, FAILED),
        (">=", 1.4, PASSED),
        (">", 1.6, FAILED),
        ("==", 1.5, PASSED),
        ("==", 1.0, FAILED),
    ],
)
def test_every_operator(operator: str, limit: float, status: GateStatus) -> None:
    traffic = samples(end_ns=14 * S, blocked=[Blocked(START, START + 3 * S // 2)])
    result = evaluated(gate("stall.max", operator, limit), traffic)
    assert result.observed is not None
    assert result.observed.value == pytest.approx(1.5)
    assert result.status is status


def test_two_milliseconds_becoming_seven_fail_nobody() -> None:
    result = evaluated(RATIO, slower(4, baseline_ms=2))
    assert result.status is PASSED
    assert result.limit is not None
    assert result.limit.value == pytest.approx(0.2)
    assert "floor" in result.note


def test_a_floor_of_ones_own_replaces_the_default() -> None:
    own = gate("latency.p99{phase=migration}", "<=", 3, "latency.p99{phase=baseline}", floor=0.001)
    assert evaluated(own, slower(4, baseline_ms=2)).status is FAILED


def test_a_ratio_above_the_floor_fails() -> None:
    assert evaluated(RATIO, slower(4, baseline_ms=100)).status is FAILED
    assert evaluated(RATIO, slower(2, baseline_ms=100)).status is PASSED


def test_a_difference_that_the_baseline_has_with_itself_is_not_called_one() -> None:
    strict = gate("latency.p99{phase=migration}", "<=", 1, "latency.p99{phase=baseline}", floor=0.001)
    traffic = slower(2, baseline_ms=100, from_ns=9 * S // 2)  # the second half of the baseline, and all after
    assert evaluated(strict, traffic).status is PASSED
    worse = slower(4, baseline_ms=100)
    assert evaluated(strict, worse).status is FAILED


def test_throughput_has_no_floor() -> None:
    drop = gate("throughput{phase=migration}", ">=", 0.9, "throughput{phase=baseline}")
    assert evaluated(drop, quiet(RUN)).status is PASSED
    assert evaluated(drop, samples(end_ns=14 * S, blocked=[Blocked(START, START + S)])).status is FAILED


@pytest.mark.parametrize(
    "metric",
    [
        "stall.max",
        "stall.total",
        "latency.p99{phase=migration}",
        "errors.rate",
        "throughput",
        "latency.p50{script=x}",
    ],
)
def test_a_gate_without_samples_is_unmeasured(metric: str) -> None:
    result = evaluated(gate(metric, "<=", 1000), None)
    assert result.status is UNMEASURED
    assert result.note


def test_a_ratio_to_what_was_not_measured_is_unmeasured() -> None:
    never = gate("latency.p99{phase=migration}", "<=", 3, "latency.p99{phase=baseline,script=nobody}")
    assert evaluated(never, quiet(RUN)).status is UNMEASURED


def test_a_stall_no_longer_than_the_baselines_own_is_not_told_from_it() -> None:
    traffic = samples(
        end_ns=14 * S, blocked=[Blocked(3 * S, 3 * S + 3 * S // 2), Blocked(START, START + 3 * S // 2)]
    )
    assert evaluated(gate("stall.max", "<=", 1), traffic).status is UNMEASURED
    longer = samples(
        end_ns=14 * S, blocked=[Blocked(3 * S, 3 * S + S // 2), Blocked(START, START + 3 * S // 2)]
    )
    assert evaluated(gate("stall.max", "<=", 1), longer).status is FAILED


def test_a_stall_in_which_the_observer_stood_still_as_well_is_not_the_migrations() -> None:
    freeze = (START + 2 * S, START + 4 * S)
    made = record(RUN, gates=(gate("stall.max", "<=", 1),))
    frozen = with_trial(made, observer=ObserverCost(500, 1, 100, 2 * S, 100 * MS, gaps=(freeze,)))
    traffic = samples(end_ns=14 * S, blocked=[Blocked(*freeze)])
    assert judge(frozen, traffic).verdict is Verdict.INCONCLUSIVE
    assert judge(made, traffic).verdict is Verdict.NO_GO


def test_a_failed_gate_gives_a_finding_of_its_rule_that_names_the_statement() -> None:
    run = migration(statement("LOCK TABLE orders", lock(ORDERS, AX), took_s=1.5, waited_s=1.5))
    judgement = judge(record(run), queued(run))
    stall = next(f for f in judgement.findings if f.rule == "stall")
    assert (stall.severity, stall.statement) == (Severity.FAILURE, 0)
    assert stall.observed is not None
    assert stall.observed.value == pytest.approx(1.5, rel=0.05)
    assert any("1.5 s" in line for line in stall.evidence)


@pytest.mark.parametrize(
    ("metric", "rule"),
    [
        ("duration", "duration"),
        ("duration.projected", "duration"),
        ("wal.bytes", "wal-volume"),
        ("wal.projected", "wal-volume"),
        ("disk.peak", "disk-headroom"),
        ("throughput", "latency"),
        ("latency.avg", "latency"),
        ("errors.count", "errors"),
        ("stall.total", "stall"),
        ("blocking.held", "stall"),
    ],
)
def test_every_metric_has_a_rule(metric: str, rule: str) -> None:
    impossible = gate(metric, ">", 1e12)
    sizes = tuple(ResourceSample(at_ns, database_bytes=9_000) for at_ns in (START - 1, end_of(RUN)[1]))
    judgement = judge(with_trial(record(RUN, gates=(impossible,)), resources=sizes), quiet(RUN))
    assert judgement.verdict is Verdict.NO_GO
    assert {f.rule for f in judgement.findings if f.severity is Severity.FAILURE} == {rule}


def test_a_gate_that_the_user_left_out_finds_nothing() -> None:
    run = migration(
        statement(
            "ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=3, waited_s=2.99, timeout_ms=5000
        )
    )
    assert judge(record(run), queued(run)).verdict is Verdict.NO_GO
    assert judge(record(run, gates=()), queued(run)).verdict is Verdict.GO


def test_the_same_record_gives_the_same_judgement() -> None:
    made, traffic = record(RUN), queued(RUN)
    assert judge(made, traffic) == judge(replace(made), queued(RUN))
    assert end_of(RUN)[0] == START + S
