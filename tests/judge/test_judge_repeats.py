"""Gates over several trials: by the interval, never by luck, and unmeasured in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.gates import METRIC_KINDS, METRICS, Gate
from rehearse.model.repeats import Repeat
from rehearse.model.verdict import GateResult, GateStatus, Verdict
from tests.judge.build import AX, ORDERS, gate, lock, migration, quiet, record, statement

RUN = migration(statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), timeout_ms=2000))
AFTER, BEFORE = "latency.p99{phase=migration}", "latency.p99{phase=baseline}"
STALL = gate("stall.max", "<=", 1.0)
PASSED, FAILED, UNMEASURED = GateStatus.PASSED, GateStatus.FAILED, GateStatus.UNMEASURED


def over(made: Gate, *values: Mapping[str, float | None], noisy: int = 0) -> GateResult:
    repeats = [Repeat(Verdict.GO, metrics=tuple(each.items())) for each in values]
    repeats += [Repeat(Verdict.INCONCLUSIVE, noisy=True, metrics=(("stall.max", 99.0),))] * noisy
    whole = record(RUN, gates=(made,))
    whole = replace(whole, scenario=replace(whole.scenario, repeat=len(repeats)), repeats=tuple(repeats))
    (result,) = judge(whole, quiet(RUN)).gates
    return result


def stalls(*seconds: float | None, noisy: int = 0) -> GateResult:
    return over(STALL, *({"stall.max": value} for value in seconds), noisy=noisy)


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        ((0.2, 0.3, 0.25), PASSED),
        ((1.0, 1.0, 1.0), PASSED),
        ((3.1, 2.9, 3.0), FAILED),
        ((0.5, 1.4, 0.9), UNMEASURED),
        ((0.8, 0.9, 0.2, 2.0), UNMEASURED),
    ],
)
def test_the_whole_interval_has_to_be_on_one_side(seconds: tuple[float, ...], status: GateStatus) -> None:
    result = stalls(*seconds)
    assert result.status is status
    assert result.observed is not None
    assert result.observed.value == pytest.approx(sum(seconds) / len(seconds))
    assert f"over {len(seconds)} trials" in result.note


def test_in_between_it_says_how_many_would_tell() -> None:
    assert "trials would tell" in stalls(0.5, 1.2, 0.7).note
    assert "hundreds would not tell" in stalls(0.5, 1.5, 1.01, 0.99).note


def test_a_noisy_trial_counts_nowhere() -> None:
    assert stalls(0.2, 0.3, 0.25, noisy=2).status is PASSED
    alone = stalls(0.2, noisy=2)
    assert alone.status is UNMEASURED
    assert "1 of 3" in alone.note


def test_what_one_trial_did_not_measure_is_not_passed() -> None:
    assert stalls(0.2, None, 0.2).status is UNMEASURED
    assert "run them again" in over(STALL, {"duration": 1.0}, {"duration": 1.0}).note


def test_a_ratio_is_held_against_each_trials_own_baseline() -> None:
    ratio = gate(AFTER, "<=", 3.0, BEFORE, floor=0.001)
    # slow and quick machines in turn: the ratio is 2 in each
    steady = [{AFTER: 2 * base, BEFORE: base} for base in (0.1, 0.5, 0.2, 0.4)]
    worse = [{AFTER: 4 * base, BEFORE: base} for base in (0.38, 0.41, 0.4, 0.42)]
    assert over(ratio, *steady).status is PASSED
    assert over(ratio, *worse).status is FAILED


def test_the_baseline_is_tested_against() -> None:
    ratio = gate(AFTER, "<=", 3.0, BEFORE, floor=0.5)
    told = over(ratio, *({AFTER: 0.02 + n / 1000, BEFORE: 0.01 + n / 1000} for n in range(4)))
    assert "exact Mann-Whitney p = 0.029" in told.note
    assert "0.029" in told.note.partition("least")[2]


def test_equality_holds_in_all_or_in_none() -> None:
    same = gate("errors.count", "==", 0)
    for counts, status in (((0, 0), PASSED), ((0, 3), UNMEASURED), ((2, 3), FAILED)):
        assert over(same, *({"errors.count": float(count)} for count in counts)).status is status


def test_one_run_says_what_it_could_have_seen() -> None:
    gates = (gate(AFTER, "<=", 3, BEFORE), STALL, gate("errors.rate", "<=", 0.001), gate("duration", "<=", 9))
    results = judge(record(RUN, gates=gates), quiet(RUN)).gates
    latency, stall, errors, duration = (result.resolution for result in results)
    assert latency is not None
    assert 0 <= latency.value < 0.005
    assert stall is not None
    assert stall.value == pytest.approx(0.1)
    assert errors is not None
    assert 0 < errors.value < 0.01
    assert duration is not None
    assert duration.value == pytest.approx(0.002, rel=1)


def test_every_gate_says_what_it_could_have_seen() -> None:
    limits = {"ratio": 0.5, "count": 5.0}
    names = [kind.name for kind in METRICS if not kind.name.startswith(("replica.", "disk."))]
    gates = tuple(gate(name, "<=", limits.get(METRIC_KINDS[name].unit.value, 900.0)) for name in names)
    results = judge(record(RUN, gates=gates), quiet(RUN)).gates
    assert len(results) == len(names)
    for result in results:
        if result.observed is not None:
            assert result.resolution is not None, result.gate
            assert result.resolution.value >= 0
    assert sum(result.observed is not None for result in results) > 12
