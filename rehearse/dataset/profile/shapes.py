"""Generators of columns out of a profile: numbers, labels, made-up texts, arrays. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np
import polars as pl

from rehearse.dataset.bits import Rows, fractions, key_of
from rehearse.dataset.generators import Places
from rehearse.dataset.profile.pieces import Numbers, Pieces
from rehearse.dataset.profile.ties import reordered
from rehearse.dataset.values import Lattice, Raw, Values

_POOL = 8192


class Countable(Protocol):
    """Values by their number."""

    def at(self, index: Rows) -> pl.Series:
        """The values of these numbers."""


@dataclass(frozen=True)
class Profiled:
    """The shape of a profile's numbers; `whole`: of units, days or seconds, with nothing in between."""

    pieces: Pieces
    whole: bool

    def quantiles(self, places: Places) -> Numbers:
        """The values below which these shares lie."""
        values = self.pieces.at(places)
        return np.floor(values) if self.whole else values

    def shares(self, values: Numbers) -> Numbers:
        """The shares that lie below these values."""
        return self.pieces.shares(values)


@dataclass(frozen=True)
class Ordinals:
    """Values of a countable set by their numbers: `pieces` say how often each is drawn. The first ones are
    the `items`, if there are any; the others are those of `rest`, from its first on, but for `exceptions`
    (number in `rest`, what stands there instead), which are in order.
    """

    pieces: Pieces
    rest: Countable
    items: tuple[str, ...] = ()
    exceptions: tuple[tuple[int, str], ...] = ()

    @property
    def distinct(self) -> int | None:
        """Nobody counts them."""
        return None

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The values at these places."""
        del rows
        numbers = np.maximum(np.floor(self.pieces.at(places)), 0).astype(np.uint64)
        if not self.items:
            return self._others(numbers)
        first = np.uint64(len(self.items))
        known = _series(self.items).gather(np.minimum(numbers, first - np.uint64(1)))
        if not (numbers >= first).any():
            return known
        others = self._others(np.where(numbers >= first, numbers - first, np.uint64(0)))
        return known.zip_with(pl.Series(numbers < first), others.cast(pl.String))

    def _others(self, numbers: Rows) -> pl.Series:
        made = self.rest.at(numbers)
        if not self.exceptions:
            return made
        places = np.array([place for place, _ in self.exceptions], dtype=np.uint64)
        nearest = np.minimum(np.searchsorted(places, numbers), len(places) - 1)
        instead = _series(tuple(text for _, text in self.exceptions)).gather(nearest)
        return instead.zip_with(pl.Series(places[nearest] == numbers), made)


@dataclass(frozen=True)
class Apiece:
    """A value of its own for each row, wherever that has its place; from the start again after the last."""

    values: Values

    @property
    def distinct(self) -> int | None:
        """How many different values there are."""
        return self.values.size

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """The value of each row's number."""
        del places
        return self.values.at(rows % np.uint64(self.values.size))


@dataclass(frozen=True)
class Arrays:
    """Arrays that have each of `items` in the given fraction of them, and others up to `count` on average."""

    items: tuple[str, ...]
    shares: tuple[float, ...]
    count: float
    numeric: bool

    @property
    def distinct(self) -> int | None:
        """Nobody counts them."""
        return None

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """An array of the pool for each place."""
        del rows
        return _arrays(self).gather((places * _POOL).astype(np.uint32))


@lru_cache(maxsize=64)
def _arrays(of: Arrays) -> pl.Series:
    pool = np.arange(_POOL, dtype=np.uint64)
    has = [fractions(pool, key_of("array", place)) < share for place, share in enumerate(of.shares)]
    missing = max(0.0, of.count - sum(of.shares))
    more = np.floor(missing + fractions(pool, key_of("array", "more"))).astype(int).tolist()
    width = round(sum(map(len, of.items)) / max(1, len(of.items)))
    texts = []
    for place in range(_POOL):
        chosen = [_quoted(item) for item, there in zip(of.items, has, strict=True) if there[place]]
        others = range(1000 + 7 * place, 1000 + 7 * place + more[place])
        chosen += [str(n) if of.numeric else f"w{n}".ljust(width, "x") for n in others]
        texts.append("{" + ",".join(chosen) + "}")
    return pl.Series(texts, dtype=pl.String)


def _quoted(item: str) -> str:
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Stretched(Lattice):
    """A key's whole numbers, one a row and rising: row i of `rows` gets the i-th, with gaps as `knots` (the
    quantiles) have them. Rows beyond continue after the last. `correlation`
    is that of the numbers with the rows.
    """

    rows: int = 1
    knots: tuple[int, ...] = (1, 2)
    correlation: float = 1.0

    @cached_property
    def size(self) -> int:
        """How many values there are: up to the type's last."""
        return self.rows + max(0, self.spans[-1][1] - self.knots[-1])

    def raw(self, index: Rows) -> Raw:
        """The numbers of these rows."""
        if self.correlation != 1:
            index = index.copy()
            mine = index < self.rows
            index[mine] = reordered(index[mine], self.rows, self.correlation)
        row = index.astype(np.int64)
        pieces = len(self.knots) - 1
        knots = np.array(self.knots, dtype=np.int64)
        starts = np.array([place * self.rows // pieces for place in range(pieces + 1)], dtype=np.int64)
        piece = np.clip(np.searchsorted(starts, row, side="right") - 1, 0, pieces - 1)
        counts, widths = np.diff(starts), np.diff(knots)
        within, count = row - starts[piece], np.maximum(counts[piece], 1)
        # within * width // count, in parts that fit into 64 bits
        whole, rest = np.divmod(widths[piece], count)
        inside = knots[piece] + within * whole + within * rest // count
        result: Raw = np.where(row < self.rows, inside, knots[-1] + row - self.rows)
        return result


def stretched(
    lattice: Lattice, knots: tuple[int, ...], rows: int, correlation: float = 1.0
) -> Stretched | None:
    """The keys of `rows` rows with these quantiles, moved apart where there are more rows than numbers; None
    if the lattice has no room for them, or the rows are too few to tell.
    """
    pieces = len(knots) - 1
    if pieces < 1 or rows < pieces or len(lattice.spans) != 1 or lattice.step != 1:
        return None
    low, high = lattice.spans[0]
    moved = [max(low, knots[0])]
    for place, (start, end) in enumerate(pairwise(knots)):
        needed = (place + 1) * rows // pieces - place * rows // pieces
        moved.append(moved[-1] + max(end - max(start, moved[-1]), needed))
    if moved[-1] + rows > high:
        return None
    return Stretched(
        lattice.form,
        lattice.spans,
        scale=lattice.scale,
        rows=rows,
        knots=tuple(moved),
        correlation=correlation,
    )


@lru_cache(maxsize=256)
def _series(items: tuple[str, ...]) -> pl.Series:
    return pl.Series(items, dtype=pl.String)
