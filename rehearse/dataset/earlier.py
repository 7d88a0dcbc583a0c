"""Which earlier row of its own table a row refers to, where the references are shared out as a whole. Pure.

Drawn by the fan alone and cut off at the row itself, references would pile up on the first rows. So they are
drawn by another distribution G, cut off at each row's own place u: v = G^-1(w G(u)). All rows together then
have F(x) = x + G(x) H(x), with H(x) the integral of 1 / G from x to 1; so that H'/H = -1 / (F - x), which is
solved for H, and G = (F - x) / H.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows
from rehearse.dataset.generators import Fan, Places

_POINTS = 4096
_LEAST = 1e-9


def before_own(fan: Fan, size: int, existing: Rows, draws: Places) -> Places:
    """The fan's places for rows that have `existing` of the `size` rows before them; `draws` itself, where
    the fan has the late rows referred to so often that not all can come before.
    """
    found = _by_place(fan, size) if isinstance(fan, Hashable) else None
    if found is None:
        return draws
    share, below, cut = found
    own = np.interp(existing / size, share, cut)
    earlier = np.interp(draws * own, cut, share)
    places: Places = np.clip(np.interp(earlier, share, below), 0.0, 1.0 - 2.0**-53)
    return places


@lru_cache(maxsize=64)
def _by_place(
    fan: Fan, size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Shares of the rows, with F and G there; None where F is not above them."""
    places = (np.arange(_POINTS) + 0.5) / _POINTS
    parents = np.sort((fan.parents(places, size) + 0.5) / size)
    share = np.linspace(0.0, 1.0, _POINTS // 4 + 1)
    below = np.searchsorted(parents, share, side="right") / _POINTS
    above = below[1:-1] - share[1:-1]
    if len(above) == 0 or above.min() <= -0.02:
        return None
    above = np.maximum(above, _LEAST)
    steps = 0.5 * (1 / above[1:] + 1 / above[:-1]) * np.diff(share[1:-1])
    logarithm = np.log(above) + np.concatenate([[0.0], np.cumsum(steps)])
    cut = np.exp(np.minimum(logarithm - logarithm[len(logarithm) // 2], 50.0))
    cut = np.maximum.accumulate(cut)
    return share, below, np.concatenate([[0.0], cut, [cut[-1] * (1 + _LEAST)]])
