"""Counts and durations as people write them: `2M`, `1.5k`, `500ms`. Pure; what is wrong is a RefusedError."""

from __future__ import annotations

import re
from decimal import Decimal

COUNT_PATTERN = r"^[0-9][0-9_]*(\.[0-9]+)?\s*[kKmMbBgG]?$"
DURATION_PATTERN = r"^-?[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|min|h)$"
SHARE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*%$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*[kKmMgGtT](i?[bB])?$"

_COUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kKmMbBgG]?)")
_DURATION = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*(us|µs|ms|s|min|m|h)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT])(?:i?[bB])?")
_PER_CENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_POWERS = ("", "k", "m", "g", "t")
_MULTIPLE = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}
_SECONDS = {
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
}
_LARGEST_COUNT = 10**15
_DAY_S = 86_400


class RefusedError(ValueError):
    """Why a value cannot be used, to be said after the name of its key; `mend` as in `RehearseError`."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


def parse_count(value: object) -> int:
    """Rows: a whole number, or text with k, M or B (thousand, million, US billion) after it.

    Raises RefusedError for anything that is not a whole number from 0 to 10**15.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RefusedError('must be a whole number or text such as "2M"')
    if isinstance(value, int):
        return _in_range(value)
    match = _COUNT.fullmatch(value.strip())
    if match is None:
        raise RefusedError(f'must be a count such as 5000, "200k", "2M" or "1.5B", not "{value}"')
    number = Decimal(match[1].replace("_", "")) * _MULTIPLE[match[2].lower()]
    if number != number.to_integral_value():
        raise RefusedError(f'must be a whole number of rows, not "{value}"')
    return _in_range(int(number))


def _in_range(count: int) -> int:
    if not 0 <= count <= _LARGEST_COUNT:
        raise RefusedError(f"must be between 0 and 10^15, not {count}")
    return count


def parse_duration(value: object) -> float:
    """Seconds, from text with its unit: `6s`, `500ms`, `2m`, `1h`, `-1s`. Raises RefusedError, also beyond a
    day: nobody waits that long for a rehearsal, so that it is a slip.
    """
    if not isinstance(value, str):
        raise RefusedError(f'must be text with a unit, such as "6s" or "500ms", not {_shown(value)}')
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise RefusedError(f'must be a duration such as "6s", "500ms" or "2m", not "{value}"')
    seconds = float(Decimal(match[1]) * _SECONDS[match[2]])
    if abs(seconds) > _DAY_S:
        raise RefusedError(f'must be at most a day ("24h"), not "{value}"')
    return seconds


def parse_share(value: object) -> float:
    """A part of a whole, from 0 to 1: `"20%"` or `0.2`. Raises RefusedError."""
    match = _PER_CENT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = float(match[1]) / 100 if match else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        shown = f'"{value}"' if isinstance(value, str) else _shown(value)
        raise RefusedError(f'must be a share such as "20%" or 0.2, not {shown}')
    return float(number)


def parse_size(value: object) -> int:
    """Bytes, from text with its unit, a power of 1024 as PostgreSQL and container engines mean it.

    `256MB`, `1GiB`, `512m`. Raises RefusedError.
    """
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        shown = f'"{value}"' if isinstance(value, str) else _shown(value)
        raise RefusedError(f'must be a size with its unit, such as "256MB" or "1GiB", not {shown}')
    return int(Decimal(match[1]) * 1024 ** _POWERS.index(match[2].lower()))


def _shown(value: object) -> str:
    return str(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
