"""Numbers and names as the judge's sentences say them."""

from __future__ import annotations

from collections.abc import Sequence

from rehearse.model import scales
from rehearse.model.migration import Statement


def seconds(value: float) -> str:
    """`850 ms`, `3.4 s`, `38 min`, `5.2 h`: a length of time in the unit a person would use."""
    if value < 0.001:
        return f"{value * 1e6:.0f} µs" if value > 0 else "0 s"
    if value < 1:
        return f"{value * 1000:.3g} ms" if value < 0.9995 else "1 s"
    if value < 120:
        return f"{value:.3g} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    if value < 172_800:
        return f"{value / 3600:.1f} h"
    return f"{value / 86_400:.1f} days"


def nanoseconds(value: int) -> str:
    """`seconds` of an integer on the record's clock."""
    return seconds(value / 1e9)


def size(value: float) -> str:
    """Bytes in powers of 1024, as everywhere in a report: `127 MiB`."""
    return scales.size(value, 3)


def count(number: float, noun: str) -> str:
    """`1 row`, `2,000,000 rows`."""
    return f"{number:,.0f} {noun}{'' if round(number) == 1 else 's'}"


def about_rows(number: float) -> str:
    """A row count that was computed, to two digits: `about 310,000 rows`."""
    if number < 1:
        return "hardly any rows"
    digits = max(0, len(str(int(number))) - 2)
    return f"about {round(number / 10**digits) * 10**digits:,.0f} rows"


def factor(value: float) -> str:
    """A ratio, without false precision: `2.5`, `667`, `12,000`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def listed(words: Sequence[str], most: int = 5) -> str:
    """`a`, `a and b`, `a, b and c`, and `a, b, c and 7 more` where there are many."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def place(statement: Statement) -> str:
    """Where a statement stands and what it is: `up.sql:14 (ALTER TABLE)`; `alembic upgrade head, after its 13
    statements,` where it is the tool's command itself.
    """
    if statement.is_command:
        return f"{statement.file}, {statement.whereabouts},"
    return f"{statement.file}:{statement.line} ({statement.command})"


def excerpt(text: str, length: int = 120) -> str:
    """SQL on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
