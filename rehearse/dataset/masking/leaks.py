"""Whether anything of the source got through: asked of what was written, whatever the rules say.

While rows stream by, a sample of the source's values is kept as keyed hashes, in memory only. Afterwards
what was written is read back and searched for those values and for what looks like personal data.
"""

from __future__ import annotations

import math
import re
import secrets
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from rehearse.dataset.masking.columns import DATES, FLOATS, INTEGERS, SHAPES, ColumnPlan, base_type
from rehearse.dataset.masking.names import DOCUMENTS, Names
from rehearse.dataset.masking.patterns import SIFT, found
from rehearse.dataset.masking.rules import SCHEMA
from rehearse.dataset.masking.spellings import spelled_out
from rehearse.dataset.masking.statements import texts_in, title_of
from rehearse.dataset.masking.structured import array_items
from rehearse.dataset.masking.words import RESERVED_DOMAINS
from rehearse.model.schema import DataType, TypeKind

if TYPE_CHECKING:
    import polars as pl

SAMPLED_ROWS = 512  # of a column's first blocks,
_LATER_ROWS = 64  # and of each later one
LOOKED_INTO = 2000
_MOST_A_COLUMN = 20_000
_COMMON = 0.05
_ENOUGH_TO_TELL = 60
_UNCHANGED = 0.5
_WIDE_DIGITS = 8
_EARLY = 4
_MARGIN_BITS = 10
_LONGEST = 200
_DIVERSE = 0.3
_NUMBERS = frozenset({*INTEGERS, *FLOATS, *DATES, "numeric"})
_SILENT = frozenset({"bool", "time", "timetz", "interval", "bit", "varbit", *SHAPES})
_STRUCTURE = re.compile(r"""[{}\[\](),"'<>|;=\n\t]+""")
_ADDRESS = re.compile(r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_DIGITS = re.compile(r"\d[\d ().-]{7,}\d")
_OURS = "@(" + "|".join(re.escape(domain) for domain in RESERVED_DOMAINS) + r")\b"


@dataclass(frozen=True, slots=True)
class Leak:
    """`rows` rows of `column` in which `what` was found. Never a value."""

    column: str
    what: str
    rows: int


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What was found, and how much was looked at.

    `sampled` source values were kept as hashes, `passed_over` were too short or too common to tell;
    `values` written values were compared as a whole and searched for patterns, `looked_into` of them also
    for parts.
    """

    leaks: tuple[Leak, ...]
    columns: int
    rows: int
    sampled: int
    passed_over: int
    values: int
    looked_into: int
    allowed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0


class Sample:
    """Hashes of source values, by a key that is drawn anew for every run and never leaves it."""

    def __init__(self) -> None:
        self._seed = secrets.randbits(63)
        self._seen: dict[str, _Seen] = defaultdict(_Seen)
        self._wide: dict[str, set[int]] = defaultdict(set)
        self._names: dict[str, Names] = defaultdict(Names)
        self._columns: set[str] = set()
        self._rows = 0
        self._blocks: Counter[str] = Counter()
        self.passed_over = 0

    def add(self, plan: ColumnPlan, values: pl.Series) -> None:
        """Samples a block of a masked column; what is kept says nothing by getting through."""
        if plan.keeps:
            return
        self._rows += len(values)
        self._blocks[plan.label] += 1
        early = self._blocks[plan.label] <= _EARLY
        picked = _spread(values, SAMPLED_ROWS if early else _LATER_ROWS).drop_nulls()
        if len(picked) < len(values) and len(picked) < _LATER_ROWS // 2:  # mostly nulls
            picked = _spread(values.drop_nulls(), _LATER_ROWS)
        type_ = innermost(plan.column.type)
        if type_.name in _NUMBERS:
            if plan.mask in {"number", "date"}:
                self._add_wide(plan.label, picked)
            return
        if not _tells(type_):
            return
        self._columns.add(normal(plan.column.name))
        seen = self._seen[plan.label]
        seen.rows += len(picked)
        if len(seen.counts) > _MOST_A_COLUMN:
            return
        for text in picked.to_list():
            for atom in set(self._source_atoms(plan, text, type_)):
                if eligible(atom):
                    seen.counts[atom] += 1
                else:
                    self.passed_over += 1

    def _source_atoms(self, plan: ColumnPlan, text: str, type_: DataType) -> Iterator[str]:
        if type_.name not in DOCUMENTS:
            yield from atoms(readable(text, type_))
            return
        alone = base_type(plan.column.type) == type_
        for document in [text] if alone else array_items(text):
            for leaf in self._names[plan.label].read(document, type_.name):
                yield from atoms(leaf)

    def _add_wide(self, label: str, picked: pl.Series) -> None:
        wide = picked.filter(_is_wide(picked))
        if len(self._wide[label]) < _MOST_A_COLUMN:
            self._wide[label].update(self.hashed(wide).to_list())

    def hashed(self, texts: pl.Series) -> pl.Series:
        """64-bit keyed hashes."""
        return texts.hash(self._seed)

    def sealed(self) -> dict[int, str]:
        """Hash to column, for every value that is rare enough to mean somebody."""
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        result: dict[int, str] = {}
        sampled = sum(len(seen.counts) for seen in self._seen.values())
        # a mask that keeps formats must not be expected to hit a sampled value by chance
        least = math.log2(max(self._rows, 1) * max(sampled, 1)) + _MARGIN_BITS
        names = {normal(name) for each in self._names.values() for name in each.common()} | self._columns
        for label, seen in self._seen.items():
            for name in self._names[label].data() if label in self._names else ():
                seen.counts.setdefault(normal(name), 1)
            few = seen.rows < _ENOUGH_TO_TELL
            rare = [
                atom
                for atom, count in seen.counts.items()
                if (few or count <= max(2, _COMMON * seen.rows))
                and atom not in names
                and eligible(atom)
                and bits(atom) >= least
            ]
            self.passed_over += len(seen.counts) - len(rare)
            hashes = self.hashed(pl.Series(rare, dtype=pl.String)).to_list()
            result |= dict.fromkeys(hashes, label)
        return result

    def categories(self) -> set[str]:
        """Values of columns that have few different ones: they also stand in checks, views and functions."""
        return {
            atom
            for seen in self._seen.values()
            if seen.rows >= _ENOUGH_TO_TELL and len(seen.counts) < _DIVERSE * seen.rows
            for atom in seen.counts
        }

    def wide(self) -> Mapping[str, set[int]]:
        """Hashes of numbers and times with many digits, by column."""
        return self._wide


class LeakCheck:
    """Reads blocks of what was written."""

    def __init__(self, sample: Sample, allowed: Mapping[str, str]) -> None:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        self._sample = sample
        self._known = sample.sealed()
        self._hashes = pl.Series(list(self._known), dtype=pl.UInt64)
        self._named = frozenset(allowed)
        self._allowed = self._named & {SCHEMA}
        self._back: dict[str, set[int]] = defaultdict(set)
        self._found: Counter[tuple[str, str]] = Counter()
        self._categories = sample.categories()
        self._columns: set[str] = set()
        self.rows = self.values = self.looked_into = 0

    def read(self, plans: tuple[ColumnPlan, ...], frame: pl.DataFrame) -> None:
        """One block of a table, decoded: the columns of `plans` in their order."""
        self.rows += len(frame)
        for plan, series in zip(plans, frame.get_columns(), strict=True):
            self._columns.add(plan.label)
            if not self._named.isdisjoint(plan.names):
                self._allowed |= {plan.label}
            self.values += len(series)
            type_ = innermost(plan.column.type)
            present = series.drop_nulls()
            if type_.name in _NUMBERS:
                self._read_wide(plan.label, present)
            elif _tells(type_):
                if type_.name == "bytea":
                    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

                    present = pl.Series(
                        [readable(text, type_) for text in present.to_list()], dtype=pl.String
                    )
                self._read_texts(plan.label, present)

    def read_schema(self, statement: str) -> None:
        """A statement that goes with the rows: its literals, and the words that people left in it."""
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        title = title_of(statement)
        for line in statement.splitlines():
            for name in set(found(line)):
                self._found[SCHEMA, f"{title}: {name}"] += 1
        parts = {part for text in texts_in(statement) for part in (*atoms(text), *_windows(text))}
        parts -= self._categories
        hashes = self._sample.hashed(pl.Series(sorted(parts), dtype=pl.String))
        for value in set(hashes.filter(hashes.is_in(self._hashes.implode())).to_list()):
            self._found[SCHEMA, f"{title}: source values of {self._known[value]}"] += 1

    def report(self) -> LeakReport:
        """All that was found in the end."""
        for label, back in self._back.items():
            known = self._sample.wide()[label]
            if len(known) >= 20 and len(back) > _UNCHANGED * len(known):
                self._found[label, f"values of {label} unchanged"] += len(back)
        leaks = tuple(
            Leak(label, what, rows)
            for (label, what), rows in sorted(self._found.items())
            if label not in self._allowed
        )
        allowed = {label for label, _ in self._found if label in self._allowed}
        return LeakReport(
            leaks,
            len(self._columns),
            self.rows,
            len(self._known),
            self._sample.passed_over,
            self.values,
            self.looked_into,
            tuple(sorted(allowed)),
        )

    def _read_wide(self, label: str, present: pl.Series) -> None:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        if label in self._sample.wide():
            known = pl.Series(list(self._sample.wide()[label]), dtype=pl.UInt64)
            hashes = self._sample.hashed(present)
            self._back[label].update(hashes.filter(hashes.is_in(known.implode())).to_list())

    def _read_texts(self, label: str, present: pl.Series) -> None:
        whole = present.str.strip_chars().str.to_lowercase()
        self._count(label, self._sample.hashed(whole))
        self._look_into(label, _spread(present, LOOKED_INTO).to_list())
        addresses = present.str.contains("@", literal=True).any()
        rest = present.str.replace_all(_OURS, "") if addresses else present
        for text in rest.filter(rest.str.contains(SIFT)).to_list():
            for name in found(text):
                self._found[label, name] += 1

    def _look_into(self, label: str, texts: list[str]) -> None:
        import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

        self.looked_into += len(texts)
        parts = []
        for text in texts:
            whole = text.strip().lower()
            found_ = {*atoms(text), *_windows(text)}
            for plain in spelled_out(text[: _LONGEST * 20]):
                found_.update(atoms(plain))
            parts += [part for part in found_ if part != whole]
        self._count(label, self._sample.hashed(pl.Series(parts, dtype=pl.String)))

    def _count(self, label: str, hashes: pl.Series) -> None:
        hits = hashes.filter(hashes.is_in(self._hashes.implode()))
        for value, rows in Counter(hits.to_list()).items():
            self._found[label, f"source values of {self._known[value]}"] += rows


def normal(text: str) -> str:
    """How texts are compared: case, surrounding blanks and the way that accents are put on do not matter."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip().lower()


def atoms(text: str) -> Iterator[str]:
    """A text as a whole and the parts of it that could stand for somebody, in normal form."""
    text = text[: _LONGEST * 20]
    if len(text) <= _LONGEST:
        yield normal(text)
    pieces = _STRUCTURE.split(text)
    if len(pieces) > 1:
        yield from (normal(piece) for piece in pieces if piece)
    for match in _ADDRESS.finditer(text):
        yield normal(match[0])
    for match in _DIGITS.finditer(text):
        yield "#" + re.sub(r"\D", "", match[0])


def _windows(text: str) -> Iterator[str]:
    """Two and three words next to each other: a name within a sentence."""
    words = re.findall(r"[\w'-]+", text[: _LONGEST * 20].lower())
    for size in (2, 3):
        for start in range(len(words) - size + 1):
            yield " ".join(islice(words, start, start + size))


def eligible(atom: str) -> bool:
    """Whether finding it again means anything: not too short, not too plain."""
    if not 6 <= len(atom) <= _LONGEST or len(set(atom)) < 4:
        return False
    return any(char.isalpha() for char in atom) or sum(char.isdigit() for char in atom) >= 9


def bits(atom: str) -> float:
    """How many texts of its form there are, as a power of two."""
    return sum(4.7 if char.isalpha() else 3.32 if char.isdigit() else 0.0 for char in atom)


def innermost(type_: DataType) -> DataType:
    """The type of the values within domains, arrays and ranges."""
    type_ = base_type(type_)
    while type_.kind in {TypeKind.ARRAY, TypeKind.RANGE, TypeKind.MULTIRANGE} and type_.element is not None:
        type_ = base_type(type_.element)
    return type_


def readable(text: str, type_: DataType) -> str:
    """Bytes as the text that they may spell; anything else as it is."""
    if type_.name != "bytea" or not text.startswith("\\x"):
        return text
    return bytes.fromhex(text[2:]).decode("utf-8", "replace")


def _tells(type_: DataType) -> bool:
    return type_.kind is not TypeKind.ENUM and type_.name not in _SILENT


def _is_wide(texts: pl.Series) -> pl.Series:
    bare = texts.str.replace_all(r"\D|(?:\.0+|00:00:00)", "")
    return bare.str.len_bytes() > _WIDE_DIGITS


def _spread(values: pl.Series, most: int) -> pl.Series:
    """Evenly spaced values, `most` at most."""
    return values if len(values) <= most else values.gather_every(-(-len(values) // most))
