"""Numbers in the units of a scale, as people read them: 2.9 s, 1.2 GiB. One spelling wherever shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

Scale: TypeAlias = Sequence[tuple[float, str]]
"""Units with their sizes, the largest first."""

BYTES: Scale = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def size(value: float, digits: int = 2) -> str:
    """Bytes, `value` >= 0, in powers of 1024: `1.2 GiB`, `512 B`."""
    return scaled(value, BYTES, digits)


def scaled(value: float, scale: Scale, digits: int) -> str:
    """`value` >= 0 in the largest unit in which it is at least 1 after rounding; 0 and less than that in the
    smallest.
    """
    if value > 0:
        for unit_size, unit in scale:
            rounded = round_to(value / unit_size, digits)
            if rounded >= 1:
                return f"{plain(rounded)} {unit}".rstrip()
    unit_size, unit = scale[-1]
    return f"{plain(round_to(value / unit_size, digits)) if value else '0'} {unit}".rstrip()


def round_to(value: float, digits: int) -> float:
    """`value` > 0 to `digits` significant digits, but never coarser than to a whole number."""
    places = digits - 1 - math.floor(math.log10(value))
    return round(value, max(places, 0))


def plain(value: float) -> str:
    """A number without exponent and without zeros at its end."""
    text = f"{value:.12f}".rstrip("0").rstrip(".")
    return text or "0"
