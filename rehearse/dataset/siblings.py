"""Children of the same parent, told apart: a unique key that holds a reference which a fan shares out.

The rows of a table are the children of its first busy parent, then those of the next, and so on, in an order
that is then scattered. A row's number so tells its parent and the how-manieth child of it the row is: a
bijection, whatever the fan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, below
from rehearse.dataset.generators import Fan
from rehearse.dataset.generators.fans import scattered
from rehearse.dataset.profile.ties import reordered

_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Shared:
    """One of `size` parent rows, as the fan shares out exactly `rows` rows; further rows go round all.

    The parents' order goes with that of the rows as `correlation` says.
    """

    fan: Fan
    size: int
    rows: int
    correlation: float = 0.0

    @property
    def most(self) -> int:
        """How many children the busiest parent has."""
        return int(np.max(_families(self)[1], initial=0))

    def index(self, rows: Rows) -> Rows:
        """The parent rows that these rows get."""
        return self.placed(rows)[0]

    def _number(self, rows: Rows) -> Rows:
        if self.correlation:
            return reordered(rows, self.rows, self.correlation)
        return scattered(rows, self.rows)

    def placed(self, rows: Rows) -> tuple[Rows, Rows]:
        """The parent row of each row, and how many of its children come before this one."""
        starts, counts = _families(self)
        further = rows >= np.uint64(self.rows)
        number = self._number(rows % np.uint64(self.rows))
        parents = _parents(self, number)
        before = number - starts[parents]
        rest = rows - np.uint64(self.rows)
        size = np.uint64(self.size)
        parents = np.where(further, rest % size, parents)
        return parents, np.where(further, counts[parents] + rest // size, before)


@dataclass(frozen=True, slots=True)
class Nth:
    """Which of its parent's children a row is. With a `modulo`, one of so many places, begun at another one
    with each parent: `modulo` siblings in a row are all different.
    """

    shared: Shared
    modulo: int | None = None
    turn: int = 0

    def index(self, rows: Rows) -> Rows:
        """The places that these rows get."""
        parents, before = self.shared.placed(rows)
        if self.modulo is None:
            return before
        return (before + below(parents, self.turn, self.modulo)) % np.uint64(self.modulo)


def _parents(shared: Shared, number: Rows) -> Rows:
    return shared.fan.parents((number + 0.5) / shared.rows, shared.size)


@lru_cache(maxsize=8)
def _families(shared: Shared) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """By parent: the number of its first child, and how many there are. A fan gives a parent one interval."""
    starts = np.zeros(shared.size, dtype=np.uint64)
    counts = np.zeros(shared.size, dtype=np.uint64)
    for first in range(0, shared.rows, _AT_ONCE):
        number = np.arange(first, min(first + _AT_ONCE, shared.rows), dtype=np.uint64)
        parents = _parents(shared, number)
        begins = np.flatnonzero(np.diff(parents, prepend=parents[0] + np.uint64(1)))
        new = begins[counts[parents[begins]] == 0]
        starts[parents[new]] = number[new]
        counts += np.bincount(parents.astype(np.int64), minlength=shared.size).astype(np.uint64)
    return starts, counts
