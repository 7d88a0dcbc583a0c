"""How a quantity grows with the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Law(Enum):
    """A shape of growth; the values complete `grows ...`."""

    CONSTANT = "not at all"
    LINEAR = "linearly"
    N_LOG_N = "as n log n"
    FASTER = "faster than n log n"


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate, and the ends of the interval in which the true value lies 19 times out of 20."""

    low: float
    point: float
    high: float

    def times(self, factor: float) -> Bounds:
        """All three, multiplied."""
        return Bounds(self.low * factor, self.point * factor, self.high * factor)
