"""When transactions are due: drawn before the run, chunk by chunk, by functions that have no clock."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import numpy as np
from numpy.typing import NDArray

CHUNK = 4096


class Arrivals(Enum):
    """How the arrivals of a given rate are spread."""

    POISSON = "poisson"  # independent of each other, as those of many users are
    UNIFORM = "uniform"  # evenly spaced


def arrivals(
    rate: float,
    seed: np.random.SeedSequence,
    *,
    pattern: Arrivals = Arrivals.POISSON,
    offset: float = 0.0,
    chunk: int = CHUNK,
) -> Iterator[NDArray[np.int64]]:
    """Due times in nanoseconds from time zero, ascending, for ever, `chunk` at a time.

    `rate` is per second. A Poisson stream has no memory, so that several of them with seeds of their own
    and rates that add up make one; `offset` (0 to 1, in gaps) sets uniform streams apart.
    """
    if not rate > 0:
        raise ValueError(f"the rate must be above 0, not {rate}")
    rng = np.random.default_rng(seed)
    gap_ns = 1e9 / rate
    before = gap_ns * (offset - 1.0) if pattern is Arrivals.UNIFORM else 0.0
    while True:
        if pattern is Arrivals.UNIFORM:
            due = before + gap_ns * np.arange(1, chunk + 1)
        else:
            due = before + np.cumsum(rng.exponential(gap_ns, chunk))
        before = float(due[-1])
        yield due.astype(np.int64)


def choices(
    weights: NDArray[np.float64], seed: np.random.SeedSequence, chunk: int = CHUNK
) -> Iterator[list[int]]:
    """Which script each transaction runs, by weight, for ever, `chunk` at a time."""
    if len(weights) == 1:
        only = [0] * chunk
        while True:
            yield only
    rng = np.random.default_rng(seed)
    shares = weights / weights.sum()
    while True:
        yield rng.choice(len(shares), size=chunk, p=shares).tolist()
