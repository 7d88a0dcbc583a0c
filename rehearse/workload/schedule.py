"""When transactions are due: drawn before the run, chunk by chunk, by functions that have no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from rehearse.model.workload import Arrivals, Pacing, RateStep, Trace

__all__ = ["CHUNK", "Arrivals", "arrivals", "choices", "repeated", "share_of_pacing", "share_of_trace"]

CHUNK = 2048
_FOREVER_S = 1e9


def arrivals(
    rate: float | Sequence[RateStep],
    seed: np.random.SeedSequence,
    *,
    pattern: Arrivals = Arrivals.POISSON,
    offset: float = 0.0,
    chunk: int = CHUNK,
) -> Iterator[NDArray[np.int64]]:
    """Due times in nanoseconds from time zero, ascending, `chunk` at a time: for ever, unless the last
    step's rate is 0.

    `rate` is per second. A Poisson stream has no memory, so that several of them with seeds of their own
    and rates that add up make one; `offset` (0 to 1, in gaps) sets uniform streams apart. Where the rate
    changes, arrivals are drawn at one a second and put where the integral of the rate has that value, which
    for a Poisson stream is exact.
    """
    steps = (RateStep(rate),) if isinstance(rate, int | float) else tuple(rate)
    if not any(step.rate > 0 for step in steps):
        raise ValueError(f"the rate must be above 0, not {rate if isinstance(rate, int | float) else 0}")
    clock = _Clock(steps)
    before = offset - 1.0 if pattern is Arrivals.UNIFORM else 0.0
    rng = np.random.default_rng(seed)
    while True:
        if pattern is Arrivals.UNIFORM:
            ordinal = before + np.arange(1.0, chunk + 1.0)
        else:
            ordinal = before + np.cumsum(rng.exponential(1.0, chunk))
        before = float(ordinal[-1])
        due = clock.times_of(ordinal)
        if len(due):
            yield (due * 1e9).astype(np.int64)
        if len(due) < chunk:
            return


class _Clock:
    """Turns the number of transactions due so far into the time at which that many are, and stays within
    the piece that the time is in: a piece is a start, a length, and a rate at each end.
    """

    def __init__(self, steps: Sequence[RateStep]) -> None:
        starts, lengths, first, last = [], [], [], []
        now, rate = 0.0, 0.0
        for place, step in enumerate(steps):
            final = place == len(steps) - 1
            until = step.until_s if step.until_s is not None else now + _FOREVER_S
            if until > now:
                starts.append(now)
                lengths.append(until - now)
                first.append(rate if step.ramp else step.rate)
                last.append(step.rate)
            now, rate = until, step.rate
            if final and step.until_s is not None:  # the last rate stays
                starts.append(now)
                lengths.append(_FOREVER_S)
                first.append(rate)
                last.append(rate)
        self._starts, self._lengths = np.array(starts), np.array(lengths)
        self._first, self._last = np.array(first), np.array(last)
        totals = np.cumsum(self._lengths * (self._first + self._last) / 2)
        self._before = np.concatenate(([0.0], totals[:-1]))
        self._total = float(totals[-1])
        self._steady_rate = first[0] if len(starts) == 1 and first == last else 0.0

    def times_of(self, ordinal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds at which `ordinal` transactions are due; what never is, is left out."""
        wanted = ordinal[ordinal < self._total]
        if self._steady_rate:
            return wanted / self._steady_rate  # what the rest comes to, in a tenth of the time
        piece = np.searchsorted(self._before, wanted, side="right") - 1
        rest = wanted - self._before[piece]
        first = self._first[piece]
        slope = (self._last[piece] - first) / self._lengths[piece]
        # the root of slope / 2 * t ** 2 + first * t = rest that does not cancel, whichever way the slope goes
        root = first + np.sqrt(np.maximum(first * first + 2 * slope * rest, 0.0))
        into = np.divide(2 * rest, root, out=np.zeros_like(rest), where=root > 0)
        times: NDArray[np.float64] = self._starts[piece] + np.minimum(into, self._lengths[piece])
        return times


def repeated(trace: Trace) -> Iterator[tuple[NDArray[np.int64], list[int]]]:
    """Due times and scripts of a trace, once or over and over, each time after its length."""
    due, scripts = np.array(trace.due_ns, dtype=np.int64), list(trace.script)
    if not len(due):
        return
    for turn in count() if trace.repeat else range(1):
        yield due + turn * trace.length_ns, scripts


def share_of_pacing(pacing: Pacing, part: int, parts: int, share: float) -> Pacing:
    """What process `part` of `parts` has to do of it: `share` of the rates, its turns of a trace."""
    steps = tuple(replace(step, rate=step.rate * share) for step in pacing.steps)
    trace = None if pacing.trace is None else share_of_trace(pacing.trace, part, parts)
    return Pacing(pacing.arrivals, steps, trace)


def share_of_trace(trace: Trace, part: int, parts: int) -> Trace:
    """Every `parts`-th transaction of it, from `part` on."""
    return replace(trace, due_ns=trace.due_ns[part::parts], script=trace.script[part::parts])


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
