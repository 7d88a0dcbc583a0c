"""Numbers and instants: bounds in a column's own units, and which range its name suggests."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from rehearse.dataset.facts import NOW, Bound, Facts, number
from rehearse.dataset.values import DAY, Lattice
from rehearse.model.schema import DataType

# Fixed, so that one seed gives one data set for ever; and past, so that `<= now()` holds.
END = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
START = END - 3 * 365 * DAY
_FUTURE = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
_ANCIENT = int(datetime(1000, 1, 1, tzinfo=UTC).timestamp())
_LAST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_MOST = 10**15 - 1  # decimals beyond this are no longer exact in a double


class _Type(NamedTuple):
    form: str
    low: int
    high: int


LATTICES: dict[str, _Type] = {
    "int2": _Type("integer", -(2**15), 2**15 - 1),
    "int4": _Type("integer", -(2**31), 2**31 - 1),
    "int8": _Type("integer", -(2**63), 2**63 - 1),
    "oid": _Type("integer", 0, 2**32 - 1),
    "xid": _Type("integer", 3, 2**32 - 1),
    "cid": _Type("integer", 0, 2**32 - 1),
    "xid8": _Type("integer", 3, 2**62),
    "numeric": _Type("decimal", -_MOST, _MOST),
    "float8": _Type("decimal", -_MOST, _MOST),
    "float4": _Type("decimal", -(10**6), 10**6),
    "money": _Type("decimal", -_MOST, _MOST),
    "date": _Type("date", _ANCIENT // DAY, _LAST // DAY),
    "timestamp": _Type("timestamp", _ANCIENT, _LAST),
    "timestamptz": _Type("timestamptz", _ANCIENT, _LAST),
    "time": _Type("time", 0, DAY - 1),
    "timetz": _Type("timetz", 0, DAY - 1),
    "interval": _Type("interval", -_MOST, _MOST),
}
_FIELDS = {"hour": 3600, "minute": 60}  # seconds of an interval's smallest field
INTEGERS = frozenset({"int2", "int4", "int8"})

# (pattern of the column's name, low, high) in whole units; the first that matches wins
_RANGES: tuple[tuple[str, int, int], ...] = (
    (r"percent|pct|progress|score", 0, 100),
    (r"ratio|probability|fraction|weight_share", 0, 1),
    (r"rating|stars|priority|level|tier", 1, 5),
    (r"(^|_)age$", 18, 90),
    (r"year", 1990, 2024),
    (r"month", 1, 12),
    (r"day_of_month|(^|_)day$", 1, 28),
    (r"hour", 0, 23),
    (r"minute|second", 0, 59),
    (r"qty|quantity|(^|_)num_|items?$|seats|attempts|retries", 1, 20),
    (r"count$|views|likes|hits", 0, 1000),
    (r"latitude|(^|_)lat$", -90, 90),
    (r"longitude|(^|_)(lng|lon)$", -180, 180),
    (r"port", 1024, 65535),
    (r"version|position|sort|rank|sequence|ordinal", 1, 100),
    (r"tax|discount|fee|rate", 0, 50),
    (r"price|cost|amount|total|subtotal|balance|salary|budget|revenue|payment", 1, 1000),
    (r"(^|_)id$", 1, 1_000_000),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), low, high) for pattern, low, high in _RANGES)


def lattice(type_: DataType, facts: Facts, column: str, *, exact: bool, rows: int) -> Lattice:
    """The values of a numeric or temporal type that agree with `facts`, within what the name suggests.

    Exact ones have at least `rows` values if the type and the facts have room for them.
    """
    step = _step(type_)
    rows *= step
    form, scale, low, high = limits(type_)
    for bound in facts.bounds:
        low, high = tightened(low, high, bound, form, scale)
    suggested = _suggestion(form, scale, column, exact=exact)
    pieces = [
        (low if a is None else max(low, a), high if b is None else min(high, b - 1))
        for a, b in (_piece(text, form, scale) for text in facts.intervals)
    ]
    pieces = [piece for piece in pieces if piece[0] <= piece[1]] or [(low, high)]
    excluded = {n for text in facts.none_of if (n := to_raw(text, form, scale)) is not None}
    spans = [_shrunk(piece, suggested, rows if exact else 1) for piece in pieces]
    spans = _aligned(sorted(_without(spans, excluded)), step)
    return Lattice(form, tuple(spans), step=step, scale=scale, in_turn=len(pieces) > 1)


def _step(type_: DataType) -> int:
    """How far apart raw values are that the type tells apart: `interval hour` whole hours, numeric(3, -2)
    whole hundreds.
    """
    if type_.name == "interval":
        field = re.match(r"interval (?:\w+ to )?(\w+)", type_.sql)
        return _FIELDS.get(field[1], 1) if field else 1
    return int(10 ** max(0, -(type_.scale or 0)))


def _aligned(spans: list[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """The spans from the first to the last multiple of the step in them; as they are if they hold none."""
    inner = [(-(-low // step) * step, high // step * step) for low, high in spans]
    return [span for span in inner if span[0] <= span[1]] or spans


def counted_within(values: Lattice, facts: Facts) -> tuple[int, int] | None:
    """The place of the first of the whole numbers that agree with bounds and intervals, and how many follow
    one another from there on; of several such runs the longest. None if there are none, or they are no such
    numbers.
    """
    if values.form != "integer" or len(values.spans) != 1:
        return None
    first, last = values.spans[0]
    low, high = first, last
    for bound in facts.bounds:
        low, high = tightened(low, high, bound, "integer", 0)
    ends = [_piece(text, "integer", 0) for text in facts.intervals] or [(None, None)]
    pieces = sorted(
        (low if start is None else max(low, start), high if stop is None else min(high, stop - 1))
        for start, stop in ends
    )
    runs: list[tuple[int, int]] = []
    for start, stop in pieces:
        if start > stop:
            continue
        if runs and start <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
        else:
            runs.append((start, stop))
    if not runs:
        return None
    start, stop = max(runs, key=lambda run: run[1] - run[0])
    place = -((first - start) // values.step)
    count = (stop - first) // values.step + 1 - place
    return (place, count) if count > 0 else None


def to_raw(text: str, form: str, scale: int) -> int | None:
    """A constant in raw units, rounded down; None if it cannot be read (or is infinite)."""
    exact = exact_raw(text, form, scale)
    return None if exact is None else int(exact.to_integral_value(ROUND_FLOOR))


def limits(type_: DataType) -> tuple[str, int, int, int]:
    """Form, scale, least and greatest raw value of a type of `LATTICES`."""
    form, low, high = LATTICES[type_.name]
    if form != "decimal":
        return form, 0, low, high
    if type_.precision is None:
        return form, 4 if type_.name == "float8" else 2, low, high
    scale = type_.scale or 0
    if scale < 0:  # numeric(3, -2) holds hundreds
        most = min(_MOST, (10**type_.precision - 1) * 10**-scale)
        return form, 0, -most, most
    # at least one digit before the point, if the type has room for it and a double can tell
    useful = min(scale, 6)
    most = min(_MOST, 10 ** min(15, type_.precision - scale + useful) - 1)
    return form, useful, -most, most


def tightened(  # noqa: PLR0911 - one arm an operator
    low: int, high: int, bound: Bound, form: str, scale: int
) -> tuple[int, int]:
    """The raw limits with a bound on top of them."""
    if bound.text == NOW:
        if form not in {"date", "timestamp", "timestamptz"}:
            return low, high
        upper = bound.operator in {"<", "<="}
        unit = DAY if form == "date" else 1
        return (low, min(high, END // unit)) if upper else (max(low, _FUTURE // unit), high)
    exact = exact_raw(bound.text, form, scale)
    if exact is None:
        return low, high
    down, up = int(exact.to_integral_value(ROUND_FLOOR)), int(exact.to_integral_value(ROUND_CEILING))
    match bound.operator:
        case "<":
            return low, min(high, up - 1)
        case "<=":
            return low, min(high, down)
        case ">":
            return max(low, down + 1), high
        case _:
            return max(low, up), high


def _piece(interval: tuple[str | None, str | None], form: str, scale: int) -> tuple[int | None, int | None]:
    low, high = (None if text is None else exact_raw(text, form, scale) for text in interval)
    return (
        None if low is None else int(low.to_integral_value(ROUND_CEILING)),
        None if high is None else int(high.to_integral_value(ROUND_CEILING)),
    )


def exact_raw(text: str, form: str, scale: int) -> Decimal | None:
    """A constant in raw units; None if it cannot be read (or is infinite)."""
    if form in {"integer", "decimal"}:
        value = number(text)
        return None if value is None else value.scaleb(scale)
    try:
        if form == "date":
            return Decimal((date.fromisoformat(text[:10]) - date(1970, 1, 1)).days)
        if form in {"timestamp", "timestamptz"}:
            moment = datetime.fromisoformat(text)
            return Decimal(str((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
        if form in {"time", "timetz"}:
            clock = time.fromisoformat(text)
            return Decimal(clock.hour * 3600 + clock.minute * 60 + clock.second)
        return _interval(text)
    except (ValueError, OverflowError):
        return None


def _interval(text: str) -> Decimal | None:
    """`1 day 02:03:04` and its parts, in seconds."""
    match = re.fullmatch(r"(?:(-?\d+) days?)?\s*(?:(-?)(\d+):(\d\d):(\d\d))?", text)
    if match is None or not text:
        return None
    days, sign, *clock = match.groups()
    hours, minutes, seconds = (int(part or 0) for part in clock)
    rest = hours * 3600 + minutes * 60 + seconds
    return Decimal(int(days or 0) * DAY + (-rest if sign else rest))


def _suggestion(  # noqa: PLR0911 - one arm a family
    form: str, scale: int, column: str, *, exact: bool
) -> tuple[int, int]:
    """The range that the name suggests, in raw units."""
    if form in {"date", "timestamp", "timestamptz"}:
        unit = DAY if form == "date" else 1
        if re.search(r"birth|dob|born", column, re.IGNORECASE):
            return (END - 80 * 365 * DAY) // unit, (END - 18 * 365 * DAY) // unit
        if re.search(r"expir|valid_(to|until)|due|deadline", column, re.IGNORECASE):
            return END // unit, (END + 3 * 365 * DAY) // unit
        return START // unit, END // unit - 1
    if form in {"time", "timetz"}:
        return 0, DAY - 1
    if form == "interval":
        return 1, 30 * DAY
    if exact and form == "integer":
        return 1, 2**62  # keys count 1, 2, 3 ... as far as the type goes
    one = 10**scale
    for pattern, low, high in _COMPILED:
        if pattern.search(column):
            return low * one, high * one
    return one, 10_000 * one if form == "integer" else 1_000 * one


def _shrunk(allowed: tuple[int, int], suggested: tuple[int, int], needed: int) -> tuple[int, int]:
    """As much of the suggestion as is allowed, or what is allowed nearest to it; room for twice `needed`."""
    low, high = max(allowed[0], suggested[0]), min(allowed[1], suggested[1])
    if low > high:
        # nothing in common: as wide a piece as the suggestion, at the nearer end
        width = suggested[1] - suggested[0]
        if suggested[1] < allowed[0]:
            low, high = allowed[0], min(allowed[1], allowed[0] + width)
        else:
            low, high = max(allowed[0], allowed[1] - width), allowed[1]
    missing = 2 * needed - (high - low + 1)
    if missing > 0:
        grown = min(allowed[1], high + missing) if suggested[0] == low else high
        missing = 2 * needed - (grown - low + 1)
        high = grown
        if missing > 0:
            low = max(allowed[0], low - missing)
            missing = 2 * needed - (high - low + 1)
        if missing > 0:
            high = min(allowed[1], high + missing)
    return low, high


def _without(spans: list[tuple[int, int]], excluded: set[int]) -> list[tuple[int, int]]:
    for raw in excluded:
        cut = []
        for low, high in spans:
            if low <= raw <= high:
                cut += [piece for piece in ((low, raw - 1), (raw + 1, high)) if piece[0] <= piece[1]]
            else:
                cut.append((low, high))
        spans = cut or spans
    return spans
