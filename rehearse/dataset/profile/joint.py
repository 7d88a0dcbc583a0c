"""Columns that depend on one another, as extended statistics tell it: places beside places. Pure.

Of two columns one is drawn as it is; the other's places then follow from the first one's value: with the
shares of the common combinations, one value for each of the first one's where it determines the second, and
by chance in what is left. Both keep the values that they have by themselves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import fractions, key_of, row_numbers
from rehearse.dataset.generators import Anywhere, ColumnGenerator, Given, Jointly
from rehearse.dataset.lattices import LATTICES
from rehearse.dataset.profile.pieces import Numbers, numbers_of
from rehearse.dataset.profile.shapes import Apiece
from rehearse.model.profile import NULL, ColumnProfile, JointStatistics, TableProfile

_CELLS = 1 << 14
_STEPS = 40
_SLIGHT = 0.05  # a dependency that is none
_STRONG = 0.5
_ALL = 0.999  # of a value's rows: what is missing is rounding
_NOTHING = 1e-9
_BOOLEANS = {"t": "true", "f": "false"}


def placed_jointly(
    table: TableProfile, givens: Mapping[str, Given], bases: Mapping[str, str]
) -> dict[str, Jointly]:
    """The columns of the table whose places follow from another's, of those that are drawn from a generator
    (`givens`) of the base type `bases`.

    A column that has an order on disk of its own keeps that.
    """
    lines: dict[str, _Line] = {}
    for name, given in givens.items():
        column = table.column(name)
        if column is not None and given.generator is not None and not isinstance(given.generator, Apiece):
            lines[name] = _Line(column, given.generator, bases[name])
    following: dict[str, Jointly] = {}
    for statistics in table.joint:
        for first, second in _pairs(statistics, table):
            free = second not in following and first not in _after(second, following)
            if not free or first not in lines or second not in lines:
                continue
            if isinstance(givens[second].placing, Anywhere):
                following[second] = _beside(lines[first], lines[second], statistics)
    return following


def _pairs(statistics: JointStatistics, table: TableProfile) -> Iterator[tuple[str, str]]:
    """What is to follow from what: the strongest dependencies first, then, with common combinations, each
    column from one with more nulls: whether a column is NULL follows from nothing.
    """
    nulls = {column.name: column.null_fraction for column in table.columns}

    def rank(pair: tuple[str, str]) -> tuple[float, float, float]:
        degree = _degree(statistics, *pair)
        return -degree if degree >= _STRONG else 0.0, nulls.get(pair[1], 0.0), -degree

    pairs = [pair for pair in permutations(statistics.columns, 2) if _degree(statistics, *pair) >= _SLIGHT]
    if statistics.combinations:
        pairs += [pair for both in pairwise(statistics.columns) for pair in (both, both[::-1])]
    yield from sorted(pairs, key=rank)


def _degree(statistics: JointStatistics, first: str, second: str) -> float:
    return next((d for given, to, d in statistics.dependencies if (given, to) == ((first,), second)), 0.0)


def _after(name: str, following: Mapping[str, Jointly]) -> set[str]:
    """The columns that follow from `name`, and itself."""
    found = {name}
    while more := {other for other, placing in following.items() if placing.column in found} - found:
        found |= more
    return found


@dataclass(frozen=True)
class _Line:
    """A column's values from the first to the last, each with its piece of [0, 1)."""

    column: ColumnProfile
    generator: ColumnGenerator
    base: str

    def cells(self) -> tuple[Numbers, list[str]]:
        """Where cells of whole values end, and the value that each begins with. Most cells have one value;
        those of very many values have several.
        """
        places = (np.arange(_CELLS) + 0.5) / _CELLS
        texts = self._texts(places)
        changes = np.flatnonzero(texts[1:] != texts[:-1])
        low, high = places[changes], places[changes + 1]
        before = texts[changes]
        for _ in range(_STEPS):
            middle = (low + high) / 2
            same = self._texts(middle) == before
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        firsts = np.concatenate([[0], changes + 1])
        return np.concatenate([high, [1.0]]), texts[firsts].tolist()

    def _texts(self, places: Numbers) -> NDArray[np.object_]:
        drawn = self.generator.draw(row_numbers(0, len(places)), places)
        return np.array(drawn.cast(pl.String).to_list(), dtype=object)

    def cells_of_common(self, ends: Numbers, texts: Sequence[str]) -> dict[int, int]:
        """The cell of each common value by its rank; withheld ones stand for one another by their shares."""
        places = {self._plain(text): cell for cell, text in enumerate(texts)}
        found = {
            rank: places[plain]
            for rank, common in enumerate(self.column.common)
            if common.value is not None and (plain := self._plain(common.value)) in places
        }
        taken = set(found.values())
        widths = np.diff(ends, prepend=0.0)
        left = sorted((c for c in range(len(ends)) if c not in taken), key=lambda cell: -widths[cell])
        unnamed = [rank for rank, common in enumerate(self.column.common) if common.value is None]
        unnamed.sort(key=lambda rank: -self.column.common[rank].frequency)
        return found | dict(zip(unnamed, left, strict=False))

    def _plain(self, text: str) -> object:
        if self.base in LATTICES:
            return numbers_of((text,), self.base) or text
        return _BOOLEANS.get(text, text) if self.base == "bool" else text


