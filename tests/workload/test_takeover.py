from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.model.workload import RateStep
from rehearse.workload.schedule import arrivals
from rehearse.workload.takeover import NOTHING, handed_over


def rate_at(steps: Sequence[RateStep], when_s: float) -> float:
    start_s, before = 0.0, 0.0
    for step in steps:
        end_s = float("inf") if step.until_s is None else step.until_s
        if when_s < end_s:
            if not step.ramp:
                return step.rate
            return before + (step.rate - before) * (when_s - start_s) / (end_s - start_s)
        start_s, before = end_s, step.rate
    return before


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2000), st.floats(0.5, 20), st.booleans()), max_size=4),
    st.floats(1, 2000),
    st.floats(0, 60),
    st.floats(0.01, 1),
    st.one_of(st.just(0.0), st.floats(0.1, 10)),
    st.floats(0.001, 0.999),
)
def test_both_together_are_what_one_alone_would_send(
    pieces: list[tuple[float, float, bool]],
    last: float,
    at_s: float,
    share: float,
    ramp_s: float,
    place: float,
) -> None:
    ends = np.cumsum([length for _, length, _ in pieces]).tolist()
    steps = [RateStep(rate, end, ramp) for (rate, _, ramp), end in zip(pieces, ends, strict=True)]
    steps.append(RateStep(last))
    going, coming = handed_over(steps, at_s, share, ramp_s)
    most = max(step.rate for step in steps)
    edges = {0.0, ramp_s, *(end - at_s for end in ends)}
    for when_s in (place * 2 * ramp_s, place * 60, ramp_s + place, 100.0):
        if min(abs(when_s - edge) for edge in edges) < 1e-5:  # a step takes a moment
            continue
        whole = rate_at(steps, at_s + when_s)
        old, new = rate_at(going, when_s), rate_at(coming, when_s)
        assert old + new == pytest.approx(whole, rel=1e-6, abs=most / 10_000)
        part = share if when_s >= ramp_s else share * when_s / ramp_s
        assert new == pytest.approx(whole * part, rel=1e-6, abs=most / 500)
        assert min(old, new) >= 0


def test_an_even_rate_is_handed_over_in_straight_lines() -> None:
    going, coming = handed_over([RateStep(200.0)], 33.0, 0.25, 4.0)
    assert [rate_at(going, at) for at in (1.0, 2.0, 5.0)] == pytest.approx([187.5, 175.0, 150.0])
    assert [rate_at(coming, at) for at in (1.0, 2.0, 5.0)] == pytest.approx([12.5, 25.0, 50.0])
    assert len(going) <= 4


def test_the_new_one_may_take_all_of_it() -> None:
    going, coming = handed_over([RateStep(0.0, 50.0), RateStep(100.0)], 10.0, 1.0, 5.0)
    assert going == NOTHING
    assert rate_at(coming, 60.0) == 100.0
    assert not list(arrivals(going, np.random.SeedSequence(1)))
