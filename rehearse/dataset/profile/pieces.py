"""A distribution out of common values and quantiles: its quantile function and the inverse. Pure."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.lattices import LATTICES, to_raw

Numbers: TypeAlias = NDArray[np.float64]

_MICRO = 6  # digits after the point that a number keeps here
_LEAST = 1e-9
_TAIL = 8.0  # a piece whose end is so many times its start is a tail, and thins out


@dataclass(frozen=True)
class Pieces:
    """Pieces of a line from the lowest to the highest, each with its `share`: a point where `low` is `high`,
    else an interval of `steps` equally likely values, or of any (0).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    share: tuple[float, ...]
    steps: tuple[int, ...]

    @classmethod
    def of(
        cls,
        points: Sequence[tuple[float, float]],
        bounds: Sequence[float],
        end: float = 0.0,
        *,
        unit: float = 0.0,
    ) -> Pieces:
        """Of `points` (value, share) and, for what they leave, of `bounds` with equal shares between them.

        The last interval reaches to its bound plus `end`: to have the last whole number in it. Where values
        are `unit` apart the intervals leave out the points that lie in them: those are counted already.
        """
        rest = max(0.0, 1.0 - sum(share for _, share in points)) if len(bounds) > 1 else 0.0
        each = rest / max(1, len(bounds) - 1)
        spans = [*pairwise(bounds)]
        weights: dict[float, float] = defaultdict(float)
        for value, share in points:
            weights[value] += share
        if unit:  # a bound that comes again is a value that many have
            for low in [low for low, high in spans if low == high]:
                weights[low] += each
            spans = [(low, high) for low, high in spans if low < high]
        cuts = sorted(weights)
        pieces = []
        for low, high in spans:
            top = high + end if high == bounds[-1] else high
            inner = cuts[bisect_left(cuts, low) if unit else bisect_right(cuts, low) : bisect_left(cuts, top)]
            parts = _cut(low, top, each, inner, unit)
            pieces += parts
            if not parts:  # there is nothing but points in it
                for value in inner:
                    weights[value] += each / len(inner)
        pieces += [(value, value, share) for value, share in weights.items()]
        pieces.sort(key=lambda piece: (piece[0], piece[1]))
        total = sum(piece[2] for piece in pieces) or 1.0
        return cls(
            tuple(piece[0] for piece in pieces),
            tuple(piece[1] for piece in pieces),
            tuple(piece[2] / total for piece in pieces),
            (0,) * len(pieces),
        )

    def thinned(self, distinct: float, draws: float, unit: float = 1.0) -> Pieces:
        """With only so many of the intervals' values, `unit` apart, in use that `draws` draws show
        `distinct` different ones: the same fraction of them everywhere.
        """
        low, high, share, _, _ = self._arrays
        values = np.maximum((high - low) / unit, 0.0)
        many = share * draws

        def used_of(fraction: float) -> Numbers:
            # an interval has one value at least, if it has a whole one at all
            used: Numbers = np.maximum(values * fraction, np.where(values >= 1, 1.0, 1e-9))
            return used

        def shown(fraction: float) -> float:
            used = used_of(fraction)
            return float(np.sum(np.where(values > 0, used * -np.expm1(-many / used), 1.0)))

        if distinct <= 0 or shown(1.0) <= 1.02 * distinct:
            return self
        least, most = 1e-18, 1.0
        for _ in range(80):
            middle = math.sqrt(least * most)
            least, most = (middle, most) if shown(middle) < distinct else (least, middle)
        # what rounding takes from one interval the next one gets
        upto = np.rint(np.cumsum(np.where(values > 0, used_of(most), 0.0)))
        steps = np.where(values > 0, np.maximum(1, np.diff(upto, prepend=0.0)), 0)
        return replace(self, steps=tuple(int(step) for step in steps))

    @cached_property
    def _arrays(self) -> tuple[Numbers, Numbers, Numbers, Numbers, Numbers]:
        low, high, share = (np.array(of, dtype=np.float64) for of in (self.low, self.high, self.share))
        ends = np.cumsum(share)
        return low, high, share, ends, np.array(self.steps, dtype=np.float64)

    def at(self, places: Numbers) -> Numbers:
        """The values below which these shares, in [0, 1), lie."""
        low, high, share, ends, steps = self._arrays
        piece = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
        within = (places - (ends - share)[piece]) / np.maximum(share[piece], 1e-300)
        within = np.clip(within, 0.0, 1.0 - 2.0**-53)
        few = steps[piece]
        within = np.where(few > 0, np.floor(within * np.maximum(few, 1)) / np.maximum(few, 1), within)
        start, end = low[piece], high[piece]
        values: Numbers = start + within * (end - start)
        thin = (start > _LEAST) & (end > _TAIL * start)
        if thin.any():
            first = start[thin]
            values[thin] = first * (end[thin] / first) ** within[thin]
        return values

    def shares(self, values: Numbers) -> Numbers:
        """The share that lies below each value, half of a point's own counted in."""
        low, high, share, _, _ = self._arrays
        total = np.zeros(len(values))
        for start, end, part in zip(low.tolist(), high.tolist(), share.tolist(), strict=True):
            if start == end:
                total += part * (0.5 * (values > start) + 0.5 * (values >= start))
            else:
                total += part * np.clip((values - start) / (end - start), 0.0, 1.0)
        return np.minimum(total, 1.0)


def _cut(
    low: float, high: float, share: float, inner: Sequence[float], unit: float
) -> list[tuple[float, float, float]]:
    """One interval, taken apart at the points in it, so that the whole stays in order; nothing, where the
    points, each `unit` long, leave nothing of it.
    """
    if high <= low or not inner:
        return [(low, high, share)]
    edges = [(a + unit, b) for a, b in pairwise([low - unit, *inner, high]) if a + unit < b]
    left = sum(b - a for a, b in edges)
    return [(a, b, share * (b - a) / left) for a, b in edges] if left > _LEAST else []


def numbers_of(texts: Sequence[str], base: str) -> tuple[float, ...]:
    """Values of a numeric or temporal type as numbers: units, days or seconds. What is infinite or cannot
    be read is left out; other types have none.
    """
    if base not in LATTICES:
        return ()
    form = LATTICES[base].form
    scale = _MICRO if form == "decimal" else 0
    raw = (to_raw(re.sub(r"[$,]", "", text) if form == "decimal" else text, form, scale) for text in texts)
    return tuple(number / 10**scale for number in raw if number is not None)


def values_for(distinct: float, draws: float) -> float:
    """Of how many equally likely values `draws` draws show `distinct` different ones, on average.

    0 where that is as good as any number: nearly every draw shows a new one.
    """
    if draws <= 0 or distinct <= 0 or distinct >= 0.98 * draws:
        return 0.0
    low, high = distinct, 100.0 * draws
    for _ in range(60):
        middle = math.sqrt(low * high)
        if middle * -math.expm1(-draws / middle) < distinct:
            low = middle
        else:
            high = middle
    return high
