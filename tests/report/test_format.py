"""Quantities read well, and never hide a small number behind a zero."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.model.verdict import Quantity, Unit
from rehearse.report import format as fmt


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.894, "2.9 s"),
        (1.0, "1 s"),
        (0.0047, "4.7 ms"),
        (0.0000124, "12 µs"),
        (0.99996, "1 s"),
        (0.312, "312 ms"),
        (59.7, "1 min"),
        (102.0, "1 min 42 s"),
        (7500.0, "2 h 5 min"),
        (273_600.0, "3 d 4 h"),
        (0.0, "0 s"),
        (-1.5, "-1.5 s"),
        (2e-10, "0.2 ns"),
        (None, "not measured"),
        (math.nan, "not measured"),
        (math.inf, "without end"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (300e6, "300 M"),
        (1234, "1,234"),
        (12_345, "12.3 k"),
        (999_999, "1 M"),
        (0, "0"),
        (0.4, "0.4"),
        (7, "7"),
    ],
)
def test_counts(number: float, text: str) -> None:
    assert fmt.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(512, "512 B"), (1.2 * 2**30, "1.2 GiB"), (2**20 - 1, "1 MiB"), (0, "0 B")]
)
def test_sizes(number: float, text: str) -> None:
    assert fmt.size(number) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.003, "0.3 %"), (0.0, "0 %"), (1.0, "100 %"), (0.0000012, "0.00012 %")]
)
def test_shares(share: float, text: str) -> None:
    assert fmt.percent(share) == text


def test_rates_and_rows() -> None:
    assert fmt.per_second(398.2) == "398 /s"
    assert fmt.per_second(650_000.0) == "650 k/s"
    assert fmt.rows(1) == "1 row"
    assert fmt.rows(300_000_000) == "300 M rows"
    assert fmt.plural(2, "process", "processes") == "2 processes"


POSITIVE = st.floats(min_value=1e-12, max_value=1e15)


@given(POSITIVE, st.sampled_from(Unit))
def test_nothing_that_is_not_zero_reads_as_zero(number: float, unit: Unit) -> None:
    text = fmt.quantity(Quantity(number, unit))
    assert re.search(r"[1-9]", text), text
    assert "e" not in text.split()[0], text


@given(st.floats(min_value=1e-9, max_value=59.0))
def test_a_duration_keeps_two_digits(seconds: float) -> None:
    number, unit = fmt.duration(seconds).split()
    scale = {"min": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert float(number) * scale == pytest.approx(seconds, rel=0.051)


@given(st.floats(min_value=1e-6, max_value=50.0), st.floats(min_value=1e-6, max_value=0.2))
def test_what_differs_is_told_apart(limit: float, excess: float) -> None:
    observed = Quantity(limit * (1 + excess), Unit.SECONDS)
    first, second = fmt.apart(observed, Quantity(limit, Unit.SECONDS))
    assert first != second


def test_a_miss_by_a_hair_shows_the_hair() -> None:
    assert fmt.apart(Quantity(1.004, Unit.SECONDS), Quantity(1.0, Unit.SECONDS)) == ("1.004 s", "1 s")
    assert fmt.apart(None, Quantity(1.0, Unit.SECONDS)) == ("not measured", "1 s")


@given(st.text(), st.integers(min_value=2, max_value=60))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    line = fmt.one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
