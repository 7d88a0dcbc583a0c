from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rehearse.workload import lots

_COUNT = 60_000


def _shares_fit(drawn: lots.Integers, low: int, shares: list[float]) -> None:
    """Chi-square: fails one time in a million by chance, and the seed is fixed."""
    seen = np.bincount(drawn - low, minlength=len(shares))
    assert len(seen) == len(shares)
    expected = np.array(shares) / sum(shares) * len(drawn)
    assert stats.chisquare(seen, expected).pvalue > 1e-6


def test_uniform() -> None:
    _shares_fit(lots.uniform(np.random.default_rng(1), -3, 6, _COUNT), -3, [0.1] * 10)


@pytest.mark.parametrize("parameter", [0.5, 3.0, 9.0])
def test_exponential_is_the_manuals_formula(parameter: float) -> None:
    low, high = 5, 14

    def f(x: int) -> float:
        return math.exp(-parameter * (x - low) / (high - low + 1)) / (1 - math.exp(-parameter))

    drawn = lots.exponential(np.random.default_rng(2), low, high, parameter, _COUNT)
    _shares_fit(drawn, low, [f(i) - f(i + 1) for i in range(low, high + 1)])


@pytest.mark.parametrize("parameter", [2.0, 4.0])
def test_gaussian_is_the_manuals_formula(parameter: float) -> None:
    low, high = -4, 5
    mu = (low + high) / 2

    def f(x: float) -> float:
        cut = 2 * stats.norm.cdf(parameter) - 1
        return float(stats.norm.cdf(2 * parameter * (x - mu) / (high - low + 1)) / cut)

    drawn = lots.gaussian(np.random.default_rng(3), low, high, parameter, _COUNT)
    shares = [f(i + 0.5) - f(i - 0.5) for i in range(low, high + 1)]
    assert sum(shares) == pytest.approx(1)
    _shares_fit(drawn, low, shares)


@pytest.mark.parametrize("parameter", [1.001, 1.07, 2.5])
def test_zipfian_falls_as_the_manual_says(parameter: float) -> None:
    drawn = lots.zipfian(np.random.default_rng(4), 100, 119, parameter, _COUNT)
    _shares_fit(drawn, 100, [k**-parameter for k in range(1, 21)])


def test_zipfian_over_a_wide_range_and_at_its_steepest() -> None:
    rng = np.random.default_rng(5)
    wide = lots.zipfian(rng, 1, 10**12, 1.001, 10_000)
    assert wide.min() >= 1
    assert wide.max() <= 10**12
    assert np.median(wide) > 10_000  # nearly flat in the logarithm
    assert set(lots.zipfian(rng, 7, 9, 1000, 1000).tolist()) == {7}


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(1, 200), st.sampled_from((255, 256, 257))), st.integers(-(2**63), 2**63 - 1))
def test_permute_is_a_permutation(size: int, seed: int) -> None:
    assert sorted(lots.permute(i, size, seed) for i in range(size)) == list(range(size))


def test_permute_takes_values_modulo_the_size_and_moves_them() -> None:
    assert lots.permute(17, 10, 5) == lots.permute(7, 10, 5)
    assert [lots.permute(i, 100, 1) for i in range(100)] != [lots.permute(i, 100, 2) for i in range(100)]


@pytest.mark.parametrize("draw", [lots.exponential, lots.gaussian, lots.zipfian])
@settings(max_examples=60, deadline=None)
@given(low=st.integers(-(10**9), 10**9), size=st.integers(1, 10**6), parameter=st.floats(2, 50))
def test_no_draw_leaves_its_bounds(
    draw: Callable[[np.random.Generator, int, int, float, int], lots.Integers],
    low: int,
    size: int,
    parameter: float,
) -> None:
    drawn = draw(np.random.default_rng(6), low, low + size - 1, parameter, 50)
    assert low <= drawn.min()
    assert drawn.max() < low + size
