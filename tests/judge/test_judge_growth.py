"""Which law the points of a scale trial follow, and how far that can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.growth import DISK_BYTES, LOG_BYTES, TIMES, fit_growth, without_slowest
from rehearse.model.growth import Law

SIZES = (250_000.0, 500_000.0, 1_000_000.0)
FAR = 200_000_000.0
Truth = Callable[[float], float]

starts = st.floats(0, 0.5)
rows = st.floats(1e3, 1e8)
parts = st.sampled_from([(0.25, 0.5, 1.0), (0.5, 1.0), (0.1, 0.2, 0.5, 1.0)])


def measured(truth: Truth, noise: float, seed: int) -> tuple[tuple[float, float], ...]:
    """Three times each, with noise to both sides."""
    draw = np.random.default_rng(seed)
    return tuple((n, truth(n) * (1 + noise * float(draw.standard_normal()))) for n in SIZES for _ in range(3))


@settings(deadline=None, max_examples=60)
@given(starts, st.floats(1.0, 100.0), rows, parts)
def test_a_line_without_noise_is_found_and_followed(
    start: float, rise: float, most: float, where: tuple[float, ...]
) -> None:
    points = [(most * part, start + rise * part) for part in where]
    fit = fit_growth(points, TIMES)
    assert fit is not None
    assert fit.law is Law.LINEAR
    bounds = fit.at(200 * most)
    assert bounds.point == pytest.approx(start + rise * 200)
    assert bounds.low < bounds.point < bounds.high


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1e6), rows, parts)
def test_what_is_the_same_at_every_size_does_not_grow(
    value: float, most: float, where: tuple[float, ...]
) -> None:
    points = [(most * part, value) for part in where for _ in range(2)]
    fit = fit_growth(points, LOG_BYTES)
    assert fit is not None
    assert (fit.law, fit.clear) == (Law.CONSTANT, False)
    assert fit.at(200 * most).point == pytest.approx(value)
    # known to grow for another reason, it may, unseen
    assert fit.at(200 * most, grows=True).high > value


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(SIZES), st.floats(0, 100)), min_size=1, max_size=12), st.booleans())
def test_whatever_is_measured_the_interval_holds_its_middle(
    points: list[tuple[float, float]], sorting: bool
) -> None:
    fit = fit_growth(points, TIMES, sorting=sorting)
    if len({n for n, _ in points}) < 2:
        assert fit is None
        return
    assert fit is not None
    for grows in (True, False, None):
        bounds = fit.at(FAR, grows=grows)
        assert 0 <= bounds.low <= bounds.point <= bounds.high


def test_twice_the_values_are_twice_the_projection() -> None:
    once = fit_growth(measured(lambda n: 2 + n / 1e5, 0.05, 1), TIMES)
    twice = fit_growth([(n, 2 * v) for n, v in measured(lambda n: 2 + n / 1e5, 0.05, 1)], TIMES)
    assert once is not None
    assert twice is not None
    assert twice.at(FAR).point == pytest.approx(2 * once.at(FAR).point)


def test_sorting_grows_as_n_log_n() -> None:
    def sort(n: float) -> float:
        return n * math.log(n) / 1e6

    fit = fit_growth([(n, sort(n)) for n in SIZES], TIMES, sorting=True)
    assert fit is not None
    assert fit.law is Law.N_LOG_N
    assert fit.at(FAR).point == pytest.approx(sort(FAR), rel=0.01)
    # a line through the same points is below that, and not ruled out where sorting is not expected
    unaware = fit_growth([(n, sort(n)) for n in SIZES], TIMES)
    assert unaware is not None
    assert unaware.at(FAR).point < sort(FAR) < unaware.at(FAR).high


def test_a_parabola_is_told_from_n_log_n_and_its_end_is_in_the_interval() -> None:
    points = [(n, 30 * (n / 1e6) ** 2) for n in SIZES for _ in range(2)]
    fit = fit_growth(points, TIMES)
    assert fit is not None
    assert fit.law is Law.FASTER
    assert fit.at(FAR).high >= 30 * (FAR / 1e6) ** 2


@pytest.mark.parametrize(
    ("truth", "law"),
    [
        (lambda _: 0.004, Law.CONSTANT),
        (lambda _: 3.0, Law.CONSTANT),
        (lambda n: 0.05 + n / 1e6, Law.LINEAR),
    ],
)
def test_the_law_is_told_under_noise_and_the_truth_lies_within(truth: Truth, law: Law) -> None:
    """400 trials with noise of 5 %: the law nearly always, the interval 19 times out of 20 or more often."""
    fits = [fit_growth(measured(truth, 0.05, seed), TIMES) for seed in range(400)]
    found = [fit for fit in fits if fit is not None]
    assert sum(fit.law is law for fit in found) >= 0.95 * 400
    grows = law is not Law.CONSTANT
    ends = [fit.at(FAR, grows=grows) for fit in found]
    assert sum(each.low <= truth(FAR) <= each.high for each in ends) >= 0.94 * 400
    assert not any(fit.clear for fit in found if not grows)


def test_a_machine_twice_as_noisy_as_assumed_widens_the_interval() -> None:
    widths = []
    for noise in (0.0, 0.3):
        fit = fit_growth(measured(lambda n: n / 1e6, noise, 7), TIMES)
        assert fit is not None
        bounds = fit.at(FAR)
        widths.append(bounds.high - bounds.low)
    calm, noisy = widths
    assert noisy > 2 * calm


def test_the_longest_of_three_is_left_out() -> None:
    points = ((1.0, 5.0), (1.0, 9.0), (1.0, 6.0), (2.0, 7.0), (2.0, 8.0))
    assert without_slowest(points) == ((1.0, 5.0), (1.0, 6.0), (2.0, 7.0), (2.0, 8.0))


def test_space_that_is_a_few_pages_more_is_not_called_growth() -> None:
    fit = fit_growth([(n, 8192.0 * (1 + (n > 500_000))) for n in SIZES], DISK_BYTES)
    assert fit is not None
    assert fit.law is Law.CONSTANT
