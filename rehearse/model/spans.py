"""Stretches of time, `start_ns <= t < end_ns`, as sorted tuples without overlaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TypeAlias

Spans: TypeAlias = tuple[tuple[int, int], ...]


def united(spans: Iterable[tuple[int, int]]) -> Spans:
    """All the time that is in any of `spans`, which come in any order and may overlap."""
    found: list[tuple[int, int]] = []
    for start_ns, end_ns in sorted(spans):
        if found and start_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end_ns)
        elif start_ns < end_ns:
            found.append((start_ns, end_ns))
    return tuple(found)


def common(lists: Sequence[Iterable[tuple[int, int]]]) -> Spans:
    """The time that is in every one of `lists`; none where there is no list."""
    return reduce(_both, map(united, lists[1:]), united(lists[0])) if lists else ()


def overlap_ns(spans: Iterable[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    """How much of `start_ns` to `end_ns` lies in `spans`, which do not overlap."""
    return sum(max(0, min(end, end_ns) - max(start, start_ns)) for start, end in spans)


def _both(one: Spans, other: Spans) -> Spans:
    return tuple((max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) < min(b, d))
