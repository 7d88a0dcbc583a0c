"""Constant, linear, or n log n: the growth of a measured quantity, fitted by weighted least squares.

What a measurement may be off by is assumed before (`Noise`) and corrected by what the points show: the
assumption counts as much as `_PRIOR` further points do. Intervals are of the fitted curve, by Student's t,
and hold every curve that the points do not speak against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rehearse.model.growth import Bounds, Law

_PRIOR = 4.0
# A curve whose squared residuals (in units of the noise) exceed the best one's by no more is possible, too.
_ALIKE = 4.0
# By so much a parabola has to fit better before it is believed: a cache that gets too small bends a line.
_BENT = 12.0
_LIKELY, _CERTAIN = 0.975, 0.9995
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Noise:
    """What one measurement may be off by: at least `floor`, and `share` of its value. `clear` is the least
    increase over the measured sizes that is called growth where nothing else speaks for it.
    """

    floor: float
    share: float
    clear: float


TIMES = Noise(floor=0.002, share=0.05, clear=0.05)
LOG_BYTES = Noise(floor=16_384, share=0.01, clear=1_000_000)
DISK_BYTES = Noise(floor=131_072, share=0.03, clear=1_000_000)


@dataclass(frozen=True, slots=True)
class Curve:
    """`start + slope * g(rows)`, where g is 1 at `largest` rows; with what is not certain about both."""

    law: Law
    largest: float
    start: float
    slope: float
    covariance: tuple[float, float, float]  # of start, of both, of slope
    residuals: float  # squared, in units of the assumed noise
    degrees: float

    @property
    def unit(self) -> float:
        """The noise's variance, in units of the assumed one."""
        return (_PRIOR + self.residuals) / (_PRIOR + self.degrees)

    def at(self, rows: float) -> Bounds:
        """The curve at that many rows."""
        place = _shape(self.law, rows, self.largest)
        start, both, slope = self.covariance
        error = math.sqrt(max(0.0, self.unit * (start + 2 * place * both + place * place * slope)))
        point = self.start + self.slope * place
        margin = error * _student(_LIKELY, _PRIOR + self.degrees)
        return Bounds(point - margin, point, point + margin)

    def rises(self, chance: float) -> bool:
        """Whether it rises, whatever noise there was, but for one in 1 / (1 - `chance`) cases."""
        error = math.sqrt(self.unit * self.covariance[2])
        return self.slope > error * _student(chance, _PRIOR + self.degrees)


@dataclass(frozen=True, slots=True)
class Fit:
    """The curves through some points, and the law that describes them best."""

    law: Law
    constant: Curve
    growing: tuple[Curve, ...]  # those that are possible, the best one first
    clear: bool  # it grows, even if nothing else says that it should

    def at(self, rows: float, *, grows: bool | None = None) -> Bounds:
        """The quantity at that many rows. `grows` says what is known besides: that it cannot be constant, or
        must be; None: as the points say.
        """
        if grows is False or (grows is None and self.law is Law.CONSTANT):
            flat = self.constant.at(rows)
            return Bounds(max(0.0, flat.low), max(0.0, flat.point), max(0.0, flat.high))
        ends = [curve.at(rows) for curve in self.growing]
        # it does not shrink as the table grows
        point = max(ends[0].point, self.constant.start if self.growing[0].slope <= 0 else 0.0)
        low = max(0.0, min(bounds.low for bounds in ends))
        return Bounds(min(low, point), point, max(point, *(bounds.high for bounds in ends)))


def fit_growth(points: Sequence[tuple[float, float]], noise: Noise, *, sorting: bool = False) -> Fit | None:
    """The growth of `points` (rows, value); None where there are not two different sizes to tell it from.

    `sorting`: n log n is what is expected; otherwise a line is. Between the two, a few sizes seldom decide.
    """
    sizes = {rows for rows, _ in points}
    if len(sizes) < 2 or min(sizes) < 1:
        return None
    smallest, largest = min(sizes), max(sizes)
    rows, values, weights = _arrays(points, noise)
    curves = {law: _curve(law, largest, rows, values, weights) for law in Law}
    line, sorted_, bent = curves[Law.LINEAR], curves[Law.N_LOG_N], curves[Law.FASTER]
    first, second = (sorted_, line) if sorting else (line, sorted_)
    if first.residuals - second.residuals > _ALIKE * second.unit:
        first, second = second, first
    growing = [first, second] if _alike(first, second) else [first]
    law = first.law
    if len(sizes) > 2 and first.residuals - bent.residuals > _BENT * bent.unit:
        law, growing = Law.FASTER, [*growing, bent]
    rise = line.at(largest).point - line.at(smallest).point
    if not line.rises(_LIKELY) or rise <= 2 * noise.floor:
        law = Law.CONSTANT
    start = max(line.at(smallest).point, 0.0)
    clear = law is not Law.CONSTANT and line.rises(_CERTAIN) and rise >= max(noise.clear, start / 2)
    return Fit(law, curves[Law.CONSTANT], tuple(growing), clear)


def without_slowest(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Times, less the longest at each size where there are three or more: what disturbs a measurement
    makes it longer, and never shorter.
    """
    by_rows: dict[float, list[float]] = {}
    for rows, value in points:
        by_rows.setdefault(rows, []).append(value)
    return tuple(
        (rows, value)
        for rows, values in by_rows.items()
        for value in sorted(values)[: len(values) - 1 if len(values) > 2 else len(values)]
    )


def _alike(first: Curve, second: Curve) -> bool:
    return abs(first.residuals - second.residuals) <= _ALIKE * min(first.unit, second.unit)


def _arrays(points: Sequence[tuple[float, float]], noise: Noise) -> tuple[_Floats, _Floats, _Floats]:
    """Rows, values, and the weight of each: by the typical value of its size, so that a high one does not
    weigh less for being high.
    """
    rows = np.array([point[0] for point in points], dtype=np.float64)
    values = np.array([point[1] for point in points], dtype=np.float64)
    typical = np.array([np.median(values[rows == size]) for size in rows])
    return rows, values, 1.0 / np.maximum(noise.floor, noise.share * typical) ** 2


def _shape(law: Law, rows: float, largest: float) -> float:
    if law is Law.CONSTANT:
        return 0.0
    if law is Law.LINEAR:
        return rows / largest
    if law is Law.FASTER:
        return (rows / largest) ** 2
    # one row is sorted in no time; n log n of (n + 1) keeps the shape where n is small
    return rows * math.log(rows + 1) / (largest * math.log(largest + 1))


def _curve(law: Law, largest: float, rows: _Floats, values: _Floats, weights: _Floats) -> Curve:
    places = np.array([_shape(law, size, largest) for size in rows])
    total = float(weights.sum())
    middle = float((weights * places).sum()) / total
    mean = float((weights * values).sum()) / total
    spread = float((weights * (places - middle) ** 2).sum())
    slope = float((weights * (places - middle) * (values - mean)).sum()) / spread if spread else 0.0
    start = mean - slope * middle
    residuals = float((weights * (values - start - slope * places) ** 2).sum())
    of_slope = 1.0 / spread if spread else 0.0
    covariance = (1.0 / total + middle * middle * of_slope, -middle * of_slope, of_slope)
    degrees = max(0, len(rows) - (1 if law is Law.CONSTANT else 2))
    return Curve(law, largest, start, slope, covariance, residuals, float(degrees))


@cache
def _student(chance: float, degrees: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit  # noqa: PLC0415 - a tenth of a second, for those who need it

    return float(stdtrit(degrees, chance))
