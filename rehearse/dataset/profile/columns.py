"""One column of a profile as a generator of values: numbers, labels, texts, documents, arrays. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from rehearse.dataset.facts import Bound, Facts
from rehearse.dataset.generators import ColumnGenerator
from rehearse.dataset.generators.numbers import Shaped
from rehearse.dataset.generators.weighted import Weighted
from rehearse.dataset.kinds import TEXTS, UnsupportedTypeError, Wanted, flattened, values_of
from rehearse.dataset.lattices import INTEGERS, LATTICES, lattice
from rehearse.dataset.needs import ColumnNeed
from rehearse.dataset.profile.pieces import Pieces, numbers_of, values_for
from rehearse.dataset.profile.shapes import (
    Apiece,
    Arrays,
    Countable,
    Ordinals,
    Profiled,
    Stretched,
    stretched,
)
from rehearse.dataset.profile.texts import Documents, Spread, Words
from rehearse.dataset.profile.widths import lengths_of, width_of
from rehearse.dataset.values import Lattice, Values
from rehearse.dataset.vocabulary import kind_for
from rehearse.model.profile import ColumnProfile, TableProfile
from rehearse.model.schema import DataType, TypeKind

IN_ORDER = 0.995
"""A correlation from which on rows are taken to lie in the order of the column."""

_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_FLOATING = frozenset({"float4", "float8"})
_DOCUMENTS = frozenset({"json", "jsonb", "bytea"})
_ENDLESS = 1 << 60
_MANY = 100  # so many times more values than rows: hardly one comes twice
_SAME = 0.005  # how far the fraction of distinct values may be off that of all rows
_HEAD = 3  # characters before its number that tell where in the alphabet a text stands
_EVEN = 101  # bounds of a range without a shape

Made: TypeAlias = "tuple[ColumnGenerator | None, Pieces | None]"
"""A column's values, and their distribution where it has an order."""


