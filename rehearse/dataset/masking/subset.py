"""Which rows to take, closed over foreign keys, and how far apart the keys of several copies have to be.

The keys of all tables are read first; then everything is joins of key columns in memory. A row is known by
its place in its table's stream, which is the same each time that a snapshot or a dump is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rehearse.dataset.masking.block import decoded, read_block
from rehearse.dataset.masking.columns import INTEGERS, ColumnPlan, MaskPlan, base_type, root_of
from rehearse.dataset.masking.prf import MaskKey, Prf
from rehearse.dataset.masking.source import Source
from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema, Table, TableKind

if TYPE_CHECKING:
    import polars as pl

Flags = npt.NDArray[np.bool_]
_DISTINCT = frozenset({"key", "email", "hash", "name", "first_name", "last_name", "text", "phone"})
_HELD = (TableKind.TABLE, TableKind.PARTITIONED)


@dataclass(frozen=True, slots=True)
class Selection:
    """Flags for the rows of each table that holds rows, in the order of its stream."""

    flags: Mapping[Relation, Flags]

    def rows(self, relation: Relation) -> Flags:
        """Whether each row is taken."""
        return self.flags[relation]


@dataclass(frozen=True, slots=True)
class Multiplied:
    """`copies` of every row; integer keys of a domain are its stride apart. Tables in `once` have keys that
    are kept as they are, and so are written but once.
    """

    copies: int
    strides: Mapping[str, int]
    once: frozenset[Relation]


@dataclass(frozen=True, slots=True)
class _Link:
    child: Relation
    columns: tuple[str, ...]
    parent: Relation
    parent_columns: tuple[str, ...]


@dataclass(slots=True)
class Keys:
    """The key columns of every table as text, and how many rows of it each stream had, in order."""

    schema: Schema
    frames: dict[Relation, pl.DataFrame] = field(default_factory=dict)
    streams: dict[Relation, list[tuple[Relation, int]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def links(self) -> list[_Link]:
        """Foreign keys between whole tables."""
        found = [
            _Link(
                root_of(self.schema, table.relation),
                key.columns,
                root_of(self.schema, key.parent),
                key.parent_columns,
            )
            for table in self.schema.tables
            for key in table.foreign_keys
        ]
        return list(dict.fromkeys(found))  # a partition has its parent's as well

    def selection(self, chosen: Mapping[Relation, Flags]) -> Selection:
        """Flags of whole tables as flags of their streams."""
        flags = {}
        for root, streams in self.streams.items():
            start = 0
            for relation, rows in streams:
                flags[relation] = chosen[root][start : start + rows]
                start += rows
        return Selection(flags)


def read_keys(source: Source, plan: MaskPlan) -> Keys:
    """Streams every table once, and keeps what its rows are joined and told apart by."""
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    keys = Keys(source.schema)
    parts: dict[Relation, list[pl.DataFrame]] = defaultdict(list)
    wanted = {t.relation: _key_columns(t, keys.links, plan) for t in source.schema.tables if t.kind in _HELD}
    for rows in source.copies():
        root = root_of(source.schema, rows.relation)
        columns = list(rows.columns or ())
        count = 0
        for block in rows.blocks:
            frame = read_block(block, columns).select(wanted[root] or columns[:1])
            values = (decoded(series) for series in frame.get_columns())
            parts[root].append(frame.with_columns(_folded(values, source.schema.table(root))))
            count += len(frame)
        keys.streams[root].append((rows.relation, count))
    for root, columns in wanted.items():
        empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        keys.frames[root] = pl.concat(parts[root]) if parts[root] else empty
        keys.streams.setdefault(root, [])
    return keys


def by_fraction(keys: Keys, fraction: float, key: MaskKey) -> Selection:
    """About that share of every table, and all that their rows refer to.

    A table follows the largest of those that it refers to: its rows are taken with their parents, so that
    the number of children per parent stays what it was. Tables that refer to none are drawn from by a hash.
    """
    chosen: dict[Relation, Flags] = {}
    for table in keys.schema.tables:
        if table.kind not in _HELD:
            continue
        frame = keys.frames[table.relation]
        drawn = _drawn(frame, table, fraction, key)
        links = [
            link
            for link in keys.links
            if link.child == table.relation and link.parent != table.relation and link.parent in chosen
        ]
        if links:
            main = max(links, key=lambda link: (len(keys.frames[link.parent]), str(link.parent)))
            parents = keys.frames[main.parent].filter(chosen[main.parent])
            followed = _referring(frame, main.columns, parents, main.parent_columns)
            alone = _any_null(frame, main.columns)
            drawn = np.where(alone, drawn, followed)
        chosen[table.relation] = drawn
    _grow(keys, chosen, to_children=False)
    return keys.selection(chosen)


def by_root(
    keys: Keys,
    root: Relation,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    *,
    children: bool,
) -> Selection:
    """The rows of `root` whose `columns` have these values, what refers to them and so on if `children`,
    and all that any of these refer to.
    """
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    chosen = {relation: np.zeros(len(frame), dtype=np.bool_) for relation, frame in keys.frames.items()}
    wanted = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    wanted = wanted.with_columns(_folded(wanted.get_columns(), keys.schema.table(root)))
    chosen[root] = _referring(keys.frames[root], columns, wanted, columns)
    if children:
        _grow(keys, chosen, to_children=True)
    _grow(keys, chosen, to_children=False)
    return keys.selection(chosen)


def multiplied(keys: Keys, plan: MaskPlan, copies: int) -> Multiplied:
    """How to make `copies` of every row. InputError where keys do not fit or cannot differ."""
    once = frozenset(table.relation for table in plan.schema.tables if _stays_single(table, plan))
    strides: dict[str, int] = {}
    for column in plan.columns:
        if column.mask != "key" or not _is_number(column):
            continue
        texts = keys.frames[column.relation][column.column.name]
        bare = texts.str.replace_all(r"[-.]", "")
        digits = int(bare.str.len_chars().max() or 1)  # type: ignore[arg-type]  # of integers
        strides[column.domain] = max(strides.get(column.domain, 1), 10**digits)
    for column in plan.columns:
        stride = strides.get(column.domain, 0) if column.mask == "key" else 0
        if stride * copies > column.maximum and column.relation not in once:
            raise InputError(
                f"{column.label}: {copies} copies of its keys do not fit into {column.column.type.sql}",
                "ask for fewer copies",
            )
    return Multiplied(copies, strides, once)


def _stays_single(table: Table, plan: MaskPlan) -> bool:
    """Whether no unique key of the table can differ between copies; InputError if only some can."""
    if table.kind not in _HELD or not table.keys:
        return False
    masks = {column.column.name: column for column in plan.of(table.relation)}
    able = [any(masks[name].mask in _DISTINCT for name in key.columns) for key in table.keys]
    if any(able) and not all(able):
        key = next(key for key, can in zip(table.keys, able, strict=True) if not can)
        raise InputError(
            f"{table.relation}: the columns of {key.name} would be the same in every copy",
            "give one of them the mask key or text",
        )
    return not any(able)


def _is_number(column: ColumnPlan) -> bool:
    type_ = base_type(column.column.type)
    return type_.name in INTEGERS or type_.name == "numeric"


def _key_columns(table: Table, links: Sequence[_Link], plan: MaskPlan) -> list[str]:
    wanted = {name for key in table.keys if key.primary for name in key.columns}
    wanted |= {c.column.name for c in plan.of(table.relation) if c.mask == "key" and c.copied}
    for link in links:
        if link.child == table.relation:
            wanted.update(link.columns)
        if link.parent == table.relation:
            wanted.update(link.parent_columns)
    return [column.name for column in table.columns if column.name in wanted]


def _drawn(frame: pl.DataFrame, table: Table, fraction: float, key: MaskKey) -> Flags:
    import polars as pl  # noqa: PLC0415 - heavy: imported where it is used

    if frame.width == 0 or not len(frame):
        return np.ones(len(frame), dtype=np.bool_)
    names = table.primary_key.columns if table.primary_key else tuple(frame.columns)
    joined = frame.select(pl.concat_str([pl.col(name).fill_null("") for name in names], separator="\t"))
    words = Prf(key.derive(f"subset {table.relation}")).texts(joined.to_series())[:, 0]
    return words.astype(np.float64) / 2.0**64 < fraction


def _grow(keys: Keys, chosen: dict[Relation, Flags], *, to_children: bool) -> None:
    """Chooses all that the chosen rows refer to, and so on; or all that refers to them."""
    ends = [
        ((link.child, link.columns), (link.parent, link.parent_columns))[:: 1 if to_children else -1]
        for link in keys.links
    ]
    growing = True
    while growing:
        growing = False
        for (relation, columns), (other, other_columns) in ends:
            others = keys.frames[other].filter(chosen[other])
            more = _referring(keys.frames[relation], columns, others, other_columns)
            growing |= _added(chosen, relation, more)


def _folded(columns: Iterable[pl.Series], table: Table) -> Iterator[pl.Series]:
    """Values as they are compared: of citext without case."""
    for series in columns:
        folds = base_type(table.column(series.name).type).name == "citext"
        yield series.str.to_lowercase() if folds else series


def _added(chosen: dict[Relation, Flags], relation: Relation, more: Flags) -> bool:
    fresh = more & ~chosen[relation]
    chosen[relation] = chosen[relation] | more
    return bool(fresh.any())


def _referring(
    frame: pl.DataFrame, columns: Sequence[str], others: pl.DataFrame, other_columns: Sequence[str]
) -> Flags:
    """Which rows of `frame` have values in `columns` that some row of `others` has in `other_columns`."""
    flags = np.zeros(len(frame), dtype=np.bool_)
    numbered = frame.select(columns).with_row_index("row number")
    found = numbered.join(
        others.select(other_columns).unique(),
        left_on=list(columns),
        right_on=list(other_columns),
        how="semi",
    )
    flags[found["row number"].to_numpy()] = True
    return flags


def _any_null(frame: pl.DataFrame, columns: Sequence[str]) -> Flags:
    flags = np.zeros(len(frame), dtype=np.bool_)
    for name in columns:
        flags |= frame[name].is_null().to_numpy()
    return flags


def shares(selection: Selection) -> Iterator[tuple[Relation, int]]:
    """How many rows of each table are taken."""
    for relation, flags in selection.flags.items():
        yield relation, int(flags.sum())
