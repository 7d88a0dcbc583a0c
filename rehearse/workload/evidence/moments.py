"""Timestamps as the server's log writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

# Hours east of Greenwich. A zone that is not here is taken as UTC: only differences of times matter.
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "WET", "Z"), 0),
    **dict.fromkeys(("CET", "BST", "WEST", "WAT"), 1),
    **dict.fromkeys(("CEST", "EET", "SAST", "CAT"), 2),
    **dict.fromkeys(("EEST", "MSK", "EAT"), 3),
    **dict.fromkeys(("JST", "KST"), 9),
    **dict.fromkeys(("EST", "CDT"), -5),
    **dict.fromkeys(("CST", "MDT"), -6),
    **dict.fromkeys(("MST", "PDT"), -7),
    "IST": 5.5,
    "EDT": -4,
    "PST": -8,
    "BRT": -3,
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
}


def moment_ns(text: str) -> int:
    """Nanoseconds since the epoch of `2026-03-01 12:00:00.123 CET`, milliseconds optional.

    Raises ValueError.
    """
    seconds, zone = text[:19], text[19:]
    fraction = 0
    if zone.startswith("."):
        digits, _, zone = zone[1:].partition(" ")
        fraction = int(digits.ljust(9, "0")[:9])
    return _second_ns(seconds) + fraction - _offset_ns(zone.strip())


@lru_cache(maxsize=64)
def _second_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


@lru_cache(maxsize=64)
def _offset_ns(zone: str) -> int:
    if zone[:1] in {"+", "-"}:
        hours, _, minutes = zone[1:].partition(":")
        size = int(hours) * 3600 + int(minutes or 0) * 60
        return (size if zone[0] == "+" else -size) * 1_000_000_000
    return int(_ZONES.get(zone, 0) * 3600) * 1_000_000_000