def _beside(first: _Line, second: _Line, statistics: JointStatistics) -> Jointly:
    ends, texts = first.cells()
    other_ends, other_texts = second.cells()
    filled = max(1e-9, 1.0 - second.column.null_fraction)
    places = [statistics.columns.index(line.column.name) for line in (first, second)]
    ranks = (first.cells_of_common(ends, texts), second.cells_of_common(other_ends, other_texts))
    ranks[0][NULL] = len(ends)
    shares: dict[tuple[int, int], float] = {}
    for combination, frequency in zip(statistics.combinations, statistics.frequencies, strict=False):
        told = [combination[place] for place in places]
        cells = [of.get(rank) for of, rank in zip(ranks, told, strict=True) if rank is not None]
        mine, theirs = cells if len(cells) == len(told) else (None, None)
        if mine is not None and theirs is not None:
            shares[mine, theirs] = shares.get((mine, theirs), 0.0) + frequency / filled
    nulls = first.column.null_fraction
    widths = np.append(np.diff(ends, prepend=0.0) * (1.0 - nulls), nulls)
    table = _Shares(widths, np.diff(other_ends, prepend=0.0))
    table.share_out(shares)
    table.determine(_degree(statistics, first.column.name, second.column.name))
    return table.placing(first.column.name, ends, other_ends)


class _Shares:
    """Which share of all rows has which cell of one column and which of the other."""

    def __init__(self, first: Numbers, second: Numbers) -> None:
        self._first, self._left, self._room = first, first.copy(), second.copy()
        self._whole = second
        self._shared: dict[int, list[tuple[int, float]]] = {}
        self._determined: dict[int, int] = {}

    def share_out(self, shares: Mapping[tuple[int, int], float]) -> None:
        """These, the largest first, as far as either side has so much."""
        for (mine, theirs), share in sorted(shares.items(), key=lambda item: -item[1]):
            taken = min(share, self._left[mine], self._room[theirs])
            if taken <= _NOTHING:
                continue
            whole = mine not in self._shared and taken >= _ALL * self._first[mine]
            if whole:
                self._determined[mine] = theirs
                taken = self._left[mine]
            self._shared.setdefault(mine, []).append((theirs, taken))
            self._left[mine] -= taken
            self._room[theirs] = max(0.0, self._room[theirs] - taken)

    def determine(self, degree: float) -> None:
        """For the share `degree` of all rows, one cell of the second for each of the first that has none."""
        others = [
            cell
            for cell, share in enumerate(self._first.tolist())
            if share > _NOTHING and cell not in self._shared
        ]
        open_ = sum(self._first[cell] for cell in others)
        known = sum(self._first[cell] for cell in self._determined)
        apart = max(0.0, open_ - max(0.0, degree - known))
        if degree < _SLIGHT:
            return
        order = fractions(np.array(others, dtype=np.uint64), key_of("apart"))
        kept = []
        for cell in (others[place] for place in np.argsort(order)):
            if self._first[cell] <= apart:
                apart -= self._first[cell]
            else:
                kept.append(cell)
        rooms = sorted((room, cell) for cell, room in enumerate(self._room.tolist()))
        for cell in sorted(kept, key=lambda cell: -self._first[cell]):
            share = float(self._first[cell])
            # the least room that it fits into, else the most there is
            place = min(bisect_left(rooms, (share * _ALL, -1)), len(rooms) - 1)
            room, theirs = rooms.pop(place)
            insort(rooms, (max(0.0, room - share), theirs))
            self._room[theirs] = max(0.0, room - share)
            self._determined[cell] = theirs
            self._shared[cell] = [(theirs, share)]
            self._left[cell] = 0.0

    def placing(self, column: str, ends: Numbers, other_ends: Numbers) -> Jointly:
        """All of it as a placing beside `column`."""
        starts = other_ends - self._whole
        spread = fractions(np.arange(len(self._first), dtype=np.uint64), key_of("within"))
        until, low, length = [], [], []
        for cell in sorted(self._shared):
            run = 0.0
            for theirs, share in self._shared[cell]:
                run += share / self._first[cell]
                until.append(cell + min(1.0, run) if cell not in self._determined else cell + 1.0)
                fixed = cell in self._determined
                low.append(float(starts[theirs] + (spread[cell] * self._whole[theirs] if fixed else 0.0)))
                length.append(0.0 if fixed else float(self._whole[theirs]))
        rest = np.cumsum(self._room)
        if rest[-1] <= _NOTHING:
            rest = np.cumsum(self._whole)
        return Jointly(
            column,
            tuple(ends.tolist()),
            tuple(until),
            tuple(low),
            tuple(length),
            tuple((rest / rest[-1]).tolist()),
            tuple(other_ends.tolist()),
        )