@dataclass(frozen=True, slots=True)
class ColumnMaker:
    """One column of a table that is to have `count` rows; `leads`: others are to come after its values."""

    table: TableProfile
    column: ColumnProfile
    need: ColumnNeed
    count: int
    leads: bool = False

    @property
    def _base(self) -> tuple[DataType, Facts]:
        return flattened(self.need.type, self.need.facts)

    @property
    def _filled(self) -> float:
        """The share of the rows that are not null: frequencies are of all rows, places of these."""
        return max(1e-9, 1.0 - self.column.null_fraction)

    def generator(self) -> Made:
        """What to draw the column's values from; None if that is best left to its type and name."""
        base, facts = self._base
        apiece = self._apiece()
        if apiece is not None:
            return Apiece(apiece), None
        if base.kind is TypeKind.ENUM or base.name == "bool" or facts.one_of is not None:
            return _labels(self.column, base.labels or ("false", "true"), facts, self._filled)
        if base.name in LATTICES:
            return self._numbers()
        if base.kind is TypeKind.ARRAY:
            return _arrays(self.column, base.element.name if base.element else ""), None
        return self._texts() if base.kind is TypeKind.BASE else (None, None)

    def countable(self) -> Values | None:
        """Different values for a key by itself that are spread, or as long, as the profile's."""
        base = self._base[0]
        if base.name in INTEGERS:
            return self._stretched()
        if base.name in TEXTS:
            return self._spread(_MANY * max(1, self.count))
        return None

    def _apiece(self) -> Values | None:
        """Different values for a column that has no two alike, though no key says so: where draws would often
        meet, or short texts leave no room for the numbers of so many that they do not.
        """
        column, base = self.column, self._base[0]
        alike = column.common or not column.distinct or abs(column.distinct + self._filled) > _SAME
        if alike or self.leads:
            return None
        if base.name in TEXTS:
            size = _MANY * max(1, self.count)
            short = min(column.lengths, default=0) < len(str(size)) + _HEAD
            return self._spread(max(1, self.count) if short else size)
        made = self._stretched() if base.name in INTEGERS | _MOMENTS else None
        knots = numbers_of(column.quantiles, base.name)
        if made is None or not self.count <= knots[-1] - knots[0] + 1 < _MANY * self.count:
            return None
        # more rows than production's range has room for lie in it as they may
        return made if made.knots[-1] <= knots[-1] + self.count / _MANY + 1 else None

    @property
    def _order(self) -> float:
        """The correlation with the order on disk, which is that of the rows where it is not known."""
        correlation = self.column.correlation
        return 1.0 if correlation is None or correlation > IN_ORDER else correlation

    def _stretched(self) -> Stretched | None:
        base, facts = self._base
        whole = lattice(base, facts, self.need.name, exact=True, rows=_ENDLESS)
        knots = tuple(int(number) for number in numbers_of(self.column.quantiles, base.name))
        return stretched(whole, knots, self.count, self._order)

    def _spread(self, size: int) -> Values | None:
        base, facts = self._base
        if facts.regexes or facts.likes or facts.one_of is not None or not self.column.lengths:
            return None
        made = self._made(size)
        if not isinstance(made, Words) or (base.length is not None and base.length <= len(str(size))):
            return None
        # what is asked of values that are counted is `size` and `at`, which these have
        return cast("Values", Spread(made, max(1, self.count), self._order))

    def _numbers(self) -> Made:
        column, need, filled = self.column, self.need, self._filled
        base, facts = self._base
        texts = (*column.quantiles, *(c.value for c in column.common if c.value is not None))
        numbers = numbers_of(texts, base.name)
        if len(numbers) != len(texts):
            return None, None
        if len(column.quantiles) > 1 or numbers:
            # where all values are common ones, those that few rows share are anywhere else
            known = len(column.quantiles) > 1 or (len(numbers) == len(column.common) and not self._rare())
            range_ = _between(texts, numbers) if known else Facts()
            values = lattice(base, facts.also(range_), need.name, exact=True, rows=_ENDLESS)
            bounds = numbers_of(column.quantiles, base.name)
        else:
            values = self._any_range(base, facts)
            low, high = (end / 10.0**values.scale for end in (values.spans[0][0], values.spans[-1][1]))
            # evenly: a single long piece would thin out
            bounds = tuple(np.linspace(low, high, _EVEN if values.size > _EVEN**2 else 2).tolist())
        unnamed = [common.frequency / filled for common in column.common if common.value is None]
        if numbers:
            unnamed += self._rare()
        pieces = _pieces_of_numbers(column, bounds, base.name, filled, values, unnamed)
        distinct = column.distinct_of(self.count)
        pieces = pieces.thinned(distinct, self.count * filled, 10.0**-values.scale)
        fine = base.name in _FLOATING or (
            base.precision is None and base.name == "numeric" and _small(numbers)
        )
        whole = not fine and values.scale == 0
        return Shaped(Profiled(pieces, whole), values, fine), pieces

    def _any_range(self, base: DataType, facts: Facts) -> Lattice:
        """The range that the name suggests, since the column's own is withheld, if it has values enough."""
        values = lattice(base, facts, self.need.name, exact=False, rows=self.count)
        shares = [common.frequency / self._filled for common in self.column.common]
        wanted = len(shares) + self._others(max(0.0, 1.0 - sum(shares)))
        if values.size >= wanted:
            return values
        if base.name in INTEGERS:
            facts = facts.also(Facts(bounds=(Bound("<=", str(values.spans[0][0] + 2 * wanted)),)))
        return lattice(base, facts, self.need.name, exact=True, rows=wanted)

    def _rare(self) -> list[float]:
        """The shares of values that are neither among the common ones nor between quantiles, because too few
        rows have them.
        """
        left = 1.0 - sum(common.frequency for common in self.column.common) / self._filled
        rows = left * self.table.rows * self._filled
        if len(self.column.quantiles) > 1 or rows < 0.5:
            return []
        missing = round(self.column.distinct_of(self.table.rows)) - len(self.column.common)
        count = max(1, min(missing, math.ceil(rows)))
        return [left / count] * count

    def _texts(self) -> Made:
        column, facts = self.column, self._base[1]
        known = {c.value: c.frequency / self._filled for c in column.common if c.value is not None}
        items = sorted(value for value in known if value not in facts.none_of)
        unnamed = [common for common in column.common if common.value is None]
        rest = max(0.0, 1.0 - sum(common.frequency for common in column.common) / self._filled)
        others = self._others(rest)
        size, first = len(unnamed) + others, len(items)
        values = self._made(max(1, size))
        if values is None or first + size == 0:
            return None, None
        places = [math.floor((place + 0.5) * size / len(unnamed)) for place in range(len(unnamed))]
        points = [(float(place), known[item]) for place, item in enumerate(items)]
        points += [
            (float(first + place), common.frequency / self._filled)
            for place, common in zip(places, unnamed, strict=True)
        ]
        pieces = Pieces.of(points, (float(first), float(first + size)) if others else (), unit=1.0)
        exceptions: list[tuple[int, str]] = []
        if isinstance(values, Words):
            lengths = [common.length or 1 for common in unnamed]
            exceptions = [(n, values.of_length(n, length)) for n, length in zip(places, lengths, strict=True)]
        generator = Ordinals(pieces, values, tuple(items), tuple(exceptions))
        return generator, pieces if self._base[0].name in TEXTS else None

    def _others(self, rest: float) -> int:
        """How many values there are besides the common ones."""
        if rest < 1e-6:
            return 0
        draws = self.count * self._filled * rest
        distinct = max(1.0, self.column.distinct_of(self.count) - len(self.column.common))
        if not self.column.distinct:
            distinct = draws
        many = values_for(distinct, draws) or _MANY * draws
        if self._base[0].name in TEXTS:  # each carries its number, which is to be no longer than they are
            many = min(many, max(distinct, 10.0 ** min(15, self.column.width_bytes - 1)))
        return max(1, round(many))

    def _made(self, size: int) -> Countable | None:
        """`size` made-up values of the column's type, all different."""
        (base, facts), column = self._base, self.column
        if base.name in _DOCUMENTS and not facts.json and not facts.min_length and facts.max_length is None:
            return Documents(base.name, size, width_of(self.table, column))
        if base.name in TEXTS and not facts.regexes and not facts.likes:
            limits = [n for n in (base.length, facts.max_length, 63 if base.name == "name" else None) if n]
            kind = kind_for(self.need.name, self.table.relation.name)
            most = min(limits) if limits else None
            return Words(kind, size, lengths_of(self.table, column), facts.min_length, most, facts.fold)
        try:
            key = len(self.need.name)
            values = values_of(
                base, facts, Wanted(self.table.relation.name, self.need.name, size, exact=True, key=key)
            )
        except UnsupportedTypeError:
            return None
        return values if values.size >= size else None


