"""Sets of values that can be counted: an index in, a value out, different for different indexes.

A column that is no key takes its indexes at random; a key takes them from the row number, and so is
unique without anything being remembered. Series are of text, or of numbers whose text is what the server
reads. `exact` kinds keep the promise that values differ; the others draw from a pool and are quicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, below, key_of, row_numbers
from rehearse.dataset.interleave import interleaved
from rehearse.dataset.patterns import Slots, size
from rehearse.dataset.uuids import Uuids
from rehearse.dataset.vocabulary import DEFAULT_LOCALE, Pool, pool

Raw: TypeAlias = NDArray[np.int64]

DAY = 86_400
_POOLED = 4096
_ENDLESS = 10**15
_FLOATING = {"decimal"}


@dataclass(frozen=True)
class Lattice:
    """Numbers or instants at equal distances: `spans` are inclusive pieces of raw integers.

    A raw integer counts units of 10**-scale (integer, decimal), days since 1970 (date) or seconds
    (timestamp, timestamptz, time, timetz, interval). `in_turn` goes round the pieces, one value of each,
    so that every partition has rows; else one piece follows the other.
    """

    form: str
    spans: tuple[tuple[int, int], ...]
    step: int = 1
    scale: int = 0
    in_turn: bool = False

    @cached_property
    def size(self) -> int:
        """How many values there are."""
        return sum((high - low) // self.step + 1 for low, high in self.spans)

    def raw(self, index: Rows) -> Raw:
        """The raw integers at these places."""
        if len(self.spans) == 1:
            return index.astype(np.int64) * self.step + self.spans[0][0]
        sizes = np.array([(high - low) // self.step + 1 for low, high in self.spans], dtype=np.int64)
        places = index.astype(np.int64)
        firsts = np.array([low for low, _ in self.spans], dtype=np.int64)
        if self.in_turn:
            piece, offset = interleaved(sizes, places)
            taken: Raw = firsts[piece] + offset * self.step
            return taken
        ends = np.cumsum(sizes)
        piece = np.minimum(np.searchsorted(ends, places, side="right"), len(sizes) - 1)
        result: Raw = firsts[piece] + (places - (ends - sizes)[piece]) * self.step
        return result

    def text(self, raw: Raw) -> pl.Series:
        """Raw integers as the server reads them."""
        return _written(self.form, self.scale, raw)

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        return self.text(self.raw(index))


@dataclass(frozen=True)
class Choices:
    """A list of texts."""

    items: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.items)

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        return _series(self.items).gather(index)


@dataclass(frozen=True)
class Template:
    """Texts of slots, each filled from its own list."""

    slots: Slots
    exact: bool
    prefix: str = ""

    @cached_property
    def size(self) -> int:
        """How many values there are."""
        return min(size(self.slots), 1 << 62) if self.exact else min(size(self.slots), _POOLED)

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        if not self.exact:
            return _filled_pool(self).gather(index % np.uint64(_POOLED))
        parts: list[pl.Expr] = []
        rest = index
        for slot in reversed(_merged(self.slots)):
            parts.append(pl.lit(_series(slot).gather(rest % np.uint64(len(slot)))))
            rest = rest // np.uint64(len(slot))
        return _joined([pl.lit(self.prefix), *parts[::-1]], len(index))


@dataclass(frozen=True)
class Vocabulary:
    """Words of a kind (see `vocabulary`), cut or padded to length; exact ones carry a running number."""

    kind: str
    max_length: int | None
    min_length: int
    fold: str
    exact: bool
    locale: str = DEFAULT_LOCALE

    @property
    def size(self) -> int:
        """How many values there are."""
        return 10**self._digits - 1 if self.exact else len(_fitted(self)[0])

    @property
    def _digits(self) -> int:
        return 15 if self.max_length is None else min(15, max(1, self.max_length // 2))

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        if not self.exact:
            texts, _ = _fitted(self)
            return texts.gather(index % np.uint64(len(texts)))
        heads, tails = _fitted(self)
        chosen = below(index, key_of(self.kind), len(heads))
        number = pl.lit(pl.Series(index + np.uint64(1)).cast(pl.String))
        if self.min_length:
            number = number.str.zfill(max(0, self.min_length))
        return _joined([pl.lit(heads.gather(chosen)), number, pl.lit(tails.gather(chosen))], len(index))

    @property
    def fits(self) -> bool:
        """Whether there is room for a word and a running number."""
        words = pool(self.kind, self.locale)
        tail = max(map(len, words.tails))
        return self.max_length is None or self.max_length >= tail + len(words.joint) + 12


@dataclass(frozen=True)
class Spans:
    """Ranges `[low, low + width)` whose lower bounds are a lattice's values. They are disjoint if the
    lattice's step is at least `width`.
    """

    lattice: Lattice
    width: int

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.lattice.size

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        low = self.lattice.raw(index)
        ends = [self.lattice.text(raw).cast(pl.String) for raw in (low, low + self.width)]
        parts = [pl.lit('["'), pl.lit(ends[0]), pl.lit('","'), pl.lit(ends[1]), pl.lit('")')]
        return _joined(parts, len(index))


@dataclass(frozen=True)
class Assembled:
    """Arrays, rows and multiranges of other values, drawn from a pool; exact ones carry the index in
    their first part.
    """

    form: str  # array (with its delimiter, if that is no comma), row, multirange
    parts: tuple[Values, ...]
    exact: bool

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.parts[0].size if self.exact else _POOLED

    def at(self, index: Rows) -> pl.Series:
        """The values at these places."""
        if not self.exact:
            return _assembled_pool(self).gather(index % np.uint64(_POOLED))
        return self.assembled(index)

    def assembled(self, index: Rows) -> pl.Series:
        """One text for each index."""
        columns = []
        for place, part in enumerate(self.parts):
            carrier = self.exact and place == 0
            chosen = index if carrier else below(index, key_of(self.form, place), part.size)
            columns.append(part.at(chosen).cast(pl.String).to_list())
        lengths = below(index, key_of(self.form, "length"), len(self.parts) + 1).tolist()
        rows = zip(*columns, strict=True) if columns else iter([()] * len(index))
        texts = [
            _assemble(self.form, row, max(length, int(self.exact)))
            for row, length in zip(rows, lengths, strict=True)
        ]
        return pl.Series(texts, dtype=pl.String)


Values: TypeAlias = Lattice | Choices | Template | Vocabulary | Uuids | Spans | Assembled


def pool_of(values: Values) -> pl.Series | None:
    """Every text of `values` where these are few: at index i they have number i modulo their count."""
    match values:
        case Choices():
            return _series(values.items)
        case Template(exact=False):
            return _filled_pool(values)
        case Vocabulary(exact=False):
            return _fitted(values)[0]
        case Assembled(exact=False):
            return _assembled_pool(values)
    return None


def _assemble(form: str, items: tuple[str, ...], length: int) -> str:
    if form == "row":
        return "(" + ",".join(_in_quotes(item, '""') for item in items) + ")"
    if form.startswith("array"):
        return "{" + (form[5:] or ",").join(_in_quotes(item, '\\"') for item in items[:length]) + "}"
    return "{" + ",".join(items[:length]) + "}"


def _in_quotes(item: str, quote: str) -> str:
    escaped = item.replace("\\", "\\\\").replace('"', quote)
    return f'"{escaped}"'


@lru_cache(maxsize=512)
def _series(items: tuple[str, ...]) -> pl.Series:
    return pl.Series(items, dtype=pl.String)


@lru_cache(maxsize=256)
def _merged(slots: Slots) -> Slots:
    """The same texts in the same order from fewer slots: small neighbours become one."""
    merged: list[tuple[str, ...]] = []
    for slot in slots:
        if merged and len(merged[-1]) * len(slot) <= _POOLED:
            merged[-1] = tuple(head + tail for head in merged[-1] for tail in slot)
        else:
            merged.append(slot)
    return tuple(merged)


@lru_cache(maxsize=256)
def _filled_pool(template: Template) -> pl.Series:
    rows = row_numbers(0, _POOLED)
    parts = [
        pl.lit(_series(slot).gather(below(rows, key_of(place), len(slot))))
        for place, slot in enumerate(_merged(template.slots))
    ]
    return _joined([pl.lit(template.prefix), *parts], _POOLED)


@lru_cache(maxsize=256)
def _assembled_pool(assembled: Assembled) -> pl.Series:
    return assembled.assembled(row_numbers(0, _POOLED))


@lru_cache(maxsize=512)
def _fitted(words: Vocabulary) -> tuple[pl.Series, pl.Series]:
    """The pool's heads and tails as series; without `exact`, whole texts and nothing."""
    drawn: Pool = pool(words.kind, words.locale)
    if not words.exact:
        whole = dict.fromkeys(_fit(text, words) for text in drawn.texts)
        return pl.Series(list(whole), dtype=pl.String), pl.Series([], dtype=pl.String)
    room = None
    if words.max_length is not None:
        room = words.max_length - words._digits - len(drawn.joint) - max(map(len, drawn.tails))
        room = max(0, room)
    heads = [_folded(head[:room].rstrip(), words.fold) + drawn.joint for head in drawn.heads]
    tails = [_folded(tail, words.fold) for tail in drawn.tails]
    return pl.Series(heads, dtype=pl.String), pl.Series(tails, dtype=pl.String)


