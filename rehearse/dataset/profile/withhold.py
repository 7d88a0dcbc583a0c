"""Which columns' values may stand in a profile, and how exactly. Pure.

Deny by default: text is withheld unless it is plainly a label that many rows share; so is whatever has a
name, or is of a type, that personal data usually has. What is neither is written, numbers and moments
rounded: a quantile is some row's value, and exact ones can be recognised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from rehearse.dataset.profile.pieces import numbers_of
from rehearse.engines.postgres.statistics import ColumnStatistics
from rehearse.errors import InputError
from rehearse.model.profile import Profile
from rehearse.model.relation import Relation

FEWEST_ROWS = 10
"""A common value that fewer rows share is not written, nor a quantile with fewer rows up to the next."""

_MOST_LABELS = 100
_LONGEST_LABEL = 40
_PERSONAL_NAME = re.compile(
    r"name|e_?mail|phone|mobile|fax|(^|_)tel(_|$)|address|addr(_|$)|street|zip|post_?code|postal|city|town"
    r"|birth|(^|_)dob(_|$)|born|(^|_)age(_|$)|gender|(^|_)sex(_|$)|marital|religio|ethnic|nationality"
    r"|ssn|social_sec|passport|licen[cs]e|national_id|(^|_)nin(_|$)|tax_?(id|no|num)|vat_?(id|no|num)"
    r"|iban|(^|_)bic(_|$)|swift|account_?(no|num)|card|cvv|cvc|salary|wage|income"
    r"|(^|_)ip(_|$|v?[46])|user_?agent|(^|_)mac(_|$)|device|imei|latitude|longitude|(^|_)(lat|lng|lon)(_|$)|geo"
    r"|location|login|password|passwd|secret|token|(^|_)hash|signature|session|cookie|api_?key"
    r"|author|person|contact|customer$|patient|employee|owner|assignee|created_by|updated_by|(^|_)user$"
    r"|health|diagnos|medical|blood|comment|note|message|subject|body|descr|remark|bio(_|$)|photo|avatar|url",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(^|_)(id|no|nr|number)$", re.IGNORECASE)
_TYPES_WITHHELD = {
    "inet": "a network address",
    "cidr": "a network address",
    "macaddr": "a network address",
    "macaddr8": "a network address",
    "uuid": "an identifier",
    "json": "a document",
    "jsonb": "a document",
    "xml": "a document",
    "bytea": "binary",
    "hstore": "a document",
    "point": "a place",
    "geometry": "a place",
    "geography": "a place",
}
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "money"})
_MOMENTS = frozenset({"date", "timestamp", "timestamptz", "time", "timetz", "interval"})
_LABEL = re.compile(r"[A-Za-z0-9][\w+#&()]*([ ./:_-]{1,2}[\w+#&()]+)*[+!]?\Z")
_PERSON = re.compile(r"[A-Z]\w+([ -][A-Z]\w*\.?)+\Z|.*\d{5}|.*\.(com|org|net|[a-z]{2})\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user says of columns, each as `table.column` (or `schema.table.column`): `personal` ones are
    withheld, `safe` ones are written, and why. `like`: as in that profile, for the columns it knows.
    """

    personal: frozenset[str] = frozenset()
    safe: Mapping[str, str] = field(default_factory=dict)
    like: Profile | None = None

    def check(self, known: Iterable[tuple[Relation, str]]) -> None:
        """Raises InputError for a column that there is not: a typo must not publish anything."""
        names = {spelling for relation, column in known for spelling in _spellings(relation, column)}
        for flag, given in (("--personal", self.personal), ("--safe", self.safe)):
            for name in given:
                if name not in names:
                    raise InputError(f"`{flag} {name}`: there is no such column", "write TABLE.COLUMN")
        both = self.personal & self.safe.keys()
        if both:
            raise InputError(f"`{min(both)}` is given both as --personal and as --safe")

    def reason(self, relation: Relation, column: ColumnStatistics, rows: int, *, reference: bool) -> str:
        """Why the column's values are withheld; empty if they may be written."""
        table = self.like.table(relation) if self.like is not None else None
        known = table.column(column.name) if table is not None else None
        if known is not None and known.known:
            return known.withheld
        spellings = _spellings(relation, column.name)
        if any(name in self.personal for name in spellings):
            return "said to be personal"
        if any(name in self.safe for name in spellings):
            return ""
        return _reason(column, rows, reference=reference)