def _labels(
    column: ColumnProfile, labels: tuple[str, ...], facts: Facts, filled: float
) -> tuple[ColumnGenerator | None, Pieces | None]:
    """Every label with its share; those that are not common share what is left."""
    allowed = labels if facts.one_of is None else facts.one_of
    items = [label for label in allowed if label not in facts.none_of]
    spelled = {"t": "true", "f": "false"} if set(items) <= {"true", "false"} else {}
    shares = {
        spelled.get(c.value, c.value): c.frequency / filled for c in column.common if c.value is not None
    }
    unnamed = [c.frequency / filled for c in column.common if c.value is None]
    for label in items:
        if label not in shares and unnamed:
            shares[label] = unnamed.pop(0)
    others = [label for label in items if label not in shares]
    rest = max(0.0, 1.0 - sum(shares.get(label, 0.0) for label in items))
    weights = [shares.get(label, rest / max(1, len(others))) for label in items]
    if not items or sum(weights) <= 0:
        return None, None
    points = [(float(place), weight) for place, weight in enumerate(weights) if weight > 0]
    kept = [(item, weight) for item, weight in zip(items, weights, strict=True) if weight > 0]
    generator = Weighted(tuple(item for item, _ in kept), tuple(weight for _, weight in kept))
    return generator, Pieces.of(points, ())


def _pieces_of_numbers(
    column: ColumnProfile,
    bounds: tuple[float, ...],
    base: str,
    filled: float,
    values: Lattice,
    unnamed: Sequence[float],
) -> Pieces:
    """`unnamed` are the shares of values that are not told: any others stand in their places."""
    whole = base not in _FLOATING | {"numeric", "money"}
    unit = 10.0**-values.scale
    points = [
        (numbers_of((common.value,), base)[0], common.frequency / filled)
        for common in column.common
        if common.value is not None
    ]
    places = (np.arange(len(unnamed)) + 0.5) / max(1, len(unnamed))
    ends = bounds if len(bounds) > 1 else sorted(value for value, _ in points)
    if unnamed and ends:
        wanted = Pieces.of((), ends if len(ends) > 1 else (ends[0], ends[0] + 1)).at(places)
        known = [value for value, _ in points]
        others = _others_than(known, wanted.tolist(), unit, ends[0], values.spans[-1][1] * unit)
        points += list(zip(others, unnamed, strict=True))
    return Pieces.of(points, bounds, 1.0 if whole else 0.0, unit=unit if whole else 0.0)


def _others_than(
    known: Sequence[float], wanted: Sequence[float], unit: float, least: float, most: float
) -> Iterator[float]:
    """For each wanted value the nearest multiple of `unit` from `least` to `most` that is none of the known
    ones, nor one that was given out before; itself, if all are taken.
    """
    taken = {round(value / unit) for value in known}
    low, high = math.floor(least / unit), math.floor(most / unit)
    for value in wanted:
        number = math.floor(value / unit)
        near = (n for d in range(2 * len(taken) + 2) for n in (number + d, number - d) if low <= n <= high)
        chosen = next((n for n in near if n not in taken), number)
        taken.add(chosen)
        yield chosen * unit


def _between(texts: tuple[str, ...], numbers: tuple[float, ...]) -> Facts:
    """No less than the least and no more than the greatest of the profile's values."""
    plain = [re.sub(r"[$,]", "", text) for text in texts]
    least, greatest = numbers.index(min(numbers)), numbers.index(max(numbers))
    return Facts(bounds=(Bound(">=", plain[least]), Bound("<=", plain[greatest])))


def _small(numbers: tuple[float, ...]) -> bool:
    """Whether two digits after the point are too few for these."""
    return max(numbers) - min(numbers) < 10


def _arrays(column: ColumnProfile, element: str) -> ColumnGenerator | None:
    numeric = element in INTEGERS
    if not column.elements or column.element_count is None or (not numeric and element not in TEXTS):
        return None
    items = [
        common.value if common.value is not None else str(place + 1) if numeric else f"w{place + 1}"
        for place, common in enumerate(column.elements)
    ]
    if not numeric:  # as long as what they stand for
        made = zip(items, column.elements, strict=True)
        items = [
            item if common.value is not None else item.ljust(common.length or 1, "x") for item, common in made
        ]
    shares = tuple(common.frequency for common in column.elements)
    return Arrays(tuple(items), shares, column.element_count, numeric)
