"""What is kept of the values seen: their kind, the range of numbers, and never a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from math import ceil, floor

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_MOST_DIGITS = 6


class Kind(Enum):
    """The kind of a value, told from its text; the value is a neutral one of that kind, as SQL."""

    INTEGER = "1"
    NUMBER = "1.0"
    BOOLEAN = "'true'"
    UUID = "'00000000-0000-4000-8000-000000000000'"
    DATE = "'2000-01-01'"
    TIME = "'12:00'"
    TIMESTAMP = "'2000-01-01 00:00:00'"
    INTERVAL = "'1 day'"
    ADDRESS = "'127.0.0.1'"
    ARRAY = "'{}'"
    JSON = "'{ }'"
    BYTES = r"'\x00'"
    TEXT = "'x'"

    @property
    def title(self) -> str:
        """For people."""
        return self.name.lower()


_PATTERNS = (
    (Kind.INTEGER, _INTEGER),
    (Kind.NUMBER, _NUMBER),
    (Kind.BOOLEAN, re.compile(r"(?:t|f|true|false)\Z", re.IGNORECASE)),
    (Kind.UUID, re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)),
    (Kind.DATE, re.compile(r"\d{4}-\d\d-\d\d\Z")),
    (Kind.TIME, re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?\Z")),
    (Kind.TIMESTAMP, re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)? ?(?:Z|[+-][\d:]+)?\Z")),
    (Kind.ADDRESS, re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?\Z")),
    (Kind.BYTES, re.compile(r"\\x(?:[0-9a-f]{2})*\Z", re.IGNORECASE)),
    (Kind.JSON, re.compile(r'(?:\{\s*(?:"[^"]*"\s*:.*)?\s*\}|\[.*\])\Z', re.DOTALL)),
    (Kind.ARRAY, re.compile(r"\{.*\}\Z", re.DOTALL)),
)
_TYPES = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), Kind.INTEGER),
    **dict.fromkeys(("numeric", "real", "double precision", "money"), Kind.NUMBER),
    "boolean": Kind.BOOLEAN,
    "uuid": Kind.UUID,
    "date": Kind.DATE,
    **dict.fromkeys(("time without time zone", "time with time zone"), Kind.TIME),
    **dict.fromkeys(("timestamp without time zone", "timestamp with time zone"), Kind.TIMESTAMP),
    "interval": Kind.INTERVAL,
    **dict.fromkeys(("inet", "cidr"), Kind.ADDRESS),
    **dict.fromkeys(("json", "jsonb"), Kind.JSON),
    "bytea": Kind.BYTES,
}
_CASTS = {
    **dict.fromkeys(("int", "int2", "int4", "int8", "bigint", "smallint"), Kind.INTEGER),
    **dict.fromkeys(("float", "float4", "float8", "decimal"), Kind.NUMBER),
    "bool": Kind.BOOLEAN,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMP,
    "time": Kind.TIME,
    "timetz": Kind.TIME,
}


def kind_of(text: str) -> Kind:
    """The kind of a value."""
    return next((kind for kind, pattern in _PATTERNS if pattern.match(text)), Kind.TEXT)


def kind_of_type(name: str) -> Kind:
    """The kind of a type by the name that `format_type` prints, or that stands in a cast."""
    return Kind.ARRAY if name.endswith("[]") else _TYPES.get(name) or _CASTS.get(name) or Kind.TEXT


@dataclass(slots=True)
class Seen:
    """The values of one slot. `first` is compared with the others, and written nowhere."""

    count: int = 0
    nulls: int = 0
    kind: Kind | None = None
    low: float = 0
    high: float = 0
    digits: int = 0
    first: str | None = None
    varied: bool = False

    def take(self, value: str | None) -> None:
        """One more value."""
        self.count += 1
        if self.count == 1:
            self.first = value
        elif value != self.first:
            self.varied = True
        if value is None:
            self.nulls += 1
            return
        kind = kind_of(value)
        if kind in {Kind.INTEGER, Kind.NUMBER}:
            self._widen(value, kind, fresh=self.count - self.nulls == 1)
        self.kind = kind if self.kind is None else _joined(self.kind, kind)

    def _widen(self, value: str, kind: Kind, *, fresh: bool) -> None:
        number = int(value) if kind is Kind.INTEGER else float(value)
        self.low = number if fresh else min(self.low, number)
        self.high = number if fresh else max(self.high, number)
        if "." in value:
            self.digits = min(_MOST_DIGITS, max(self.digits, len(value.partition(".")[2])))

    @property
    def constant(self) -> bool:
        """Whether it was the same every time, of several."""
        return self.count > 1 and not self.varied

    def expression(self) -> str | None:
        """A draw from the range of the numbers seen, in the language of scripts; None for other kinds."""
        if self.kind is Kind.INTEGER:
            return f"random({int(self.low)}, {int(self.high)})"
        scale = 10**self.digits
        if self.kind is not Kind.NUMBER or max(abs(self.low), abs(self.high)) * scale >= 2**62:
            return None
        return f"random({floor(self.low * scale)}, {ceil(self.high * scale)}) / {scale}.0"


def _joined(one: Kind, other: Kind) -> Kind:
    if one is other:
        return one
    if {one, other} <= {Kind.INTEGER, Kind.NUMBER}:
        return Kind.NUMBER
    if {one, other} <= {Kind.DATE, Kind.TIMESTAMP}:
        return Kind.TIMESTAMP
    return Kind.TEXT
