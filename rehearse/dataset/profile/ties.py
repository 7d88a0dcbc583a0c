"""Which placing gives the correlation that a server will measure. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, fractions, key_of, mix, row_numbers
from rehearse.dataset.generators import Anywhere, InOrder, Placing
from rehearse.dataset.generators.fans import scattered
from rehearse.dataset.generators.placing import joined
from rehearse.dataset.profile.pieces import Numbers, Pieces

_ROWS = 4096
_NOTHING = 0.02
_ALL = 0.9995
_STEPS = 12
_REMAINDERS = 100


def reordered(rows: Rows, count: int, correlation: float) -> Rows:
    """A bijection of [0, count) whose values correlate with their places so: of a hundred remainders the rows
    of some stay (or change places with their opposites), those of the others are shuffled among themselves.
    """
    apart = min(_REMAINDERS, count)
    each = np.uint64(apart)
    remainder, turn = rows % each, rows // each
    stays = remainder >= np.uint64(round(apart * (1 - abs(correlation))))
    moved = turn.copy()
    turned = mix(remainder, key_of("turned")) >> np.uint64(32)
    for size, mask in _same_size(remainder, count, apart):
        shuffled = mask & ~stays
        moved[shuffled] = (scattered(turn[shuffled], size) + turned[shuffled]) % np.uint64(size)
        if correlation < 0:
            moved[mask & stays] = np.uint64(size - 1) - turn[mask & stays]
    return moved * each + remainder


def _same_size(remainder: Rows, count: int, apart: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The rows by how many there are of their remainder: one more of the first ones."""
    longer = remainder < np.uint64(count % apart)
    if longer.any():
        yield count // apart + 1, longer
    if not longer.all():
        yield count // apart, ~longer


def placing_for(correlation: float, pieces: Pieces | None) -> Placing:
    """Where values have to lie so that `pg_stats.correlation` comes out as `correlation`.

    Equal values count in the order in which they lie on disk, so that a column of few values correlates
    with that order even when it is drawn at random: that much is taken off.
    """
    tied = 0.0 if pieces is None else sum(share * share for share in _points(pieces))
    if tied < _NOTHING:
        return _direct(correlation)
    assert pieces is not None
    if abs(correlation - measured(0.0, pieces)) < _NOTHING:
        return Anywhere()
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if measured(middle, pieces) < correlation else (low, middle)
    return _direct(high if high >= 1.0 - 2.0**-_STEPS * 2 else (low + high) / 2)


def _direct(correlation: float) -> Placing:
    if abs(correlation) < _NOTHING:
        return Anywhere()
    return InOrder(correlation if abs(correlation) < _ALL else float(np.sign(correlation)))


def measured(correlation: float, pieces: Pieces) -> float:
    """The correlation that ANALYZE finds in values of these pieces that were placed so."""
    rows = row_numbers(0, _ROWS)
    order = (rows + np.float64(0.5)) / _ROWS
    values = pieces.at(joined(fractions(rows, key_of("ties")), order, correlation))
    ranks = np.empty(_ROWS)
    ranks[np.lexsort((order, values))] = np.arange(_ROWS)
    return float(np.corrcoef(order, ranks)[0, 1])


def _points(pieces: Pieces) -> Numbers:
    shares = [
        share / max(1, steps)
        for low, high, share, steps in zip(pieces.low, pieces.high, pieces.share, pieces.steps, strict=True)
        for _ in range(1 if low == high or not steps else min(steps, 100))
        if low == high or steps
    ]
    return np.array(shares)
