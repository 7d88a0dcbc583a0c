"""From what a scenario says about one column to its generator, by the kind that it names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rehearse.dataset.bits import key_of
from rehearse.dataset.facts import Facts
from rehearse.dataset.generators import Given
from rehearse.dataset.generators.computed import compiled
from rehearse.dataset.generators.numbers import Bell, Counting, Flat, LogBell, Shape, Shaped
from rehearse.dataset.generators.weighted import Evenly, Weighted, Zipfian
from rehearse.dataset.generators.words import Wide, Words, require_provider
from rehearse.dataset.kinds import TEXTS, UnsupportedTypeError, Wanted, flattened, values_of
from rehearse.dataset.lattices import LATTICES, exact_raw, limits, tightened
from rehearse.dataset.patterns import TYPICAL, PatternError, from_regex
from rehearse.dataset.values import DAY, Lattice, Template
from rehearse.errors import DatasetError
from rehearse.model import generation as said
from rehearse.model.schema import DataType

_FINE = frozenset({"float4", "float8"})
_FINE_SCALE = 6
_MOST_WHOLE = 2**53  # beyond this a double does not tell whole numbers apart
_WIDE = TEXTS | {"bytea", "json", "jsonb", "xml"}
_LENGTH = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|m|h|d|days?)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": DAY, "day": DAY, "days": DAY}


@dataclass(frozen=True, slots=True)
class Place:
    """The column that a generator is made for. `what` names it in messages; `others` are the base types of
    the columns beside it; `facts` are what its constraints say.
    """

    what: str
    table: str
    column: str
    type_: DataType
    facts: Facts
    others: Mapping[str, str]
    locale: str
    seed: int

    @property
    def base(self) -> DataType:
        """The type below all domains."""
        return flattened(self.type_)[0]

    def refused(self, why: str, mend: str = "") -> DatasetError:
        """The error that says so."""
        return DatasetError(f"{self.what} {why}", mend)


def made(kind: said.Kind, place: Place) -> Given:
    """The generator of one kind. Raises DatasetError for what the column's type does not take."""
    return _MAKERS[type(kind)](kind, place)


def _weighted(kind: said.WeightedValues, place: Place) -> Given:
    items = tuple(text for text, _ in kind.items)
    if place.base.name in LATTICES:
        form = LATTICES[place.base.name].form
        wrong = next((text for text in items if exact_raw(text, form, 0) is None), None)
        if wrong is not None and form != "interval":
            raise place.refused(f"has a value that is no {place.type_.sql}: {wrong}")
    return Given(Weighted(items, tuple(weight for _, weight in kind.items)))


def _uniform(kind: said.Uniform, place: Place) -> Given:
    grid = _Grid(place)
    low, high = grid.value(kind.low), grid.value(kind.high)
    if low > high:
        raise place.refused("has its min above its max")
    shaped = grid.shaped(Flat(low, high), low, high, spread=high - low)
    if shaped.fine:
        return Given(shaped)
    # over the points themselves, so that each is as likely as the others
    unit = 0.5 / 10.0**shaped.lattice.scale
    even = Shaped(Flat(low - unit, high + unit), shaped.lattice)
    return Given(even, countable=shaped.lattice)


def _normal(kind: said.Normal, place: Place) -> Given:
    grid = _Grid(place)
    sigma = grid.length(kind.sigma)
    if sigma <= 0:
        raise place.refused("has a sigma that is not above 0")
    low = None if kind.low is None else grid.value(kind.low)
    high = None if kind.high is None else grid.value(kind.high)
    return Given(grid.shaped(Bell(grid.value(kind.mean), sigma), low, high, spread=sigma))


def _lognormal(kind: said.Lognormal, place: Place) -> Given:
    grid = _Grid(place)
    if grid.temporal:
        raise place.refused("is for numbers", "use normal or uniform for moments")
    mu = math.log(kind.mean) - kind.sigma**2 / 2
    return Given(grid.shaped(LogBell(mu, kind.sigma), kind.low, kind.high, spread=kind.mean * kind.sigma))


def _zipf(kind: said.Zipf, place: Place) -> Given:
    if kind.low is not None:
        grid = _Grid(place)
        if grid.temporal:
            raise place.refused("takes a min for numbers only")
        low, unit = round(kind.low * 10**grid.scale), 10**grid.scale
        points = Lattice(grid.form, ((low, low + (kind.distinct - 1) * unit),), step=unit, scale=grid.scale)
        return Given(Zipfian(points, kind.distinct, kind.exponent))
    wanted = Wanted(
        place.table, place.column, kind.distinct, True, key_of(place.seed, place.what), place.locale
    )
    try:
        values = values_of(place.type_, place.facts, wanted)
    except UnsupportedTypeError as error:
        raise place.refused(f"has no values of its own: {error}") from None
    if values.size < kind.distinct:
        raise place.refused(f"has room for {values.size:,} different values, not {kind.distinct:,}")
    return Given(Zipfian(values, kind.distinct, kind.exponent))