def _spellings(relation: Relation, column: str) -> tuple[str, ...]:
    full = f"{relation.schema}.{relation.name}.{column}"
    return (full, f"{relation.name}.{column}") if relation.schema == "public" else (full,)


def _reason(column: ColumnStatistics, rows: int, *, reference: bool) -> str:
    if column.category in {"B", "E"}:
        return ""  # true, false and what the schema says anyway
    if column.base in _TYPES_WITHHELD:
        return _TYPES_WITHHELD[column.base]
    identifier = column.key or reference
    number = column.base in _NUMBERS | _MOMENTS
    # these are rounded, and their common values withheld: see `take`
    running = number and (reference or (column.key and _NUMBERED.search(column.name) is not None))
    if not running and _PERSONAL_NAME.search(column.name):
        return "its name"
    if number or identifier:
        return "" if number else "an identifier"
    if column.category == "A":
        return _reason_for_texts(column.elements, column.element_frequencies, rows)
    return "text" if column.bounds else _reason_for_texts(column.values, column.frequencies, rows)


def _reason_for_texts(values: Sequence[str], frequencies: Sequence[float], rows: int) -> str:
    """Labels are few, short, shared by many, and do not look like a person's name, a number or an address.
    Those that few rows share are not looked at: they are not written.
    """
    shared = [v for v, share in zip(values, frequencies, strict=True) if share * rows >= FEWEST_ROWS]
    if not values or len(values) > _MOST_LABELS:
        return "text"
    if 2 * len(shared) < len(values):
        return "text that few rows share"
    if any(len(value) > _LONGEST_LABEL or not _LABEL.match(value) for value in shared):
        return "free text"
    return "it looks like names or numbers" if any(map(_PERSON.match, shared)) else ""


def rounded(values: Sequence[str], base: str) -> tuple[str, ...]:
    """Quantiles of numbers to a thousandth of the range that they lie in (the outermost: of the whole range),
    moments likewise to a round unit of time; other values as they are.
    """
    if base in _NUMBERS:
        return _rounded_numbers(values)
    if base in _MOMENTS:
        return tuple(_rounded_moment(value, _moment_unit(values)) for value in values)
    return tuple(values)


def _rounded_numbers(values: Sequence[str]) -> tuple[str, ...]:
    try:
        numbers = [Decimal(re.sub(r"[$,]", "", value)) for value in values]
    except InvalidOperation:
        return ()
    finite = [number for number in numbers if number.is_finite()]
    if len(finite) < 2:
        return tuple(values)
    middle = finite[1:-1] if len(finite) > 10 else finite
    whole, inner = _unit(finite[-1] - finite[0]), _unit(middle[-1] - middle[0])
    units = [inner if middle[0] <= number <= middle[-1] else whole for number in finite]
    written = [_to_unit(number, unit) for number, unit in zip(finite, units, strict=True)]
    return tuple(f"{number:f}" for number in sorted(written))


def _to_unit(number: Decimal, unit: Decimal) -> Decimal:
    """Never finer than it was."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= unit.adjusted():
        return number
    return (number / unit).to_integral_value(ROUND_HALF_EVEN) * unit


def _unit(span: Decimal) -> Decimal:
    if span <= 0:
        return Decimal("1e-12")
    return Decimal(10) ** (math.floor(math.log10(span)) - 3)


# the unit that is at most a thousandth of these seconds
_CUTS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (0, "second"))


def _moment_unit(values: Sequence[str]) -> str:
    moments = numbers_of(values, "timestamptz")
    span = max(moments) - min(moments) if moments else 0.0
    return next(unit for least, unit in _CUTS if span >= least)


def _day(value: str) -> date | None:
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def _rounded_moment(value: str, unit: str) -> str:
    if _day(value) is None:
        return re.sub(r"\.\d+", "", value)  # a time of day, an interval: to the second
    zone = "+00" if value.endswith("+00") else ""
    clock = value[11:19]
    if not clock:
        return value
    kept = {
        "day": "00:00:00",
        "hour": f"{clock[:2]}:00:00",
        "minute": f"{clock[:5]}:00",
        "second": clock,
    }[unit]
    return f"{value[:10]} {kept}{zone}"
