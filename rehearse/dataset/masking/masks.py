"""Masks of plain values that make something new: a column of decoded text in, one of the same length out.

Every mask is a function of the key, the domain and the value alone, so that equal values stay equal. Nulls
stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rehearse.dataset.masking.prf import Prf, Words
from rehearse.dataset.masking.words import (
    RESERVED_DOMAINS,
    first_names,
    full_names,
    last_names,
    mailboxes,
)
from rehearse.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

Masker: TypeAlias = "Callable[[pl.Series], pl.Series]"

# above this share of distinct values, finding the distinct ones costs more than it saves
_MOSTLY_DISTINCT = 0.7
_LONGEST_UNIQUE_NAME = 40


@dataclass(frozen=True, slots=True)
class Shape:
    """What the column's type and constraints demand of whatever comes out.

    `length` is the most characters, `scale` decimals, `low` and `high` bounds that a CHECK or the type
    sets. `unique`: no two different values may meet. `fold`: case does not tell values apart.
    """

    length: int | None = None
    scale: int | None = None
    low: float | None = None
    high: float | None = None
    unique: bool = False
    fold: bool = False


class UnreadableError(DatasetError):
    """Values that a mask cannot read: it halts rather than let them through."""


def over_distinct(mask: Masker) -> Masker:
    """`mask` applied to each distinct value once, and nulls left alone."""

    def apply(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        if values.null_count() == len(values):
            return values
        if values.null_count() == 0 and values.n_unique() > _MOSTLY_DISTINCT * len(values):
            return mask(values)
        distinct = values.drop_nulls().unique()
        masked = mask(distinct)
        return values.replace_strict(distinct, masked, default=None, return_dtype=pl.String)

    return apply


def over_present(mask: Masker) -> Masker:
    """`mask` applied to all values that are not null: for masks that cost less than to find equal values."""

    def apply(values: pl.Series) -> pl.Series:
        present = values.is_not_null()
        if present.all():
            return mask(values)
        if not present.any():
            return values
        place = present.cum_sum() - 1
        return mask(values.filter(present)).gather(place.set(~present, None))

    return apply


def constant(value: str | None) -> Masker:
    """One value for all; None for NULL."""

    def apply(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        if value is None:
            return pl.Series(values.name, [None], dtype=pl.String).new_from_index(0, len(values))
        return pl.Series([value]).new_from_index(0, len(values)).set(values.is_null(), None)

    return apply


def names(key: bytes, shape: Shape, parts: str) -> Masker:
    """Made-up names; `parts` is `name`, `first_name` or `last_name`. Unique ones carry a number, in
    front where the end may have to be cut off.
    """

    pool = {"name": full_names, "first_name": first_names, "last_name": last_names}[parts]
    prf = Prf(key)

    def mask(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        words = prf.texts(_folded(values, shape))
        text = _picked(pool, words[:, 0])
        if shape.unique and shape.length is not None and shape.length < _LONGEST_UNIQUE_NAME:
            text = (
                pl.Series([f"{int(word) >> 12:013x}" for word in words[:, 1]], dtype=pl.String) + " " + text
            )
        elif shape.unique:
            text = text + " " + _numbers(words[:, 1], 12)
        return text if shape.length is None else text.str.slice(0, shape.length)

    return over_present(mask)


def emails(key: bytes, shape: Shape) -> Masker:
    """Addresses that reach nobody; 60 bits tell two of them apart, whether they have to be unique or not."""
    short = shape.length is not None and shape.length < 42
    prf = Prf(key)

    def mask(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        drawn = prf.texts(_folded(values, shape))[:, 0]
        if short:
            return pl.Series([f"{int(word):016x}"[:13] + "@" + RESERVED_DOMAINS[0] for word in drawn])
        who = _picked(mailboxes, drawn)
        number = pl.Series(drawn >> np.uint64(20)).cast(pl.String)
        joined = pl.concat_str(pl.lit(who), pl.lit(number), pl.lit("@" + RESERVED_DOMAINS[0]))
        return pl.select(joined).to_series()

    return over_present(mask)


def hashes(key: bytes, length: int) -> Masker:
    """`length` hexadecimal digits of a keyed hash, 64 at most."""
    halves = [Prf(key), Prf(blake2b(b"digits 33 to 64", key=key, digest_size=32).digest())]
    halves = halves[: 1 if length <= 32 else 2]

    def mask(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        raw = np.hstack([prf.texts(values) for prf in halves]).tobytes().hex()
        step = 32 * len(halves)
        return pl.Series([raw[start : start + length] for start in range(0, len(raw), step)], dtype=pl.String)

    return over_present(mask)


def uuids(key: bytes) -> Masker:
    """Random UUIDs by their version bits."""
    prf = Prf(key)

    def mask(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        raw = prf.texts(values.str.to_lowercase()).view(np.uint8).reshape(-1, 16)
        raw[:, 6] = raw[:, 6] & 0x0F | 0x40
        raw[:, 8] = raw[:, 8] & 0x3F | 0x80
        text = raw.tobytes().hex()
        return pl.Series([_dashed(text[start : start + 32]) for start in range(0, len(text), 32)])

    return over_present(mask)


def _folded(values: pl.Series, shape: Shape) -> pl.Series:
    return values.str.to_lowercase() if shape.fold else values


def _picked(words: Callable[[], tuple[str, ...]], drawn: Words) -> pl.Series:
    """One of the words, of which there are a power of two, for every number, by its lowest bits."""
    pool = _pool(words)
    return pool.gather((drawn & np.uint64(len(pool) - 1)).astype(np.uint32))


@cache
def _pool(words: Callable[[], tuple[str, ...]]) -> pl.Series:
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    return pl.Series(words(), dtype=pl.String)


def _numbers(drawn: Words, digits: int) -> pl.Series:
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    return pl.Series(drawn % np.uint64(10**digits)).cast(pl.String).str.zfill(digits)


def _dashed(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def partial_of(mask: Callable[[str], str]) -> Masker:
    """A mask of single values as one of columns."""
    return over_distinct(partial(_one_by_one, mask))


def _one_by_one(mask: Callable[[str], str], values: pl.Series) -> pl.Series:
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    return pl.Series([mask(value) for value in values.to_list()], dtype=pl.String)
