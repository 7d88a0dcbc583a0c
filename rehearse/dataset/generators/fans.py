"""How the rows of a table are shared out over its parents."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rehearse.dataset.bits import Rows
from rehearse.dataset.generators import Fan, Places
from rehearse.dataset.generators.weighted import zipf_ranks

_STRIDE = 0x9E3779B1  # prime; less than 2**32, so that its product with a row number stays within 64 bits
_MOST_SCATTERED = 1 << 32


@dataclass(frozen=True, slots=True)
class EvenFan:
    """Every parent has as many children, but for chance."""

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place."""
        return np.minimum((places * size).astype(np.uint64), np.uint64(size - 1))


@dataclass(frozen=True, slots=True)
class ZipfFan:
    """The k-th busiest parent has children in proportion to k ** -exponent."""

    exponent: float

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place."""
        return scattered(zipf_ranks(places, size, self.exponent), size)


@dataclass(frozen=True, slots=True)
class LognormalFan:
    """Children per parent are lognormal, with the standard deviation `sigma` of the logarithm."""

    sigma: float

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place.

        The Lorenz curve of a lognormal is ndtr(ndtri(p) - sigma): parents up to rank p have that share of
        the children. Its inverse takes a share to the parent.
        """
        from scipy.special import ndtr, ndtri  # noqa: PLC0415 - takes a while to import, and few need it

        ranks = ndtr(ndtri(np.maximum(places, 2.0**-54)) + self.sigma) * size
        return scattered(np.minimum(ranks.astype(np.uint64), np.uint64(size - 1)), size)


@dataclass(frozen=True, slots=True)
class HotFan:
    """`fraction` of the parents get `share` of the children; within both groups `rest` decides."""

    fraction: float
    share: float
    rest: Fan

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place."""
        hot = min(size, max(1, round(self.fraction * size)))
        if hot == size:
            return self.rest.parents(places, size)
        is_hot = places < self.share
        parents = np.empty(len(places), dtype=np.uint64)
        parents[is_hot] = self.rest.parents(places[is_hot] / self.share, hot)
        cold = (places[~is_hot] - self.share) / (1 - self.share)
        parents[~is_hot] = self.rest.parents(cold, size - hot) + np.uint64(hot)
        return scattered(parents, size)


@dataclass(frozen=True, slots=True)
class Exactly:
    """A fan whose rows are told apart by a unique key that holds the reference: see `dataset.siblings`.

    `optional`: where the key leaves no room for it, it is left out; else that is an error.
    """

    fan: Fan
    optional: bool = False

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place."""
        return self.fan.parents(places, size)


def scattered(ranks: Rows, size: int) -> Rows:
    """A bijection of [0, size): neighbours in rank are not neighbours in the table."""
    if size > _MOST_SCATTERED:
        return ranks
    stride = next(_STRIDE + 2 * n for n in range(size) if math.gcd(_STRIDE + 2 * n, size) == 1)
    return (ranks * np.uint64(stride % size)) % np.uint64(size)
