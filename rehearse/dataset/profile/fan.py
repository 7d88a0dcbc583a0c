"""A reference's children shared out over the parents as a profile has them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rehearse.dataset.bits import Rows
from rehearse.dataset.generators import Places
from rehearse.dataset.profile.pieces import Pieces

_NEARLY = 1e-6  # of a row


@dataclass(frozen=True)
class ProfiledFan:
    """`common` are the parents with most children as (where they stand among all, their share of the
    children); the others' children have quantiles at `bounds`. All of these lie in [0, 1].

    `used` is the fraction of the parents that have children at all (0: not known) among `draws` children.
    """

    common: tuple[tuple[float, float], ...]
    bounds: tuple[float, ...]
    used: float
    draws: int

    def parents(self, places: Places, size: int) -> Rows:
        """The parent row of each place."""
        rows = np.floor(of_size(self, size).at(places))
        return np.clip(rows, 0, size - 1).astype(np.uint64)


@lru_cache(maxsize=256)
def of_size(fan: ProfiledFan, size: int) -> Pieces:
    """The same in numbers of `size` parent rows: no two common parents are one."""
    points = []
    taken: set[int] = set()
    for position, share in fan.common[:size]:
        row = _nearest_free(min(size - 1, int(position * size)), taken, size)
        taken.add(row)
        points.append((float(row), share))
    # from a whole row to a whole row: no row is in two pieces
    bounds = [float(math.floor(bound * size + _NEARLY)) for bound in fan.bounds[:-1]]
    bounds += [float(math.ceil(bound * size - _NEARLY)) for bound in fan.bounds[-1:]]
    pieces = Pieces.of(points, bounds, unit=1.0)
    return pieces.thinned(fan.used * size, fan.draws)


def _nearest_free(row: int, taken: set[int], size: int) -> int:
    for distance in range(size):
        for near in (row + distance, row - distance):
            if 0 <= near < size and near not in taken:
                return near
    raise AssertionError("there are as many rows as common parents")