def _sequence(kind: said.Sequence, place: Place) -> Given:
    if place.base.name in TEXTS:
        if isinstance(kind.start, str) or isinstance(kind.step, str):
            raise place.refused("counts in whole numbers")
        points = Lattice("integer", ((int(kind.start), 10**15),), step=max(1, int(kind.step)))
        return Given(Counting(points), countable=points)
    grid = _Grid(place)
    start, step = grid.raw(kind.start), round(grid.length(kind.step) * 10**grid.scale)
    if step < 1:
        raise place.refused(f"has a step that {place.type_.sql} does not tell apart")
    low, high = grid.limits
    if not low <= start <= high:
        raise place.refused(f"starts beyond what {place.type_.sql} and its constraints allow")
    points = Lattice(grid.form, ((start, high),), step=step, scale=grid.scale)
    return Given(Counting(points), countable=points)


def _pattern(kind: said.Pattern, place: Place) -> Given:
    if place.base.name not in TEXTS:
        raise place.refused(f"is for text, and the column is {place.type_.sql}")
    try:
        slots = from_regex(kind.regex, TYPICAL)
    except PatternError:
        what = "uses something that cannot be turned round into texts"
        raise place.refused(what, "use literals, classes, groups, | and {n}, such as INV-[0-9]{8}") from None
    template = Template(slots, exact=True)
    return Given(Evenly(template), countable=template)


def _faker(kind: said.FakerWords, place: Place) -> Given:
    require_provider(kind.provider, place.locale)
    words = Words(kind.provider, place.locale)
    if place.base.name not in TEXTS:
        return Given(words)
    lengths = [n for n in (place.base.length, place.facts.max_length) if n is not None]
    return Given(words, countable=words.countable(min(lengths, default=None)))


def _computed(kind: said.Computed, place: Place) -> Given:
    return Given(expression=compiled(kind.sql, place.others, place.base.name, place.what))


def _width(kind: said.Width, place: Place) -> Given:
    if place.base.name not in _WIDE:
        raise place.refused(f"is for text, bytea, json and xml, and the column is {place.type_.sql}")
    most = kind.most if place.base.length is None else min(kind.most, place.base.length)
    if kind.mean > most:
        raise place.refused(f"asks for {kind.mean} characters, and {place.type_.sql} takes {most}")
    return Given(Wide(place.base.name, kind.mean, most, place.locale))


class _Grid:
    """The lattice of a numeric or temporal column, in which a scenario's numbers and moments are read."""

    def __init__(self, place: Place) -> None:
        if place.base.name not in LATTICES:
            raise place.refused(f"is for numbers and moments, and the column is {place.type_.sql}")
        self._place = place
        self.fine = place.base.name in _FINE
        self.form, self.scale, *_ = limits(place.base)
        if self.fine:
            self.scale = _FINE_SCALE

    @property
    def temporal(self) -> bool:
        """Whether its values are moments or lengths of time."""
        return self.form not in {"integer", "decimal"}

    @property
    def limits(self) -> tuple[int, int]:
        """The least and greatest raw value that type and constraints allow."""
        form, scale, low, high = limits(self._place.base)
        low, high = (end * 10 ** (self.scale - scale) for end in (low, high))
        low, high = max(low, -_MOST_WHOLE), min(high, _MOST_WHOLE)
        for bound in self._place.facts.bounds:
            low, high = tightened(low, high, bound, form, self.scale)
        return low, high

    def value(self, given: said.Scalar) -> float:
        """A number or moment in the shape's units."""
        if isinstance(given, str):
            exact = exact_raw(given, self.form, 0)
            if exact is None:
                raise self._place.refused(f"has a value that is no {self._place.type_.sql}: {given}")
            return float(exact)
        if self.temporal and self.form != "interval":
            raise self._place.refused('takes moments in quotes, such as "2024-01-31"')
        return given

    def length(self, given: said.Scalar) -> float:
        """A distance in the shape's units: a duration for moments, or a number of days or seconds."""
        if not isinstance(given, str):
            return given
        match = _LENGTH.fullmatch(given.strip())
        if match is None or not self.temporal:
            raise self._place.refused(
                f'has a length that cannot be read: {given}; write 2, or "36h" for moments'
            )
        seconds = float(match[1]) * _SECONDS[match[2]]
        return seconds / DAY if self.form == "date" else seconds

    def raw(self, given: said.Scalar) -> int:
        """A number or moment in raw units."""
        return round(self.value(given) * 10.0**self.scale)

    def shaped(self, shape: Shape, low: float | None, high: float | None, *, spread: float) -> Shaped:
        """The shape between its own ends, or where it has none those of the type and its constraints."""
        if self.form == "decimal" and self._place.base.precision is None and spread < 1:
            self.scale = _FINE_SCALE
        least, most = self.limits
        unit = 10.0**self.scale
        ends = (
            least if low is None else math.ceil(low * unit - 1e-6),
            most if high is None else math.floor(high * unit + 1e-6),
        )
        if ends[0] > ends[1]:
            raise self._place.refused("leaves no value between its min and max")
        if max(map(abs, ends)) > 2**62:
            raise self._place.refused("has a min or max that is too large")
        return Shaped(shape, Lattice(self.form, (ends,), scale=self.scale), self.fine)


# each maker takes its own kind: the key of the table says which
_MAKERS: dict[type, Callable[[Any, Place], Given]] = {
    said.WeightedValues: _weighted,
    said.Uniform: _uniform,
    said.Normal: _normal,
    said.Lognormal: _lognormal,
    said.Zipf: _zipf,
    said.Sequence: _sequence,
    said.Pattern: _pattern,
    said.FakerWords: _faker,
    said.Computed: _computed,
    said.Width: _width,
}
