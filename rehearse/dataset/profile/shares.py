"""How far the frequencies of common values are apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

from rehearse.model.profile import CommonValue

TOP = 10


def apart(mine: Sequence[CommonValue], theirs: Sequence[CommonValue], rows: int) -> float:
    """The largest difference beyond chance: by value, as far as both sides have them, else by rank."""
    if all(common.value is not None for common in (*mine, *theirs)):
        here, there = ({common.value: common.frequency for common in side} for side in (mine, theirs))
        # what is not among a side's common values is rarer than all of these
        pairs = [(here.get(value, 0.0), there.get(value, 0.0)) for value in _top(here) + _top(there)]
    else:
        sides = (mine, theirs)
        ranked = [sorted((common.frequency for common in side), reverse=True)[:TOP] for side in sides]
        pairs = [(_or_least(a, ranked[0], b), _or_least(b, ranked[1], a)) for a, b in zip_longest(*ranked)]
    return max(max(0.0, abs(a - b) - chance(a, rows)) for a, b in pairs)


def chance(share: float, rows: int) -> float:
    """How far two shares of so many rows may be apart when nothing but chance differs: two deviations."""
    return 2 * math.sqrt(2 * share * (1 - share) / rows)


def _top(shares: dict[str | None, float]) -> list[str | None]:
    return sorted(shares, key=lambda value: -shares[value])[:TOP]


def _or_least(share: float | None, shares: Sequence[float], other: float | None) -> float:
    """A rank that a side does not have: no more than its least, and nothing to hold against it below."""
    if share is not None:
        return share
    return min(other or 0.0, min(shares, default=0.0))
