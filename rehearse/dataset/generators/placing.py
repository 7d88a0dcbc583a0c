"""Places that go with other places: a Gaussian copula, or shares piece by piece."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.generators import Jointly, Places

_LEAST, _MOST = 2.0**-54, 1 - 2.0**-53


def joined(own: Places, other: Places, correlation: float) -> Places:
    """Uniform places whose ranks correlate with those of `other` as `correlation` says, in [-1, 1].

    Both are uniform and independent of each other.
    """
    if correlation >= 1:
        return other
    if correlation <= -1:
        return np.clip(1 - other, 0.0, _MOST)
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - takes a while to import, and few commands need it

    # Spearman's coefficient of two normals, solved for Pearson's
    along = 2 * math.sin(math.pi * correlation / 6)
    mixed = along * ndtri(np.maximum(other, _LEAST)) + math.sqrt(1 - along**2) * ndtri(
        np.maximum(own, _LEAST)
    )
    places: Places = np.clip(ndtr(mixed), 0.0, _MOST)
    return places


def shared_out(own: Places, other: Places, along: Jointly, there: NDArray[np.bool_] | None = None) -> Places:
    """Places that follow from `other`'s as `along` says; uniform again, where its shares add up to that.

    Both are uniform and independent of each other. The other column is NULL in rows that are not `there`.
    """
    ends, until, low, length, rest, own_ends = along.arrays
    piece = np.minimum(np.searchsorted(ends, other, side="right"), len(ends) - 1)
    if there is not None:
        piece[~there] = len(ends)
    at = np.minimum(piece + own, np.nextafter(piece + 1.0, 0.0))
    # of each piece, the entries before it and those up to the row's own place
    first = np.searchsorted(until, piece, side="right")
    entry = np.searchsorted(until, at, side="right")
    known = np.searchsorted(until, piece + 1, side="right")
    begins = np.where(entry > first, until[entry - 1], piece) if len(until) else piece.astype(np.float64)
    inside = entry < known
    left = (at - begins) / np.maximum(1e-300, piece + 1 - begins)
    places = _among(np.clip(left, 0.0, _MOST), rest, own_ends)
    if inside.any():
        which = entry[inside]
        within = (at - begins)[inside] / np.maximum(1e-300, until[which] - begins[inside])
        places[inside] = low[which] + within * length[which]
    return np.clip(places, 0.0, _MOST)


def _among(places: Places, shares: Places, ends: Places) -> Places:
    """Where these lie on a line whose pieces, ending at `ends`, have other shares, ending at `shares`."""
    piece = np.minimum(np.searchsorted(shares, places, side="right"), len(shares) - 1)
    start = np.where(piece > 0, shares[piece - 1], 0.0)
    begin = np.where(piece > 0, ends[piece - 1], 0.0)
    within = (places - start) / np.maximum(1e-300, shares[piece] - start)
    found: Places = begin + np.clip(within, 0.0, _MOST) * (ends[piece] - begin)
    return found
