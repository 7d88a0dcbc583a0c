"""Quantities as people read them: 2.9 s, 4.7 ms, 300 M rows, 1.2 GiB, 0.3 %.

Two significant digits at least, never more than a reader needs, and never a `0.0` that hides a small
number. What was not measured says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rehearse.model import scales
from rehearse.model.scales import Scale, plain, round_to, scaled
from rehearse.model.verdict import Quantity, Unit

NOT_MEASURED = "not measured"

_SECONDS: Scale = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_COUNTS: Scale = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def _scaled(value: float, scale: Scale, digits: int) -> str:
    """`value` >= 0 in the largest unit in which it is at least 1 after rounding."""
    if value == 0 and scale is _SECONDS:
        return "0 s"
    return scaled(value, scale, digits)


def _signed(value: float, text: Callable[[float], str]) -> str:
    if math.isnan(value):
        return NOT_MEASURED
    if math.isinf(value):
        return "without end" if value > 0 else "-∞"
    return text(value) if value >= 0 else "-" + text(-value)


def duration(seconds: float | None, digits: int = 2) -> str:
    """`2.9 s`, `4.7 ms`, `12 µs`; from a minute on `1 min 42 s`, `2 h 5 min`, `3 d 4 h`."""
    return NOT_MEASURED if seconds is None else _signed(seconds, lambda s: _duration(s, digits))


def _duration(seconds: float, digits: int) -> str:
    if seconds >= 59.5 and digits <= 4:
        return _long_duration(round(seconds))
    return _scaled(seconds, _SECONDS, digits)


def _long_duration(whole: int) -> str:
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {unit} {rest // part} {part_unit}" if rest // part else f"{count} {unit}"
    return f"{whole} s"


def nanoseconds(value: int | None) -> str:
    """A difference of two `_ns`, as `duration` writes it."""
    return NOT_MEASURED if value is None else duration(value / 1e9)


def at_least(value_ns: int) -> str:
    """A sampled length, which is a lower bound: `at least 2.9 s`."""
    return f"at least {nanoseconds(value_ns)}" if value_ns > 0 else "seen once"


def count(value: float | None, digits: int = 3) -> str:
    """`950`, `1,234`, `12.3 k`, `300 M`."""
    if value is None:
        return NOT_MEASURED
    return _signed(
        value, lambda n: f"{n:,.0f}" if n == int(n) and n < 10_000 else _scaled(n, _COUNTS, digits)
    )


def rows(value: int | None) -> str:
    """`300 M rows`, `1 row`."""
    if value is None:
        return "rows not counted"
    return f"{count(value)} row" if value == 1 else f"{count(value)} rows"


def size(value: float | None, digits: int = 2) -> str:
    """`1.2 GiB`, `512 B`."""
    return NOT_MEASURED if value is None else _signed(value, lambda n: scales.size(n, digits))


def percent(ratio: float | None, digits: int = 2) -> str:
    """`0.3 %` of 0.003; however small, never `0 %` for what is not zero."""
    if ratio is None:
        return NOT_MEASURED
    return _signed(ratio, lambda r: f"{plain(round_to(r * 100, digits))} %" if r * 100 > 1e-9 else _tiny(r))


def _tiny(ratio: float) -> str:
    return "0 %" if ratio == 0 else "< 0.000000001 %"


def per_second(value: float | None, digits: int = 3) -> str:
    """`398 /s`, `12.3 k/s`."""
    if value is None:
        return NOT_MEASURED
    text = count(value, digits)
    return f"{text}/s" if text[-1:].isalpha() else f"{text} /s"


def quantity(value: Quantity | None, digits: int = 2) -> str:
    """Any quantity in its own unit; `not measured` for None."""
    if value is None:
        return NOT_MEASURED
    written: dict[Unit, Callable[[float, int], str]] = {
        Unit.SECONDS: duration,
        Unit.BYTES: size,
        Unit.RATIO: percent,
        Unit.COUNT: lambda number, d: count(number, max(d, 3)),
        Unit.PER_SECOND: lambda number, d: per_second(number, max(d, 3)),
    }
    return written[value.unit](value.value, digits)


def apart(observed: Quantity | None, limit: Quantity | None) -> tuple[str, str]:
    """Both as text, with as many digits as it takes to tell them apart: `1.004 s` against `1 s`."""
    if observed is None or limit is None or observed == limit:
        return quantity(observed), quantity(limit)
    for digits in range(2, 9):
        texts = quantity(observed, digits), quantity(limit, digits)
        if texts[0] != texts[1]:
            return texts
    return texts


def plural(number: int, one: str, many: str = "") -> str:
    """`1 statement`, `3 statements`, `12.3 k samples`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def clean(text: str) -> str:
    """`text` with its lines, without other control characters: nothing in it steers a terminal."""
    return "".join(ch if ch in "\n\t" or ch.isprintable() else " " for ch in text).strip()


def one_line(text: str, limit: int = 0) -> str:
    """Whitespace runs as one space, control characters gone, cut to `limit` characters with an ellipsis."""
    line = " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())
    return line if not limit or len(line) <= limit else line[: limit - 1].rstrip() + "…"