def _fit(text: str, words: Vocabulary) -> str:
    cut = text if words.max_length is None else text[: words.max_length].rstrip()
    return _folded(cut.ljust(words.min_length, "x"), words.fold)


def _folded(text: str, fold: str) -> str:
    return text.lower() if fold == "lower" else text.upper() if fold == "upper" else text


def _joined(parts: list[pl.Expr], length: int) -> pl.Series:
    if not parts:
        return pl.repeat("", length, dtype=pl.String, eager=True)
    joined = pl.select(pl.concat_str(parts)).to_series()
    # literals alone make one row, whatever was asked for
    return joined if len(joined) == length else pl.repeat(joined[0], length, dtype=pl.String, eager=True)


def _written(form: str, scale: int, raw: Raw) -> pl.Series:
    if form == "integer" or (form in _FLOATING and scale == 0):
        return pl.Series(raw)
    if form in _FLOATING:
        # below 10**15 the shortest text of the quotient is the decimal number itself
        return pl.Series(raw / 10.0**scale)
    if form == "interval":
        return _joined([pl.lit(pl.Series(raw).cast(pl.String)), pl.lit(" seconds")], len(raw))
    if form == "date":
        return _dates(raw)
    clock = _clock(" " * form.startswith("timestamp"), "+00" * form.endswith("tz")).gather(np.mod(raw, DAY))
    if form in {"time", "timetz"}:
        return clock
    return _joined([pl.lit(_dates(raw // DAY)), pl.lit(clock)], len(raw))


@cache
def _clock(before: str, after: str) -> pl.Series:
    """Every second of a day, `HH:MM:SS`, with what stands before and after it."""
    texts = [f"{before}{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}{after}" for s in range(DAY)]
    return pl.Series(texts, dtype=pl.String)


def _dates(days: Raw) -> pl.Series:
    """Days since 1970 as ISO dates: each different day is written once."""
    if not len(days):
        return pl.Series([], dtype=pl.String)
    low, high = int(days.min()), int(days.max())
    if high - low < 4 * _POOLED:
        return _calendar(low, high).gather(days - low)
    different, places = np.unique(days, return_inverse=True)
    return pl.Series(np.datetime_as_string(different.astype("datetime64[D]")).tolist()).gather(places)


@lru_cache(maxsize=256)
def _calendar(low: int, high: int) -> pl.Series:
    days = np.arange(low, high + 1).astype("datetime64[D]")
    return pl.Series(np.datetime_as_string(days).tolist(), dtype=pl.String)


def code(alphabet: str, length: int, prefix: str = "", *, exact: bool) -> Template:
    """Codes of `length` characters after a prefix."""
    return Template((tuple(alphabet),) * length, exact, prefix)
