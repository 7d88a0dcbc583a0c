"""Words that nobody is called: names and prose made of syllables, so that a masked value can never be a
real one by chance, and is seen at a glance to be masked.
"""

from __future__ import annotations

from functools import cache
from itertools import product

RESERVED_DOMAINS = ("example.com", "example.org", "example.net")

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "kr")
_NUCLEI = ("a", "e", "i", "o", "u", "ai", "eo", "ua")
_CODAS = ("n", "r", "l", "x", "sk", "nd", "rv", "lt")
_ENDINGS = ("ax", "oz", "ux", "iq", "ev", "ozk", "uvi", "ael")


@cache
def first_names() -> tuple[str, ...]:
    """1024 made-up given names."""
    return tuple(f"{a}{b}{c}".title() for a, b, c in product(_ONSETS, _NUCLEI, _ENDINGS))


@cache
def last_names() -> tuple[str, ...]:
    """8192 made-up family names."""
    halves = product(_ONSETS[:8], _NUCLEI[:4], _CODAS, _ONSETS[8:], ("ov", "uk", "ez", "ix"))
    return tuple(f"{a}{b}{c}{d}{e}".title() for a, b, c, d, e in halves)


@cache
def full_names() -> tuple[str, ...]:
    """2**16 full names."""
    families = last_names()
    return tuple(f"{given} {family}" for given in first_names() for family in families[::128])


@cache
def mailboxes() -> tuple[str, ...]:
    """2**16 names of mailboxes."""
    families = last_names()
    return tuple(f"{given}.{family}".lower() for given in first_names()[::4] for family in families[::32])
