"""Numbers and moments by the shape of their distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows
from rehearse.dataset.generators import Places
from rehearse.dataset.values import Lattice, Raw

Numbers: TypeAlias = NDArray[np.float64]

_LEAST = 2.0**-54  # a place of zero would be minus infinity


class Shape(Protocol):
    """A continuous distribution, in the units of the column."""

    def quantiles(self, places: Places) -> Numbers:
        """The values below which these shares lie."""

    def shares(self, values: Numbers) -> Numbers:
        """The shares that lie below these values."""


@dataclass(frozen=True, slots=True)
class Flat:
    """Every value from `low` to `high` alike."""

    low: float
    high: float

    def quantiles(self, places: Places) -> Numbers:
        """The values below which these shares lie."""
        return self.low + places * (self.high - self.low)

    def shares(self, values: Numbers) -> Numbers:
        """The shares that lie below these values."""
        width = self.high - self.low
        if width <= 0:
            return (values > self.low).astype(np.float64)
        return np.clip((values - self.low) / width, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Bell:
    """A normal distribution."""

    mean: float
    sigma: float

    def quantiles(self, places: Places) -> Numbers:
        """The values below which these shares lie."""
        from scipy.special import ndtri  # noqa: PLC0415 - takes a while to import, and few commands need it

        spread: Numbers = ndtri(np.maximum(places, _LEAST))
        return self.mean + self.sigma * spread

    def shares(self, values: Numbers) -> Numbers:
        """The shares that lie below these values."""
        from scipy.special import ndtr  # noqa: PLC0415 - as above

        below: Numbers = ndtr((values - self.mean) / self.sigma)
        return below


@dataclass(frozen=True, slots=True)
class LogBell:
    """A lognormal distribution: `mu` and `sigma` are those of the natural logarithm."""

    mu: float
    sigma: float

    def quantiles(self, places: Places) -> Numbers:
        """The values below which these shares lie."""
        return np.exp(Bell(self.mu, self.sigma).quantiles(places))

    def shares(self, values: Numbers) -> Numbers:
        """The shares that lie below these values."""
        logs = np.log(np.maximum(values, np.finfo(np.float64).tiny))
        return np.where(values > 0, Bell(self.mu, self.sigma).shares(logs), 0.0)


@dataclass(frozen=True)
class Shaped:
    """Values of a `shape`, cut to what `lattice` holds and rounded to its points; the shape's units are
    the lattice's raw ones over 10 ** scale.

    `fine`: not rounded, but written as floating-point numbers.
    """

    shape: Shape
    lattice: Lattice
    fine: bool = False

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return None if self.fine else self.lattice.size

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The values at these places of the distribution."""
        del rows
        if self.fine:
            return pl.Series(self._cut(places) / 10.0**self.lattice.scale)
        return self.lattice.text(self.raw(places))

    def raw(self, places: Places) -> Raw:
        """The values as raw integers of the lattice."""
        low, high = self._ends
        raw: Raw = np.clip(np.rint(self._cut(places)), low, high).astype(np.int64)
        return raw

    @property
    def _ends(self) -> tuple[int, int]:
        return self.lattice.spans[0][0], self.lattice.spans[-1][1]

    def _cut(self, places: Places) -> Numbers:
        """The shape's values, in raw units, of that part of it that lies between the lattice's ends."""
        unit = 10.0**self.lattice.scale
        # half a unit more at either end, so that a point at the end is as likely as its neighbours
        margin = 0.0 if self.fine else 0.5
        ends = np.array([self._ends[0] - margin, self._ends[1] + margin])
        below, above = self.shape.shares(ends / unit)
        if above - below < 1e-12:  # next to nothing of the shape lies there: its nearer end
            nearer = ends[0] if below > 0.5 else ends[1]
            return np.full(len(places), nearer)
        return np.clip(self.shape.quantiles(below + places * (above - below)) * unit, ends[0], ends[1])


@dataclass(frozen=True)
class Counting:
    """The points of a lattice by the row's number, from the start again when they are used up."""

    lattice: Lattice

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return self.lattice.size

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The value of each row's number."""
        del places
        return self.lattice.at(rows % np.uint64(self.lattice.size))
