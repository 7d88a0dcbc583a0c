"""One counting over several ranges, so that each of them gets values from the start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ENDLESS = 1 << 50  # more than is ever counted, and far from overflowing when it is added up


def interleaved(
    sizes: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which range each place of the count falls into, and the offset within it.

    The count goes round the ranges, one value of each in turn, and leaves out those that are used up: a
    bijection from 0 .. sum(sizes) - 1 onto (range, offset).
    """
    order = np.argsort(sizes, kind="stable")
    ascending = np.minimum(sizes[order], _ENDLESS)
    below = np.concatenate(([0], ascending[:-1]))
    left = len(sizes) - np.arange(len(sizes))  # ranges that still have values in each round
    starts = np.concatenate(([0], np.cumsum(left * (ascending - below))))
    level = np.minimum(np.searchsorted(starts, index, side="right") - 1, len(sizes) - 1)
    rest = index - starts[level]
    turn, offset = rest % left[level], rest // left[level]
    return order[level + turn], below[level] + offset
