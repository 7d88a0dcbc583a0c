"""Places that go with other places: a Gaussian copula."""

from __future__ import annotations

import math

import numpy as np

from rehearse.dataset.generators import Places

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
