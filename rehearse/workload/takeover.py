"""How one version of an application hands its traffic over to the next: two schedules out of one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rehearse.model.workload import RateStep

# A rate that changes at once, and then evenly, stands for so long in between.
_MOMENT_S = 1e-6
_INTO = 16  # straight lines that a rate and a share, both changing, are drawn with
_FOREVER_S = 1e9
NOTHING = (RateStep(1e-6, _MOMENT_S), RateStep(0.0))
"""A schedule on which nothing is due: what a version that has not come yet is to send."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A rate over a time (seconds from when it is taken over), from one value evenly to another."""

    start_s: float
    end_s: float
    first: float
    last: float

    def at(self, when_s: float) -> float:
        return self.first + (self.last - self.first) * (when_s - self.start_s) / (self.end_s - self.start_s)

    def part(self, start_s: float, end_s: float) -> _Line:
        return _Line(start_s, end_s, self.at(start_s), self.at(end_s))


def handed_over(
    steps: Sequence[RateStep], at_s: float, share: float, ramp_s: float
) -> tuple[tuple[RateStep, ...], tuple[RateStep, ...]]:
    """The schedules of the old and of the new version from `at_s` after the start of `steps` on, their times
    counted from then: together they are `steps`; the new one's part grows evenly to `share` in `ramp_s`.
    """
    lines = [part for line in _lines(steps, at_s) for part in _divided(line, ramp_s)]

    def part_of_new(when_s: float) -> float:
        return share if when_s >= ramp_s else share * when_s / ramp_s

    going = _steps(lines, lambda when_s: 1.0 - part_of_new(when_s))
    return going, _steps(lines, part_of_new)


def _lines(steps: Sequence[RateStep], at_s: float) -> Iterator[_Line]:
    """What is left of `steps` then; the last rate stays."""
    start_s, before = 0.0, 0.0
    for step in steps:
        end_s = step.until_s if step.until_s is not None else at_s + _FOREVER_S
        line = _Line(start_s, end_s, before if step.ramp else step.rate, step.rate)
        if end_s > max(start_s, at_s):
            left = line.part(max(start_s, at_s), end_s)
            yield _Line(left.start_s - at_s, left.end_s - at_s, left.first, left.last)
        start_s, before = end_s, step.rate
    if start_s < at_s + _FOREVER_S:
        yield _Line(max(start_s - at_s, 0.0), _FOREVER_S, before, before)


def _divided(line: _Line, ramp_s: float) -> Iterator[_Line]:
    """A line in parts short enough that its product with the share is nearly one, too."""
    edges = [line.start_s, line.end_s]
    if line.start_s < ramp_s < line.end_s:
        edges.insert(1, ramp_s)
    if line.first != line.last and edges[1] <= ramp_s:
        first, last = edges[:2]
        edges[1:1] = [first + (last - first) * part / _INTO for part in range(1, _INTO)]
    for start_s, end_s in pairwise(edges):
        yield line.part(start_s, end_s)


def _steps(lines: Sequence[_Line], share: Callable[[float], float]) -> tuple[RateStep, ...]:
    found: list[RateStep] = []
    rate = 0.0
    for line in lines:
        # the share is continuous, but the last moment of a line belongs to it
        first, last = line.first * share(line.start_s), line.last * share(line.end_s)
        if first != rate and line.end_s > line.start_s + _MOMENT_S:
            found.append(RateStep(first, line.start_s + _MOMENT_S))
        found.append(RateStep(last, line.end_s, ramp=first != last))
        rate = last
    return tuple(found) if any(step.rate > 0 for step in found) else NOTHING
