"""Keyed, deterministic randomness for whole columns, without a call a value.

Every domain has a 256-bit key that BLAKE2b derives from the master key. Under it AES-256, which processors
compute at gigabytes a second, is the pseudorandom function that everything else is made of:

- texts: CBC-MAC with the length in the first block, which is a pseudorandom function of texts of any
  length (Bellare, Kilian and Rogaway), computed for all texts at once, block by block;
- integers: a Feistel network with AES as its round function, as in format-preserving encryption (FF1). It
  is a permutation, so that no two keys ever meet;
- strings of random bytes: counter mode.

What comes out is as good as random to whoever has not the key, however many values and their masks he knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from math import isqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rehearse.errors import InputError
from rehearse.model.target import Secret

if TYPE_CHECKING:
    import polars as pl

Words: TypeAlias = npt.NDArray[np.uint64]
Word: TypeAlias = "Words | np.uint64"
Bytes: TypeAlias = npt.NDArray[np.uint8]

MIN_KEY_BYTES = 16
KEY_VARIABLE = "REHEARSE_MASK_KEY"
_ROUNDS = 10  # as NIST SP 800-38G has for FF1
_BLOCK = 16
_MOST_IMAGES = 1_000_000  # 4 MB a domain: keys of up to six digits


class MaskKey:
    """The master key. It never prints; every domain has a key of its own, derived from it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: Secret) -> None:
        """InputError if it is too short to be a key."""
        if len(secret.reveal().encode()) < MIN_KEY_BYTES:
            raise InputError(
                f"the masking key is shorter than {MIN_KEY_BYTES} bytes",
                "make one: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        self._secret = secret

    def derive(self, domain: str) -> bytes:
        """The 32-byte key of a domain."""
        master = blake2b(self._secret.reveal().encode(), person=b"rehearse-mask").digest()
        return blake2b(domain.encode(), key=master, digest_size=32).digest()

    def __repr__(self) -> str:
        return "MaskKey('***')"


def digests(key: bytes, values: Iterable[str], size: int = 16) -> Words:
    """BLAKE2b of every value as `size // 8` words a row: shape (n, size // 8). For a handful of values."""
    start = blake2b(key=key, digest_size=size)
    copy = start.copy
    parts = []
    for value in values:
        state = copy()
        state.update(value.encode())
        parts.append(state.digest())
    return np.frombuffer(b"".join(parts), dtype="<u8").reshape(-1, size // 8)


@lru_cache(maxsize=32)
def shared(key: bytes) -> Prf:
    """The function under a key, one for all the columns of a domain."""
    return Prf(key)


class Prf:
    """AES-256 under one key, on words, two a block."""

    __slots__ = ("_asked", "_encryptor", "_images")

    def __init__(self, key: bytes) -> None:
        # not a mode of encryption here: the bare block cipher, of which CBC-MAC and Feistel are made below
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - as just said
        self._encryptor = cipher.encryptor()
        self._asked: Counter[int] = Counter()
        self._images: dict[int, npt.NDArray[np.uint32]] = {}

    def blocks(self, blocks: Words) -> Words:
        """Every row of two words enciphered: shape (n, 2)."""
        flat = np.ascontiguousarray(blocks).reshape(-1)
        room = np.empty(len(flat) + 2, dtype=np.uint64)  # the cipher wants a block more than it writes
        self._encryptor.update_into(flat.view(np.uint8).data, room.view(np.uint8).data)
        return room[: len(flat)].reshape(-1, 2)

    def numbers(self, values: Words) -> Words:
        """A pseudorandom word for every word."""
        blocks = np.zeros((len(values), 2), dtype=np.uint64)
        blocks[:, 0] = values
        return self.blocks(blocks)[:, 0]

    def texts(self, values: pl.Series) -> Words:
        """Two pseudorandom words for every text: shape (n, 2). A NULL counts as an empty text."""
        lengths = values.str.len_bytes().fill_null(0).to_numpy().astype(np.int64)
        data = (values.str.join("").item() or "").encode() + bytes(_BLOCK)
        # the eight bytes that begin at each place of the text, as words
        at = np.ndarray(len(data) - 7, dtype="<u8", buffer=data, strides=(1,))
        starts = np.cumsum(lengths) - lengths
        blocks = np.empty((len(values), 2), dtype=np.uint64)
        blocks[:, 0] = lengths
        blocks[:, 1] = at[starts] & _KEPT[np.minimum(lengths, 8)]
        result = self.blocks(blocks)
        done = 8
        longer = np.nonzero(lengths > done)[0]
        while len(longer):
            left, here = lengths[longer] - done, starts[longer] + done
            state = result[longer] if len(longer) < len(result) else result
            state[:, 0] ^= at[here] & _KEPT[np.minimum(left, 8)]
            state[:, 1] ^= at[here + 8] & _KEPT[np.clip(left - 8, 0, 8)]
            if state is result:
                result = self.blocks(state)
            else:
                result[longer] = self.blocks(state)
            done += _BLOCK
            longer = longer[left > _BLOCK]
        return result

    def stream(self, seeds: Words, lengths: npt.NDArray[np.int64]) -> Bytes:
        """`lengths[i]` pseudorandom bytes from every seed, one after the other."""
        counts = -(-lengths // _BLOCK)
        firsts = np.cumsum(counts) - counts
        blocks = np.empty((int(counts.sum()), 2), dtype=np.uint64)
        blocks[:, 0] = np.repeat(seeds, counts)
        blocks[:, 1] = np.arange(len(blocks)) - np.repeat(firsts, counts)
        drawn = self.blocks(blocks).reshape(-1).view(np.uint8)
        starts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(firsts * _BLOCK - starts, lengths)
        result: Bytes = drawn[places]
        return result

    def permuted(self, values: Words, sizes: Words) -> Words:
        """A permutation of 0 .. size-1 applied to every value, which is below its size."""
        sides = np.sqrt(sizes.astype(np.float64)).astype(np.uint64) + np.uint64(1)
        result = values.astype(np.uint64, copy=True)
        waiting = np.nonzero(sizes > 1)[0]
        while len(waiting):
            of = sizes[waiting]
            walked = self._network(result[waiting], sides[waiting], of)
            result[waiting] = walked
            waiting = waiting[walked >= of]
        return result

    def permuted_below(self, size: int, values: Words) -> Words:
        """As `permuted`, for values of one size. Where so many are asked for that each would be computed more
        than once, all are, and looked up from then on.
        """
        if size < 2:
            return values
        if size not in self._images:
            before = self._asked[size]
            self._asked[size] += len(values)
            if size > _MOST_IMAGES or before < size:  # unique keys never need them
                return self._walked_below(size, values)
            every = np.arange(size, dtype=np.uint64)
            self._images[size] = self._walked_below(size, every).astype(np.uint32)
        return self._images[size][values.view(np.int64)].astype(np.uint64)

    def _walked_below(self, size: int, values: Words) -> Words:
        of, side = np.uint64(size), np.uint64(isqrt(size) + 1)
        result = self._network(values, side, of)
        waiting = np.nonzero(result >= of)[0]
        while len(waiting):
            walked = self._network(result[waiting], side, of)
            result[waiting] = walked
            waiting = waiting[walked >= of]
        return result

    def _network(self, values: Words, side: Word, sizes: Word) -> Words:
        """A Feistel network on a rectangle that is hardly larger than the size (Black and Rogaway), so that
        few values fall outside; those go through again (cycle walking), which keeps it a permutation.
        """
        other = (sizes - np.uint64(1)) // side + np.uint64(1)
        left, right = np.divmod(values, side)
        blocks = np.empty((len(values), 2), dtype=np.uint64)
        blocks[:, 1] = sizes
        for number in range(_ROUNDS):
            given, taking, within = (left, right, side) if number % 2 else (right, left, other)
            # either has 32 bits at most
            np.bitwise_or(given, np.uint64((number + 1) << 32), out=blocks[:, 0])
            drawn = self.blocks(blocks)[:, 0]
            taking += drawn - drawn // within * within  # numpy divides by one number faster than it takes %
            np.minimum(taking, taking - within, out=taking)  # less than nothing is a very large number
        return left * side + right


# which of a word's bytes belong to a text of which so many are left
_KEPT = np.array([(1 << 8 * left) - 1 for left in range(9)], dtype=np.uint64)
