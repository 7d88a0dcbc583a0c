"""Values of a list, each with a share of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, key_of, mix
from rehearse.dataset.generators import Places
from rehearse.dataset.values import Values

# ranks whose shares are summed up exactly; beyond them the sum is its integral
_EXACT_RANKS = 1 << 16
# values that a place, a double, tells apart
_TOLD_APART = 1 << 50


@dataclass(frozen=True)
class Weighted:
    """`items` with their `weights`, which need not sum to one."""

    items: tuple[str | None, ...]
    weights: tuple[float, ...]

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return len(set(self.items))

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The item whose share of [0, 1) each place falls into."""
        del rows
        return _texts(self.items).gather(np.searchsorted(_bounds(self.weights), places, side="right"))


@dataclass(frozen=True)
class Zipfian:
    """The values of a countable set by rank: the k-th in proportion to k ** -exponent."""

    values: Values
    count: int
    exponent: float

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return self.count

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The values at the ranks that these places fall into."""
        del rows
        return self.values.at(zipf_ranks(places, self.count, self.exponent))


@dataclass(frozen=True)
class Evenly:
    """Every value of a countable set alike: what a column has when nobody says more."""

    values: Values

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return self.values.size

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The values at these places."""
        size = self.values.size
        if size <= _TOLD_APART:
            index = (places * size).astype(np.uint64)
            return self.values.at(np.minimum(index, np.uint64(size - 1)))
        # a place has no more bits than that: the rest of the number is drawn anew
        each = size // _TOLD_APART
        index = (places * _TOLD_APART).astype(np.uint64) * np.uint64(each)
        return self.values.at(index + mix(rows, key_of("rest")) % np.uint64(each))


def zipf_ranks(places: Places, count: int, exponent: float) -> Rows:
    """Ranks in [0, count), the k-th (from one) with the probability k ** -exponent / sum."""
    head, total = _zipf_head(count, exponent)
    scaled = places * total
    ranks = np.searchsorted(head, scaled, side="right").astype(np.uint64)
    beyond = scaled >= head[-1]
    if count > len(head) and beyond.any():
        ranks[beyond] = _tail_ranks(scaled[beyond] - head[-1], len(head), exponent)
    return np.minimum(ranks, np.uint64(count - 1))


@lru_cache(maxsize=64)
def _zipf_head(count: int, exponent: float) -> tuple[NDArray[np.float64], float]:
    """The running sums of the first ranks, and the sum of all."""
    first = min(count, _EXACT_RANKS)
    head = np.cumsum(np.arange(1, first + 1, dtype=np.float64) ** -exponent)
    return head, float(head[-1]) + _integral(first + 0.5, count + 0.5, exponent)


def _integral(low: float, high: float, exponent: float) -> float:
    if exponent == 1:
        return float(np.log(high / low))
    return float((high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent))


def _tail_ranks(area: NDArray[np.float64], first: int, exponent: float) -> Rows:
    """The ranks at which the integral from `first + 1/2` on comes to these areas."""
    low = first + 0.5
    if exponent == 1:
        ends = low * np.exp(area)
    else:
        ends = (low ** (1 - exponent) + area * (1 - exponent)) ** (1 / (1 - exponent))
    ranks: Rows = (ends - 0.5).astype(np.uint64)
    return ranks


@lru_cache(maxsize=256)
def _texts(items: tuple[str | None, ...]) -> pl.Series:
    return pl.Series(items, dtype=pl.String)


@lru_cache(maxsize=256)
def _bounds(weights: tuple[float, ...]) -> NDArray[np.float64]:
    """Where each item's share ends, but for the last one, which has what is left."""
    sums = np.array(list(accumulate(weights)))
    bounds: NDArray[np.float64] = (sums / sums[-1])[:-1]
    return bounds
