"""A distribution out of common values and quantiles, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.dataset.bits import row_numbers
from rehearse.dataset.generators import Anywhere, InOrder
from rehearse.dataset.profile.fan import ProfiledFan
from rehearse.dataset.profile.pieces import Pieces, numbers_of, values_for
from rehearse.dataset.profile.shapes import Arrays, stretched
from rehearse.dataset.profile.texts import Documents, Spread, Words
from rehearse.dataset.profile.ties import measured, placing_for, reordered
from rehearse.dataset.values import Lattice

PLACES = (np.arange(20_000) + 0.5) / 20_000

NUMBERS = st.integers(-(10**6), 10**6).map(float)
BOUNDS = st.lists(NUMBERS, min_size=2, max_size=20).map(sorted)
POINTS = st.lists(st.tuples(NUMBERS, st.floats(0.001, 0.1)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(POINTS, BOUNDS)
def test_values_rise_with_places_and_shares_are_the_inverse(
    points: list[tuple[float, float]], bounds: list[float]
) -> None:
    pieces = Pieces.of(points, bounds)
    values = pieces.at(PLACES)
    # to the last digits of a double, where an interval ends and the next begins
    assert (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()
    below, above = pieces.shares(values - 1e-6), pieces.shares(values + 1e-6)
    thin = any(low > 0 and high > 8 * low for low, high in zip(pieces.low, pieces.high, strict=True))
    if not thin:  # a thinning tail is not straight
        assert (below <= PLACES + 1e-3).all()
        assert (above >= PLACES - 1e-3).all()


def test_points_have_their_shares_and_lie_in_order() -> None:
    pieces = Pieces.of([(5.0, 0.3), (20.0, 0.1)], [0.0, 10.0, 100.0])
    values = pieces.at(PLACES)
    assert np.mean(values == 5.0) == pytest.approx(0.3, abs=0.001)
    assert np.mean(values == 20.0) == pytest.approx(0.1, abs=0.001)
    rest = values[(values != 5.0) & (values != 20.0)]
    assert np.median(rest) == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("distinct", [40, 700, 9_000])
def test_thinned_pieces_show_so_many_values(distinct: int) -> None:
    rng = np.random.default_rng(1)
    pieces = Pieces.of([], [0.0, 100.0, 5_000.0, 100_000.0]).thinned(distinct, 30_000)
    drawn = np.floor(pieces.at(rng.random(30_000)))
    assert len(np.unique(drawn)) == pytest.approx(distinct, rel=0.05)


@pytest.mark.parametrize(("distinct", "draws"), [(10.0, 1e4), (900.0, 1e3), (5e4, 6e4)])
def test_values_for_a_number_of_distinct_draws(distinct: float, draws: float) -> None:
    values = values_for(distinct, draws)
    assert values * (1 - np.exp(-draws / values)) == pytest.approx(distinct, rel=0.001)
    assert values_for(draws, draws) == 0


def test_numbers_are_read_by_type() -> None:
    assert numbers_of(("1", "-2.5", "NaN"), "numeric") == (1.0, -2.5)
    assert numbers_of(("$1,234.50",), "money") == (1234.5,)
    assert numbers_of(("1970-01-03", "infinity"), "date") == (2.0,)
    assert numbers_of(("1970-01-01 00:01:00+00",), "timestamptz") == (60.0,)
    assert numbers_of(("a",), "text") == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5_000), st.floats(-1, 1))
def test_reordered_is_a_bijection(count: int, correlation: float) -> None:
    moved = reordered(row_numbers(0, count), count, correlation)
    assert sorted(moved.tolist()) == list(range(count))


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.4, 0.9])
def test_reordered_rows_correlate_as_asked(correlation: float) -> None:
    rows = row_numbers(0, 50_000)
    found = np.corrcoef(rows, reordered(rows, 50_000, correlation))[0, 1]
    assert found == pytest.approx(correlation, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=3, max_size=30).map(sorted), st.integers(30, 5_000))
def test_stretched_keys_differ_and_rise(knots: list[int], rows: int) -> None:
    made = stretched(Lattice("integer", ((1, 2**31 - 1),)), tuple(knots), rows)
    assert made is not None
    raw = made.raw(row_numbers(0, rows + 50))
    assert (np.diff(raw) >= 1).all()
    assert raw[0] == knots[0]


def test_stretched_keys_keep_their_gaps() -> None:
    made = stretched(Lattice("integer", ((1, 2**31 - 1),)), (1_000, 2_000, 12_000), 1_000)
    assert made is not None
    raw = made.raw(row_numbers(0, 1_000))
    assert raw[500] == 2_000
    assert raw[-1] == pytest.approx(12_000, abs=25)
    assert stretched(Lattice("integer", ((1, 500),)), (1, 400), 1_000) is None


@pytest.mark.parametrize("correlation", [-0.2, 0.2, 0.75, 0.93])
def test_placing_allows_for_equal_values(correlation: float) -> None:
    halves = Pieces.of([(0.0, 0.3), (1.0, 0.7)], [])
    placing = placing_for(correlation, halves)
    direct = placing.correlation if isinstance(placing, InOrder) else 0.0
    assert measured(direct, halves) == pytest.approx(correlation, abs=0.02)
    # two values drawn at random correlate with the order on disk all the same
    assert placing_for(0.3**2 + 0.7**2, halves) == Anywhere()


@pytest.mark.parametrize("size", [1_000, 40_000])
def test_fan_keeps_shares_and_the_number_of_parents(size: int) -> None:
    fan = ProfiledFan(((0.2, 0.1), (0.2, 0.05)), (0.0, 0.5, 1.0), used=0.4, draws=20 * size)
    rng = np.random.default_rng(3)
    parents = fan.parents(rng.random(20 * size), size)
    counts = np.sort(np.bincount(parents.astype(np.int64), minlength=size))[::-1] / (20 * size)
    assert counts[0] == pytest.approx(0.1, abs=0.02)
    assert counts[1] == pytest.approx(0.05, abs=0.02)
    assert np.count_nonzero(counts) == pytest.approx(0.4 * size, rel=0.08)
    assert parents.max() < size


def test_words_differ_rise_and_are_as_long_as_asked() -> None:
    words = Words("email", 50_000, (20, 24, 30), most=40)
    texts = words.at(row_numbers(0, 50_000))
    assert texts.n_unique() == 50_000
    assert texts.str.len_chars().mean() == pytest.approx(24.5, rel=0.02)
    letters = [text[:3] for text in texts[::500]]
    assert letters == sorted(letters)
    short = Words("word", 900, (2,)).at(row_numbers(0, 900))
    assert short.str.len_chars().to_list() == [3] * 900


def test_spread_words_continue_beyond_the_rows() -> None:
    spread = Spread(Words("name", 100_000, (12, 14)), 1_000, 0.3)
    texts = spread.at(row_numbers(0, 3_000))
    assert texts.n_unique() == 3_000


def test_documents_differ_and_are_documents() -> None:
    made = Documents("jsonb", 1_000, 300).at(row_numbers(0, 1_000))
    assert made.n_unique() == 1_000
    assert made.str.json_path_match("$.data").null_count() == 0
    raw = Documents("bytea", 1_000, 64).at(row_numbers(0, 1_000))
    assert raw.str.len_chars().to_list() == [2 + 2 * 63] * 1_000


def test_arrays_have_their_elements_so_often() -> None:
    arrays = Arrays(("vip", 'a "b"'), (0.6, 0.2), 1.5, numeric=False)
    texts = arrays.draw(row_numbers(0, 20_000), PLACES)
    assert texts.str.contains('"vip"', literal=True).mean() == pytest.approx(0.6, abs=0.02)
    elements = texts.str.count_matches(",") + (texts != "{}").cast(int)
    assert elements.mean() == pytest.approx(1.5, abs=0.03)
