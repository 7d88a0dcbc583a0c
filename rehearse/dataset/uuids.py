"""UUIDs that can be counted, and their texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, mix


@dataclass(frozen=True)
class Uuids:
    """Random-looking UUIDs of version 4: the index, scrambled by a bijection, in their last 62 bits."""

    key: int

    @property
    def size(self) -> int:
        """How many values there are."""
        return 1 << 62

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        high = mix(index, self.key)
        mask = np.uint64((1 << 62) - 1)
        low = (index + np.uint64(self.key >> 3)) * np.uint64(0x9E3779B97F4A7C15) & mask
        low ^= low >> np.uint64(31)
        low = low * np.uint64(0xBF58476D1CE4E5B9) & mask
        low ^= low >> np.uint64(29)
        high = high & np.uint64(0xFFFFFFFFFFFF0FFF) | np.uint64(0x4000)
        low |= np.uint64(1 << 63)
        return _hyphenated(high, low)


@cache
def _hexadecimal() -> NDArray[np.uint32]:
    """The four hexadecimal digits of every 16-bit number, as the bytes of a 32-bit one."""
    digits = np.array([list(f"{n:04x}".encode()) for n in range(1 << 16)], dtype=np.uint8)
    table: NDArray[np.uint32] = digits.view(np.uint32).ravel()
    return table


def _hyphenated(high: Rows, low: Rows) -> pl.Series:
    """UUIDs of two halves, written into one buffer of lines that polars then cuts up: the quickest way
    there is from numbers to so many short texts.
    """
    if not len(high):
        return pl.Series([], dtype=pl.String)
    lines = np.empty((len(high), 37), dtype=np.uint8)
    lines[:, [8, 13, 18, 23]] = ord("-")
    lines[:, 36] = ord("\n")
    for half, places in ((high, (0, 4, 9, 14)), (low, (19, 24, 28, 32))):
        for shift, place in zip((48, 32, 16, 0), places, strict=True):
            words = _hexadecimal()[(half >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.intp)]
            lines[:, place : place + 4] = words.view(np.uint8).reshape(len(high), 4)
    read = pl.read_csv(lines.tobytes(), has_header=False, schema={"uuid": pl.String}, quote_char=None)
    return read.to_series()
