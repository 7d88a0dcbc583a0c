"""Random integers and hashes as pgbench's manual defines them, in bulk."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rehearse.workload.permutation import permuted

Integers: TypeAlias = NDArray[np.int64]
_MASK = 2**64 - 1
_LARGEST = 2**63 - 2**10  # of the doubles that fit into 64 bits


class DrawError(ValueError):
    """A distribution cannot be drawn from with these bounds or this parameter."""


def uniform(rng: np.random.Generator, low: int, high: int, count: int) -> Integers:
    """`count` integers from `low` to `high`, both possible, all equally likely."""
    _check_bounds(low, high)
    return rng.integers(low, high, size=count, endpoint=True, dtype=np.int64)


def exponential(rng: np.random.Generator, low: int, high: int, parameter: float, count: int) -> Integers:
    """An exponential distribution cut off at `parameter` and spread over the bounds."""
    _check_bounds(low, high)
    if not parameter > 0:
        raise DrawError(f"the parameter of random_exponential must be greater than 0, not {parameter:g}")
    kept = -math.expm1(-parameter)
    place = -np.log1p(-kept * rng.random(count)) / parameter
    return _spread(place, low, high)


def gaussian(rng: np.random.Generator, low: int, high: int, parameter: float, count: int) -> Integers:
    """A normal distribution cut off at plus and minus `parameter` and spread over the bounds."""
    _check_bounds(low, high)
    if not parameter >= 2:
        raise DrawError(f"the parameter of random_gaussian must be at least 2, not {parameter:g}")
    drawn = rng.standard_normal(count)
    while (outside := np.flatnonzero(np.abs(drawn) >= parameter)).size:
        drawn[outside] = rng.standard_normal(outside.size)
    return _spread((drawn + parameter) / (2 * parameter), low, high)


def zipfian(rng: np.random.Generator, low: int, high: int, parameter: float, count: int) -> Integers:
    """Value k (counted from 1 at `low`) in proportion to k ** -parameter.

    By rejection-inversion (Hoermann and Derflinger, 1996), which needs no table and few retries at any
    parameter.
    """
    _check_bounds(low, high)
    if not 1.001 <= parameter <= 1000:
        raise DrawError(f"the parameter of random_zipfian must be from 1.001 to 1000, not {parameter:g}")
    ranks = np.empty(count, dtype=np.int64)
    missing = np.arange(count)
    while missing.size:
        drawn, accepted = _zipf_attempt(rng.random(missing.size), high - low + 1, parameter)
        ranks[missing[accepted]] = drawn[accepted]
        missing = missing[~accepted]
    return ranks - 1 + low


def _zipf_attempt(
    chance: NDArray[np.float64], size: int, parameter: float
) -> tuple[Integers, NDArray[np.bool_]]:
    """Ranks for uniform numbers in [0, 1), and which of them are to be kept."""
    power = 1.0 - parameter

    def area(x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The integral of x ** -parameter from 1."""
        return np.expm1(power * np.log(x)) / power

    first = area(np.array([1.5]))[0] - 1.0
    last = area(np.array([size + 0.5]))[0]
    drawn = last + chance * (first - last)
    x = np.exp(np.log1p(np.maximum(drawn * power, np.nextafter(-1, 0))) / power)
    rank = np.clip(np.floor(x + 0.5), 1, min(size, _LARGEST))
    accepted = drawn >= area(rank + 0.5) - np.exp(-parameter * np.log(rank))
    return rank.astype(np.int64), accepted


def hash_murmur2(value: int, seed: int) -> int:
    """MurmurHash64A of the eight bytes of `value`."""
    factor, shift = 0xC6A4A7935BD1E995, 47
    key = value * factor & _MASK
    key = (key ^ key >> shift) * factor & _MASK
    state = ((seed ^ 8 * factor) & _MASK ^ key) * factor & _MASK
    state = (state ^ state >> shift) * factor & _MASK
    return _signed(state ^ state >> shift)


def hash_fnv1a(value: int, seed: int) -> int:
    """FNV-1a of the eight bytes of `value`, lowest first."""
    state = (0xCBF29CE484222325 ^ seed) & _MASK
    for octet in (value & _MASK).to_bytes(8, "little"):
        state = (state ^ octet) * 0x100000001B3 & _MASK
    return _signed(state)


def permute(value: int, size: int, seed: int) -> int:
    """Where `value` (modulo `size`) goes in a pseudo-random permutation of 0 .. size - 1."""
    if size <= 0:
        raise DrawError(f"the size for permute must be greater than 0, not {size}")
    return permuted(value, size, seed)


def _spread(place: NDArray[np.float64], low: int, high: int) -> Integers:
    """Numbers in [0, 1) to integers from `low` to `high`; the last rounding may touch the edge."""
    size = high - low + 1
    return np.minimum(np.minimum(place * size, _LARGEST).astype(np.int64), size - 1) + low


def _check_bounds(low: int, high: int) -> None:
    if low > high:
        raise DrawError(f"the range from {low} to {high} is empty")
    if high - low >= 2**63 - 1:
        raise DrawError(f"the range from {low} to {high} is too large")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
