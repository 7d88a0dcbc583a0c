"""pgbench's `permute`: the same place for every value, size and seed as in PostgreSQL 15 and later.

Each of six rounds scrambles the lowest and then the highest power of two of the range, as large as fits into
it, by steps that can be undone (an odd factor, an exclusive or, a rotation), and shifts the whole range. What
a round does is drawn from the seed alone. Version 14 draws it by another generator, and has other values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_MASK = 2**64 - 1
_ROUNDS = 6
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class _Round:
    low_factor: int
    low_flips: int
    high_factor: int
    high_flips: int
    shift: int


def permuted(value: int, size: int, seed: int) -> int:
    """Where `value`, a 64-bit integer taken modulo `size` (above 0), goes among 0 .. size - 1."""
    if size == 1:
        return 0
    bits = size.bit_length() - 1
    mask = (1 << bits) - 1
    place = (value & _MASK) % size
    for one in _rounds(size, seed):
        if place <= mask:
            place = _scrambled(place, one.low_factor, one.low_flips, bits)
        from_the_top = size - 1 - place
        if from_the_top <= mask:
            place = size - 1 - _scrambled(from_the_top, one.high_factor, one.high_flips, bits)
        place = (place + one.shift) % size
    return place


def _scrambled(place: int, factor: int, flips: int, bits: int) -> int:
    """Another of the integers of `bits` bits, for each of them a different one."""
    mask = (1 << bits) - 1
    mixed = (place * factor ^ flips) & mask
    return mixed << 1 & mask | mixed >> bits - 1


@lru_cache(maxsize=_REMEMBERED)
def _rounds(size: int, seed: int) -> tuple[_Round, ...]:
    draws = _xoroshiro(seed)
    mask = (1 << size.bit_length() - 1) - 1
    unused = 64 - (size - 1).bit_length()

    def drawn() -> _Round:
        low_factor, low_flips = next(draws) & mask | 1, next(draws) & mask
        high_factor, high_flips = next(draws) & mask | 1, next(draws) & mask
        shift = next(draw for word in draws if (draw := word >> unused) < size)
        return _Round(low_factor, low_flips, high_factor, high_flips, shift)

    return tuple(drawn() for _ in range(_ROUNDS))


def _xoroshiro(seed: int) -> Iterator[int]:
    """Blackman and Vigna's xoroshiro128**, its state filled by splitmix64."""
    first, second = _splitmix(seed, 1), _splitmix(seed, 2)
    while True:
        yield _rotated(first * 5 & _MASK, 7) * 9 & _MASK
        second ^= first
        first = _rotated(first, 24) ^ second ^ second << 16 & _MASK
        second = _rotated(second, 37)


def _splitmix(seed: int, count: int) -> int:
    """The `count`-th number that splitmix64 draws."""
    word = seed + count * 0x9E3779B97F4A7C15 & _MASK
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
    return word ^ word >> 31


def _rotated(word: int, places: int) -> int:
    return (word << places | word >> 64 - places) & _MASK
