"""Gates as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.errors import ScenarioError
from rehearse.model.gates import METRIC_KINDS, Comparison, Gate, MetricRef
from rehearse.model.record import Phase
from rehearse.scenario.gates import (
    default_gates,
    parse_gate,
    parse_gate_expression,
    parse_metric,
    with_gates,
)


def gate(text: str) -> Gate:
    parsed = parse_gate_expression(text)
    assert isinstance(parsed, Gate)
    return parsed


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("stall.max <= 1s", 1.0),
        ("stall.max <= 500ms", 0.5),
        ("stall.max <= 250us", 0.00025),
        ("stall.max<=0.5 s", 0.5),
        ("duration <= 2m", 120.0),
        ("errors.rate <= 0.1%", 0.001),
        ("errors.rate <= 0.001", 0.001),
        ("errors.rate == 0", 0.0),
        ("errors.count <= 1_000", 1000.0),
        ("throughput >= 300/s", 300.0),
        ("throughput >= 300", 300.0),
        ("wal.bytes < 64MiB", 64 * 1024**2),
        ("wal.bytes < 1.5 GB", 1.5e9),
        ("wal.projected < 10kB", 10_000.0),
        ("wal.projected < 10B", 10.0),
    ],
)
def test_a_limit_comes_out_in_the_base_unit(text: str, limit: float) -> None:
    assert gate(text).limit == pytest.approx(limit)


def test_the_way_back_is_a_phase() -> None:
    assert gate("latency.p99{phase=down} <= 3x latency.p99{phase=baseline}").metric.of_down
    stall = gate("stall.max{script=place_order,phase=down} <= 1s").metric
    assert str(stall) == "stall.max{phase=down,script=place_order}"
    assert not gate("stall.max <= 1s").metric.of_down
    for text in ("stall.max{phase=baseline} <= 1s", "wal.projected{phase=down} <= 1GB"):
        with pytest.raises(ScenarioError, match=r"unknown|no phase"):
            gate(text)


def test_selectors_come_out_in_one_order() -> None:
    ref = MetricRef("latency.p99", (("phase", "migration"), ("script", "place_order")))

    assert parse_metric("latency.p99{phase=migration,script=place_order}") == ref
    assert parse_metric(" latency.p99 { script = place_order , phase = migration } ") == ref
    assert str(ref) == "latency.p99{phase=migration,script=place_order}"


def test_a_limit_may_be_a_multiple_of_another_metric_with_a_floor() -> None:
    parsed = gate("latency.p99{phase=migration} <= 3x latency.p99{phase=baseline} floor 50ms")

    assert parsed.comparison is Comparison.AT_MOST
    assert parsed.limit == 3.0
    assert parsed.relative_to == MetricRef("latency.p99", (("phase", "baseline"),))
    assert parsed.floor == 0.05
    assert gate("latency.p99 > 1.5x latency.p50").floor is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stal.max <= 1s", "unknown metric `stal.max`; did you mean `stall.max`?"),
        ("stall.max", "`stall.max` is not a gate; write it as `stall.max <= 500ms`"),
        ("stall.max ~ 1s", "is not a condition for `stall.max`; write `<= 500ms`, or `off`"),
        ("stall.max <= soon", "`soon` is not a limit for `stall.max`; write it as `500ms`"),
        ("stall.max <= 1", "the limit `1` of `stall.max` has no unit; write it as `500ms`"),
        ("stall.max <= 1 MB", "`stall.max` is a time, and `1 MB` is a size in bytes; write it as `500ms`"),
        ("wal.bytes <= 1s", "`wal.bytes` is a size in bytes, and `1s` is a time"),
        ("stall.max <= 1 parsec", "unknown unit `parsec`"),
        ("errors.rate <= 5", "is above 100 %"),
        ("errors.rate <= 101%", "is above 100 %"),
        ("stall.max <= -1s", "is not a limit"),
        ("latency.p99{phase=migratoin} <= 1s", "unknown phase `migratoin`; did you mean `migration`?"),
        ("latency.p99{stage=migration} <= 1s", "unknown selector `stage` of `latency.p99`"),
        ("latency.p99{phase} <= 1s", "`phase` is not a selector"),
        ("latency.p99{phase=baseline,phase=migration} <= 1s", "is given twice"),
        (
            "wal.projected{phase=migration} <= 1s",
            "unknown selector `phase` of `wal.projected`; it takes none",
        ),
        ("duration{phase=migration} <= 1s", "`duration` has no phase `migration`; leave it out, or ask"),
        ("latency.p99 <= 3x latency.p98", "unknown metric `latency.p98`"),
        ("latency.p99 <= 3x wal.bytes", "`latency.p99` is a time and `wal.bytes` is a size in bytes"),
        ("latency.p99 <= 3x latency.p99", "is compared with itself"),
        ("latency.p99 <= 0x latency.p50", "must be above 0"),
        ("latency.p99 <= 3x latency.p50 floor 1MB", "is a size in bytes"),
    ],
)
def test_what_is_wrong_with_a_gate_is_named(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_gate_expression(text)
    assert message in str(caught.value)


def test_a_script_has_to_be_one_of_the_workload_where_that_is_known() -> None:
    text = "latency.p99{script=plce_order}"
    with pytest.raises(ScenarioError, match="unknown script `plce_order`; did you mean `place_order`"):
        parse_gate(text, "<= 1s", ["place_order", "read_order"])
    assert parse_gate(text, "<= 1s").metric.selector == (("script", "plce_order"),)


def test_a_gate_replaces_the_one_on_the_same_metric_and_off_takes_it_away() -> None:
    gates = with_gates(
        default_gates(),
        [
            gate("stall.max <= 9s"),
            gate("latency.p99{phase=recovery} <= 1s"),
            parse_gate_expression("errors.rate off"),
        ],
    )
    assert [each.text for each in gates] == [
        "stall.max <= 9s",
        "latency.p99{phase=migration} <= 3x latency.p99{phase=baseline}",
        "blocking.projected <= 1s",
        "latency.p99{phase=recovery} <= 1s",
    ]


@st.composite
def metrics(draw: st.DrawFn) -> MetricRef:
    kind = draw(st.sampled_from(list(METRIC_KINDS.values())))
    values = {"phase": st.sampled_from([phase.value for phase in Phase]), "script": st.just("a")}
    chosen = [(key, draw(values[key])) for key in kind.selectors if draw(st.booleans())]
    return MetricRef(kind.name, tuple(chosen))


@given(metrics(), st.sampled_from(list(Comparison)), st.floats(0, 1, allow_subnormal=False))
def test_the_text_of_a_gate_is_a_gate(metric: MetricRef, comparison: Comparison, number: float) -> None:
    unit = {"s": "s", "B": "B"}.get(METRIC_KINDS[metric.name].unit.value, "")
    first = gate(f"{metric} {comparison.value} {number:.6f}{unit}")

    assert first.metric == metric
    assert first.comparison is comparison
    assert first.limit == pytest.approx(number, abs=1e-6)
    assert gate(first.text) == first


@given(st.text(max_size=30))
def test_any_text_is_a_gate_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(ScenarioError):
        assert str(parse_gate_expression("stall.max " + text))
