"""Made-up texts, documents and bytes by number: all different, in order, and as long as production's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, fractions, key_of
from rehearse.dataset.profile.ties import reordered
from rehearse.dataset.vocabulary import pool

Lengths: TypeAlias = NDArray[np.int64]

_POOL_BYTES = 4 << 20
_FEWEST, _MOST = 16, 4096  # texts in a pool of fillers
_SHORT_BYTES = 127  # up to here, the length of a value takes one byte


@dataclass(frozen=True)
class Words:
    """`size` texts of a vocabulary that rise with their number, whose lengths have these quantiles.

    Every text carries its number, so they differ; one too short for it is the number alone.
    """

    kind: str
    size: int
    lengths: tuple[int, ...]
    least: int = 0
    most: int | None = None
    fold: str = ""

    def at(self, index: Rows) -> pl.Series:
        """The texts of these numbers."""
        heads, joint, tails = _parts(self.kind, self.fold)
        digits = len(str(max(1, self.size - 1)))
        wanted = self._lengths(index, digits)
        chosen = np.minimum(index * np.uint64(len(heads)) // np.uint64(max(1, self.size)), len(heads) - 1)
        frame = pl.DataFrame(
            {
                "head": heads.gather(chosen),
                "number": pl.Series(index).cast(pl.String).str.zfill(digits),
                "tail": tails.gather(chosen),
                "wanted": wanted,
                "filler": _chosen(_letters(max(self.lengths, default=0)), index),
            }
        )
        return frame.select(_fitted(digits, joint)).to_series()

    def of_length(self, number: int, length: int) -> str:
        """One text of that length, as far as its number has room in it."""
        text: str = replace(self, lengths=(length,)).at(np.array([number], dtype=np.uint64))[0]
        return text

    def _lengths(self, index: Rows, digits: int) -> Lengths:
        wanted = lengths_at(self.lengths, index)
        least, most = max(digits, self.least), self.most
        clipped: Lengths = (
            np.maximum(wanted, least) if most is None else np.clip(wanted, least, max(least, most))
        )
        return clipped


def _fitted(digits: int, joint: str) -> pl.Expr:
    """As much of head and tail as there is room for round the number; prose where there is more."""
    wanted, head, tail = pl.col("wanted"), pl.col("head"), pl.col("tail")
    tail = pl.when(wanted >= digits + tail.str.len_chars() + 3).then(tail).otherwise(pl.lit(""))
    room = (wanted - digits - tail.str.len_chars()).clip(lower_bound=0)
    joined = (
        pl.when(head.str.len_chars() + len(joint) <= room).then(head + joint).otherwise(head.str.head(room))
    )
    missing = (room - joined.str.len_chars()).clip(lower_bound=0)
    return pl.concat_str([joined, pl.col("filler").str.head(missing), pl.col("number"), tail])


@dataclass(frozen=True)
class Spread:
    """One of `words` for each of `rows` rows, all over the alphabet, whose order goes with that of the rows
    as `correlation` says; more rows than that get those in between.
    """

    words: Words
    rows: int
    correlation: float

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.rows * self._each

    @property
    def _each(self) -> int:
        return max(1, self.words.size // max(1, self.rows))

    def at(self, index: Rows) -> pl.Series:
        """The texts of these rows."""
        rows = np.uint64(self.rows)
        row = index % rows
        if self.correlation != 1:
            row = reordered(row, self.rows, self.correlation)
        return self.words.at(row * np.uint64(self._each) + index // rows % np.uint64(self._each))


@dataclass(frozen=True)
class Documents:
    """`size` values of jsonb, json or bytea (`form`), of `width` bytes each as the server stores them."""

    form: str
    size: int
    width: int

    def at(self, index: Rows) -> pl.Series:
        """The values of these numbers."""
        digits = 16 if self.form == "bytea" else len(str(max(1, self.size - 1)))
        header = 1 if self.width <= _SHORT_BYTES else 4
        if self.form == "bytea":
            number = pl.Series([f"{n:016x}" for n in index.tolist()], dtype=pl.String)
            return _around("\\x", self._noise(index, 2 * (self.width - header) - digits), number, "")
        number = pl.Series(index).cast(pl.String).str.zfill(digits)
        # jsonb: the container's header, one entry each for key and value, the key; json is text
        frame = 12 if self.form == "json" else 16
        return _around('{"data": "', self._noise(index, self.width - header - frame - digits), number, '"}')

    def _noise(self, index: Rows, length: int) -> pl.Series:
        """Hexadecimal digits that compression makes little of."""
        return _chosen(_digits(max(0, length)), index)


def _around(before: str, first: pl.Series, second: pl.Series, after: str) -> pl.Series:
    if not len(first):
        return pl.Series([], dtype=pl.String)
    parts = [pl.lit(before), pl.lit(first), pl.lit(second), pl.lit(after)]
    return pl.select(pl.concat_str(parts)).to_series()


def lengths_at(quantiles: tuple[int, ...], index: Rows) -> Lengths:
    """A length for each number, drawn between the quantiles."""
    if len(quantiles) < 2:
        return np.full(len(index), quantiles[0] if quantiles else 12, dtype=np.int64)
    places = fractions(index, key_of("length")) * (len(quantiles) - 1)
    drawn: Lengths = np.rint(np.interp(places, np.arange(len(quantiles)), quantiles)).astype(np.int64)
    return drawn


@lru_cache(maxsize=64)
def _parts(kind: str, fold: str) -> tuple[pl.Series, str, pl.Series]:
    """Heads in alphabetical order, however a server sorts them: by their letters alone."""
    drawn = pool(kind)
    pairs = sorted(
        zip(drawn.heads, drawn.tails, strict=True),
        key=lambda pair: ("".join(filter(str.isalnum, pair[0])).casefold(), pair),
    )
    folded = {"lower": str.lower, "upper": str.upper}.get(fold, str)
    heads = pl.Series([folded(head) for head, _ in pairs], dtype=pl.String)
    return heads, drawn.joint, pl.Series([folded(tail) for _, tail in pairs], dtype=pl.String)


def _chosen(pool: pl.Series, index: Rows) -> pl.Series:
    return pool.gather((fractions(index, key_of("filler")) * len(pool)).astype(np.uint32))


@lru_cache(maxsize=64)
def _letters(length: int) -> pl.Series:
    """Texts of that length to fill up with; no quotes, no line ends."""
    return _pool("abcdefghijklmnop qrstuvw", length)


@lru_cache(maxsize=64)
def _digits(length: int) -> pl.Series:
    return _pool("0123456789abcdef", length)


def _pool(alphabet: str, length: int) -> pl.Series:
    count = max(_FEWEST, min(_MOST, _POOL_BYTES // max(1, length)))
    drawn = fractions(np.arange(count * length, dtype=np.uint64), key_of("filler", alphabet))
    letters = np.frombuffer(alphabet.encode(), dtype=np.uint8)[(drawn * len(alphabet)).astype(np.intp)]
    text = letters.tobytes().decode()
    return pl.Series([text[n * length : (n + 1) * length] for n in range(count)], dtype=pl.String)
