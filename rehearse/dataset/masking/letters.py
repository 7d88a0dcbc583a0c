"""The mask that keeps a text's form: other letters and digits in the places of the old ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rehearse.dataset.masking.masks import Masker, Shape, UnreadableError, over_distinct
from rehearse.dataset.masking.patterns import SIFT, checked_phone, defused
from rehearse.dataset.masking.prf import Prf, Words

if TYPE_CHECKING:
    import polars as pl

_SMALL_DOMAIN_BITS = 60
_OTHER, _LOWER, _UPPER, _DIGIT = 0, 1, 2, 3
_RADIX = np.array([1, 26, 26, 10], dtype=np.uint64)
_FIRST = np.array([0, ord("a"), ord("A"), ord("0")], dtype=np.uint32)


def texts(key: bytes, shape: Shape, *, phone: bool = False, copy: int = 0) -> Masker:
    """Other letters and digits in their places; punctuation, case and length stay.

    Unique values of few characters go through a permutation of all texts of their form. What comes out as
    a valid card, account or phone number by chance is spoiled; phone numbers get check digits. In further
    copies unique texts of few characters are marked by the copy's number, since hashes of them might meet.
    """
    prf = Prf(key)

    def mask(values: pl.Series) -> pl.Series:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        given = values.to_list()
        letters = _Letters.of(given)
        if shape.unique and not (letters.codes < 128).all():
            letters = _Letters.of(_widened(given, letters.bits(), shape.length))
        words = prf.texts(values.str.to_lowercase() if shape.fold else values)[:, 0]
        drawn = letters.drawn(prf, words)
        if shape.unique:
            letters.permute(drawn, prf)
        result = letters.texts(drawn)
        if shape.unique and copy:
            short = letters.bits() < _SMALL_DOMAIN_BITS
            result = [f"{text}~{copy}" if few else text for text, few in zip(result, short, strict=True)]
            if shape.length is not None and max(map(len, result), default=0) > shape.length:
                raise UnreadableError(f"texts that leave no room for a copy's number in {shape.length}")
        if phone and not shape.unique:
            return pl.Series([checked_phone(text) for text in result], dtype=pl.String)
        series = pl.Series(result, dtype=pl.String)
        suspects = series.str.contains(SIFT)
        if suspects.any():
            better = pl.Series(
                [defused(text, injective=shape.unique) for text in series.filter(suspects).to_list()],
                dtype=pl.String,
            )
            series = series.scatter(suspects.arg_true(), better)
        return series

    return over_distinct(mask)


def _widened(texts: list[str], bits: npt.NDArray[np.float64], length: int | None) -> list[str]:
    """Short texts beyond ASCII with so many letters more that hashes of them do not meet: there are fewer
    texts of their form in the letters that masks are made of than there may be of them.
    """
    wide = [
        text if text.isascii() or few >= _SMALL_DOMAIN_BITS else text + "a" * _letters_missing(few)
        for text, few in zip(texts, bits.tolist(), strict=True)
    ]
    if length is not None and max(map(len, wide), default=0) > length:
        raise UnreadableError(f"unique texts beyond ASCII that {length} letters could not tell apart")
    return wide


def _letters_missing(bits: float) -> int:
    return math.ceil((_SMALL_DOMAIN_BITS - bits) / math.log2(26))


@dataclass(frozen=True, slots=True)
class _Letters:
    """Texts as one array of characters: `codes` and `classes` (n characters), `lengths` (a text each)."""

    codes: npt.NDArray[np.uint32]
    classes: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: list[str]) -> _Letters:
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
        table = np.zeros(128, dtype=np.uint8)
        for kind, first, count in ((_LOWER, "a", 26), (_UPPER, "A", 26), (_DIGIT, "0", 10)):
            table[ord(first) : ord(first) + count] = kind
        # any character beyond ASCII may be a letter
        classes = np.where(codes < 128, table[np.minimum(codes, 127)], np.uint8(_LOWER))
        return cls(codes, classes, np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))

    def drawn(self, prf: Prf, seeds: Words) -> npt.NDArray[np.uint64]:
        """A number below its radix for every character."""
        return prf.stream(seeds, self.lengths).astype(np.uint64) % _RADIX[self.classes]

    def bits(self) -> npt.NDArray[np.float64]:
        """How many texts of each one's form there are, as a power of two."""
        each = np.append(0.0, np.cumsum(np.log2(_RADIX[self.classes].astype(np.float64))))
        ends = np.cumsum(self.lengths)
        total: npt.NDArray[np.float64] = each[ends] - each[ends - self.lengths]
        return total

    def permute(self, drawn: npt.NDArray[np.uint64], prf: Prf) -> None:
        """Replaces what was drawn for short texts by the image under a permutation of all of their form."""
        starts = np.cumsum(self.lengths) - self.lengths
        short = np.nonzero((self.bits() < _SMALL_DOMAIN_BITS) & (self.lengths > 0))[0]
        sizes = np.ones(len(short), dtype=np.uint64)
        ranks = np.zeros(len(short), dtype=np.uint64)
        digits = np.where(self.codes < 128, self.codes - _FIRST[self.classes], self.codes % 26).astype(
            np.uint64
        )
        longest = int(self.lengths[short].max(initial=0))
        for place in range(longest):
            here = np.nonzero(self.lengths[short] > place)[0]
            at = starts[short[here]] + place
            radix = _RADIX[self.classes[at]]
            ranks[here] = ranks[here] * radix + np.where(self.classes[at] == _OTHER, 0, digits[at])
            sizes[here] *= radix
        ranks = prf.permuted(ranks, sizes)
        for place in reversed(range(longest)):
            here = np.nonzero(self.lengths[short] > place)[0]
            at = starts[short[here]] + place
            radix = _RADIX[self.classes[at]]
            drawn[at] = ranks[here] % radix
            ranks[here] //= radix

    def texts(self, drawn: npt.NDArray[np.uint64]) -> list[str]:
        """The texts with what was drawn in the places of letters and digits."""
        fresh = _FIRST[self.classes] + drawn.astype(np.uint32)
        codes = np.where(self.classes == _OTHER, self.codes, fresh).astype(np.uint8)
        whole = codes.tobytes().decode("ascii")
        ends = np.cumsum(self.lengths).tolist()
        return [whole[end - length : end] for end, length in zip(ends, self.lengths.tolist(), strict=True)]
