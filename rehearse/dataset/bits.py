"""Randomness as a pure function of (key, row number): any row can be asked for at any time, in any order.

That is what makes one seed give the same data whatever the size of the chunks and the number of streams.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(n) for n in (30, 27, 31, 11))


def key_of(*parts: object) -> int:
    """A 64-bit key out of names and numbers; the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def mix(rows: Rows, key: int) -> Rows:
    """64 random bits a row: the output function of splitmix64 (Steele, Lea and Flood 2014), a bijection."""
    z = rows * _GOLDEN
    z += np.uint64(key)
    z ^= z >> _S30
    z *= _FIRST
    z ^= z >> _S27
    z *= _SECOND
    z ^= z >> _S31
    return z


def fractions(rows: Rows, key: int) -> NDArray[np.float64]:
    """Uniform in [0, 1), 53 bits of them."""
    result: NDArray[np.float64] = (mix(rows, key) >> _S11).astype(np.float64)
    result *= 2.0**-53
    return result


def below(rows: Rows, key: int, size: int, *, skewed: bool = False) -> Rows:
    """A number in [0, size) for each row; skewed: the low ones up to twice as often as the average."""
    if size >= 1 << 53:
        return mix(rows, key) % np.uint64(size)
    drawn = fractions(rows, key)
    if skewed:
        drawn *= 0.5 + 0.5 * drawn
    drawn *= size
    return np.minimum(drawn.astype(np.uint64), np.uint64(size - 1))


def row_numbers(start: int, stop: int) -> Rows:
    """The row numbers start, start + 1, ... stop - 1."""
    return np.arange(start, stop, dtype=np.uint64)
