"""What chance alone can bring about: intervals over repeats, exact tests, and what one run could have seen.

Pure: the resampling is seeded, so that the same numbers give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 20_010_911
_MOST_REPEATS = 200
# One run is resampled this often at most, and less often where it has millions of transactions.
_ROUNDS = (40, 200)
_VALUES_DRAWN = 20_000_000
FEWEST_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true mean lies with `CONFIDENCE`, ends included."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half its length."""
        return (self.high - self.low) / 2


def interval(values: Sequence[float]) -> Interval:
    """An interval for the mean of which `values` (two at least) are a sample.

    Bootstrapped, with Hesterberg's expanded percentiles, which make up for small samples; and never narrower
    than Student's, since of two or three values there is little to resample.
    """
    from scipy import stats  # noqa: PLC0415 - half a second, and only repeats need it

    sample = np.asarray(values, dtype=np.float64)
    count = len(sample)
    if count < 2:
        raise ValueError("an interval needs two values at least")
    mean, spread = float(sample.mean()), float(sample.std(ddof=1))
    if spread == 0.0:
        return Interval(mean, mean)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * spread / math.sqrt(count)
    tail = float(stats.norm.cdf(-quantile * math.sqrt(count / (count - 1))))
    picks = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, count))
    low, high = np.quantile(sample[picks].mean(axis=1), [tail, 1 - tail])
    return Interval(min(float(low), mean - half), max(float(high), mean + half))


def repeats_needed(margins: Sequence[float]) -> int | None:
    """How many repeats would tell the mean of `margins` from 0, if they went on as they did; None where
    hundreds would not.
    """
    from scipy import stats  # noqa: PLC0415 - see above

    sample = np.asarray(margins, dtype=np.float64)
    mean, spread = abs(float(sample.mean())), float(sample.std(ddof=1))
    for count in range(len(sample) + 1, _MOST_REPEATS + 1):
        if float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / math.sqrt(count) < mean:
            return count
    return None


def mann_whitney(before: Sequence[float], after: Sequence[float]) -> float:
    """The exact two-sided p-value of the Mann-Whitney test that both come from one distribution, ties or not.

    With ties the distribution of the statistic is taken over all ways to deal the values out.
    """
    from scipy import stats  # noqa: PLC0415 - see above

    tied = len(set(before) | set(after)) < len(before) + len(after)
    if not tied:
        return float(stats.mannwhitneyu(before, after, method="exact").pvalue)
    ways = math.comb(len(before) + len(after), len(before))
    method = stats.PermutationMethod(n_resamples=min(ways, 10_000), rng=np.random.default_rng(_SEED))
    return float(stats.mannwhitneyu(before, after, method=method).pvalue)


def least_p(before: int, after: int) -> float:
    """The smallest p-value that the exact test can give with so many values on each side."""
    return 2.0 / math.comb(before + after, before)


def smallest_difference(
    blocks: Sequence[Numbers], length: int, statistic: Callable[[Numbers], float]
) -> float | None:
    """How far `statistic` of `length` blocks and of all blocks come apart by chance: the 95th percentile.

    `blocks` are the values of successive seconds of a time in which nothing happened; they are drawn with
    replacement. A difference smaller than the answer could not have been told from chance. None where there
    are too few blocks, or where nothing can be drawn.
    """
    full = [block for block in blocks if len(block)]
    if len(full) < FEWEST_BLOCKS or length < 1:
        return None
    size = sum(map(len, full)) * (1 + length / len(full))
    rounds = int(min(max(_VALUES_DRAWN / size, _ROUNDS[0]), _ROUNDS[1]))
    random = np.random.default_rng(_SEED)

    def drawn(count: int) -> float:
        picked = random.integers(0, len(full), count)
        return statistic(np.concatenate([full[place] for place in picked]))

    apart = [abs(drawn(length) - drawn(len(full))) for _ in range(rounds)]
    return float(np.quantile(apart, CONFIDENCE))
