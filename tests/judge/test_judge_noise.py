"""Intervals, exact tests and what one run could have seen: against known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rehearse.judge.noise import (
    interval,
    least_p,
    mann_whitney,
    repeats_needed,
    smallest_difference,
)

VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=12)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_interval_covers_the_true_mean_nineteen_times_of_twenty(count: int) -> None:
    random = np.random.default_rng(count)
    runs = 300
    covered = 0
    for _ in range(runs):
        found = interval(random.normal(10.0, 2.0, count).tolist())
        covered += found.low <= 10.0 <= found.high
    # three standard deviations of the simulation itself below 95 %
    assert covered / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)


def test_of_lopsided_times_it_covers_nearly_as_often() -> None:
    random = np.random.default_rng(7)
    mean = math.exp(0.5 * 0.5**2)
    found = [interval(random.lognormal(0.0, 0.5, 8).tolist()) for _ in range(300)]
    assert sum(each.low <= mean <= each.high for each in found) / 300 >= 0.85


@settings(max_examples=40, deadline=None)
@given(VALUES, st.floats(-1e6, 1e6), st.floats(0.1, 100))
def test_it_holds_the_mean_and_moves_with_the_values(values: list[float], shift: float, scale: float) -> None:
    found = interval(values)
    tolerance = 1e-6 * (abs(shift) + max(map(abs, values)) + 1) * scale
    mean = float(np.mean(values))
    assert found.low <= mean + 1e-6
    assert mean - 1e-6 <= found.high
    moved = interval([scale * value + shift for value in values])
    assert moved.low == pytest.approx(scale * found.low + shift, abs=10 * tolerance)
    assert moved.high == pytest.approx(scale * found.high + shift, abs=10 * tolerance)
    assert interval(values) == found  # no chance in it


def test_equal_values_leave_no_doubt() -> None:
    assert interval([0.25] * 3).half_width == 0.0
    with pytest.raises(ValueError, match="two values"):
        interval([1.0])


def test_how_many_repeats_would_tell() -> None:
    margins = [-0.3, 0.3, -0.6, -0.2]
    needed = repeats_needed(margins)
    assert needed is not None
    assert needed > len(margins)
    assert repeats_needed([-1.0, 1.0, -1.0, 1.0]) is None
    assert repeats_needed([-1.0, -1.1, 0.5]) == next(
        n for n in range(4, 200) if interval_half(n, [-1.0, -1.1, 0.5]) < abs(np.mean([-1.0, -1.1, 0.5]))
    )


def interval_half(count: int, values: list[float]) -> float:
    return float(stats.t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)


def test_the_exact_test_is_what_counting_gives() -> None:
    before, after = [1.0, 2.0, 4.0], [3.0, 5.0, 6.0]
    statistic = sum(x > y for x in before for y in after)
    every = [
        sum(x > y for x in left for y in [v for v in range(1, 7) if v not in left])
        for left in itertools.combinations(range(1, 7), 3)
    ]
    one_sided = sum(value <= statistic for value in every) / len(every)
    assert mann_whitney(before, after) == pytest.approx(2 * one_sided)


def test_with_ties_it_is_exact_all_the_same() -> None:
    assert mann_whitney([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert mann_whitney([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) == pytest.approx(0.1)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_no_test_says_more_than_its_numbers_can(count: int) -> None:
    apart = mann_whitney(list(range(count)), list(range(10, 10 + count)))
    assert apart == pytest.approx(least_p(count, count))


def test_the_smallest_difference_grows_with_the_noise_and_shrinks_with_time() -> None:
    random = np.random.default_rng(3)
    calm = [random.normal(5.0, 0.1, 100) for _ in range(20)]
    rough = [random.normal(5.0 + random.normal(0, 1.0), 0.1, 100) for _ in range(20)]

    def mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(values.mean())

    seen = {name: smallest_difference(blocks, 2, mean) for name, blocks in (("calm", calm), ("rough", rough))}
    long = smallest_difference(rough, 40, mean)
    assert seen["calm"] is not None
    assert seen["rough"] is not None
    assert long is not None
    assert 0 < seen["calm"] < 0.1 < seen["rough"]
    assert long < seen["rough"]
    assert smallest_difference(rough, 2, mean) == seen["rough"]


def test_chance_alone_stays_below_it_nineteen_times_of_twenty() -> None:
    random = np.random.default_rng(11)
    below = 0
    for _ in range(80):
        blocks = [random.normal(0.0, 1.0, 20) for _ in range(30)]
        limit = smallest_difference(blocks, 30, lambda values: float(values.mean()))
        assert limit is not None
        first, second = random.normal(0.0, 1.0, 600), random.normal(0.0, 1.0, 600)
        below += abs(float(first.mean() - second.mean())) <= limit
    assert below / 80 >= 0.86


def test_too_little_to_say() -> None:
    block = np.array([1.0])
    assert smallest_difference([block, block], 1, lambda v: float(v.mean())) is None
    assert smallest_difference([np.array([])] * 9, 1, lambda v: float(v.mean())) is None
