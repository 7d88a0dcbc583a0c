"""Stretches of time, against sets of moments."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rehearse.model.spans import common, overlap_ns, united

lists = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5)


def moments(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {moment for start, end in spans for moment in range(start, end)}


@given(lists)
def test_united_spans_are_the_same_time_sorted_and_apart(spans: list[tuple[int, int]]) -> None:
    found = united(spans)
    assert moments(found) == moments(spans)
    assert all(start < end for start, end in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(st.lists(lists, max_size=3))
def test_what_is_common_is_in_every_list(many: list[list[tuple[int, int]]]) -> None:
    shared = set.intersection(*map(moments, many)) if many else set()
    assert moments(common(many)) == shared


@given(lists, st.integers(0, 30), st.integers(0, 30))
def test_the_overlap_is_counted_once(spans: list[tuple[int, int]], start: int, end: int) -> None:
    assert overlap_ns(united(spans), start, end) == len(moments(spans) & set(range(start, end)))
