"""The masks of numbers: keys permuted, amounts varied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rehearse.dataset.masking.masks import Masker, Shape, UnreadableError
from rehearse.dataset.masking.prf import Prf, digests, shared

if TYPE_CHECKING:
    import polars as pl

_INT8_MAX = (1 << 63) - 1


def keys(key: bytes, maximum: int, stride: int = 0) -> Masker:
    """Integers permuted among those with as many digits that fit; `stride` is added for a further copy.

    Texts come out as texts, numbers as numbers. 0 stays in the first copy, and a sign stays. The scale of a
    decimal is ignored: 12.50 is 1250 of them.
    """
    prf = shared(key)

    def apply(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        numbers = values.cast(pl.Int64, strict=False)
        if numbers.null_count() > values.null_count():
            raise UnreadableError("keys that are no 64-bit integers")
        present = numbers.fill_null(0).to_numpy()
        masked = permuted_integers(present, prf, maximum)
        if stride:
            masked += np.where(present < 0, -stride, stride)
        result = pl.Series(masked)
        if numbers.null_count():
            result = result.set(numbers.is_null(), None)
        return result if values.dtype == pl.Int64 else result.cast(pl.String)

    return apply


def decimal_keys(key: bytes, scale: int, maximum: int, stride: int = 0) -> Masker:
    """`keys` for a decimal type with that many digits after the point."""
    whole = keys(key, maximum, stride)

    def apply(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        masked = whole(values.str.replace(".", "", literal=True))
        digits = masked.str.strip_prefix("-").str.zfill(scale + 1)
        sign = pl.select(
            pl.when(masked.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
        ).to_series()
        return sign + digits.str.head(-scale) + "." + digits.str.tail(scale)

    return apply if scale else whole


def permuted_integers(values: npt.NDArray[np.int64], prf: Prf, maximum: int) -> npt.NDArray[np.int64]:
    """Each value's image among the integers of its sign, its number of digits and its side of `maximum`."""
    size = np.abs(values).view(np.uint64)
    if size.max(initial=0) > _INT8_MAX:
        raise UnreadableError("the least of all integers, which has no counterpart")
    least, most = int(size.min(initial=_INT8_MAX)), int(size.max(initial=0))
    moved = size.copy()
    for low, high in _ranges(most, maximum):
        first = np.uint64(low)
        if low <= least and most <= high:
            moved = first + prf.permuted_below(high - low + 1, size - first)
        elif least <= high:
            here = np.nonzero((size >= low) & (size <= high))[0]
            moved[here] = first + prf.permuted_below(high - low + 1, size[here] - first)
    return np.sign(values) * moved.view(np.int64)


def _ranges(largest: int, maximum: int) -> Iterator[tuple[int, int]]:
    """The first and the last of the numbers that are permuted among each other, up to `largest`."""
    for digits in range(1, len(str(largest)) + 1):
        low, high = 10 ** (digits - 1), min(10**digits - 1, _INT8_MAX)
        if low <= maximum < high:
            yield low, maximum
            low = maximum + 1
        yield low, high


def numbers(key: bytes, within: float, shape: Shape, *, whole: bool) -> Masker:
    """Times a factor of 1 +- `within` that depends on the value; decimals as many as there were."""
    prf = Prf(key)

    def apply(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        bare = values
        parsed = bare.cast(pl.Float64, strict=False)
        if parsed.null_count() > values.null_count():  # money
            bare = values.str.replace_all(r"[$,]", "")
            parsed = bare.cast(pl.Float64, strict=False)
        if parsed.null_count() > values.null_count():
            raise UnreadableError("numbers that cannot be read")
        present = parsed.fill_null(0.0).to_numpy()
        finite = np.isfinite(present)
        if not finite.all() and _has_digits(bare.filter(pl.Series(~finite))):
            raise UnreadableError("numbers of more than 308 digits")
        noise = prf.numbers(present.view(np.uint64)).astype(np.float64) / 2.0**64
        masked = present * (1.0 + within * (2.0 * noise - 1.0))
        if shape.low is not None or shape.high is not None:
            masked = np.clip(masked, shape.low, shape.high)
        if whole:
            text = pl.Series(np.rint(masked)).cast(pl.Int64).cast(pl.String)
        else:
            text = pl.Series(_rounded(masked, bare, shape.scale)).cast(pl.String)
            pointed = bare.str.contains(".", literal=True).fill_null(value=False)
            if not pointed.all():
                text = text.zip_with(pointed, text.str.strip_suffix(".0"))
        if finite.all() and not values.null_count():
            return text
        # 0, NaN and infinity say nothing about anybody
        return text.set(~pl.Series(finite), None).fill_null(values).set(values.is_null(), None)

    return apply


def _has_digits(texts: pl.Series) -> bool:
    """Infinity and NaN have none; what is merely too large for a float has."""
    return bool(texts.str.contains(r"\d").any())


def scaled(key: bytes, within: float) -> Callable[[str], str]:
    """One factor for all numbers of a domain, which keeps their order: the bounds of ranges."""
    factor = 1.0 + within * (int(digests(key, ["factor"])[0, 0]) / 2.0**63 - 1.0)

    def mask(text: str) -> str:
        decimals = len(text.partition(".")[2])
        return f"{float(text) * factor:.{decimals}f}"

    return mask


def _rounded(
    masked: npt.NDArray[np.float64], source: pl.Series, scale: int | None
) -> npt.NDArray[np.float64]:
    if scale is not None and scale >= 0:
        return np.round(masked, scale)
    decimals = source.str.extract(r"\.(\d+)$").str.len_bytes().fill_null(0).to_numpy().astype(np.float64)
    powers: npt.NDArray[np.float64] = np.power(10.0, np.minimum(decimals, 15.0))
    rounded: npt.NDArray[np.float64] = np.rint(masked * powers) / powers
    return rounded
