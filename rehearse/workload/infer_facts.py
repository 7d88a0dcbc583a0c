"""What workload inference asks of a schema: keys, usable indexes, partitions, comparable columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rehearse.model.relation import Relation
from rehearse.model.schema import Column, DataType, ForeignKey, Index, Schema, Table, TableKind, TypeKind

_INCOMPARABLE = frozenset(
    {
        "json",
        "jsonb",
        "xml",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "tsvector",
        "tsquery",
        "hstore",
        "geometry",
        "geography",
    }
)
_ODD_ORDER = re.compile(r" COLLATE | NULLS |_ops\b")


def table_or_none(schema: Schema, relation: Relation) -> Table | None:
    """The table of that name, if the schema has it."""
    return next((table for table in schema.tables if table.relation == relation), None)


def root_of(schema: Schema, table: Table) -> Table:
    """The partitioned table at the top that `table` is a part of; itself if it is no partition."""
    parent = table_or_none(schema, table.partition_of) if table.partition_of is not None else None
    return table if parent is None else root_of(schema, parent)


def rows_of(schema: Schema, table: Table, rows: Mapping[Relation, int]) -> int:
    """The rows of a table; of a partitioned one those of its partitions if nobody said."""
    if table.kind is not TableKind.PARTITIONED or rows.get(table.relation):
        return rows.get(table.relation, 0)
    parts = (part for part in schema.tables if part.partition_of == table.relation)
    return sum(rows_of(schema, part, rows) for part in parts)


def usable(name: str) -> bool:
    """Whether a script can name it in a `\\set`, which is one line."""
    return name.isprintable()


def lookup_key(table: Table) -> tuple[str, ...]:
    """The columns that find one row: the primary key, else a unique key that takes no nulls; else empty."""
    keys = sorted((key for key in table.keys if key.predicate is None), key=lambda key: not key.primary)
    for key in keys:
        columns = [table.column(name) for name in key.columns]
        if all((key.primary or column.not_null) and usable(column.name) for column in columns):
            return key.columns
    return ()


def comparable(column: Column) -> bool:
    """Whether `=` with a drawn value makes sense: not for documents, shapes, arrays and ranges."""
    kind = _base(column.type)
    if kind.kind not in (TypeKind.BASE, TypeKind.ENUM):
        return False
    return kind.name not in _INCOMPARABLE and usable(column.name)


def _base(data_type: DataType) -> DataType:
    while data_type.kind is TypeKind.DOMAIN and data_type.element is not None:
        data_type = data_type.element
    return data_type


def lookup_indexes(table: Table) -> Iterator[tuple[Index, Column]]:
    """Indexes that find rows by their leading column, with that column; NOT NULL ones first.

    Left out: the key's own, invalid ones, other methods than btree and hash, an expression in front, and a
    collation of its own, which `=` would not use.
    """
    key = lookup_key(table)
    found: list[tuple[Index, Column]] = []
    for index in table.indexes:
        leading = index.columns[0] if index.columns else None
        if leading is None or index.columns == key or not index.valid or " COLLATE " in index.definition:
            continue
        column = table.column(leading)
        if index.method in ("btree", "hash") and comparable(column):
            found.append((index, column))
    return iter(sorted(found, key=lambda pair: not pair[1].not_null))


def ordered_by(index: Index) -> str | None:
    """The column that the index gives an order by once its leading one is fixed; None if there is none."""
    if index.method != "btree" or len(index.columns) < 2 or _ODD_ORDER.search(index.definition):
        return None
    return index.columns[1]


def finds_children(child: Table, key: ForeignKey) -> bool:
    """Whether an index of `child` leads with the columns of its foreign key."""
    wanted = set(key.columns)
    keys = [unique.columns for unique in child.keys if unique.predicate is None]
    indexes = [
        index.columns
        for index in child.indexes
        if index.valid
        and index.predicate is None
        and index.method == "btree"
        and " COLLATE " not in index.definition
    ]
    return any(set(columns[: len(wanted)]) == wanted for columns in (*keys, *indexes))


def row_columns(table: Table) -> tuple[Column, ...]:
    """The columns that an INSERT names: all but those that the server fills by itself."""
    return tuple(
        column
        for column in table.columns
        if not column.generated and column.identity.value == "none" and column.sequence is None
    )


def update_column(schema: Schema, table: Table) -> Column | None:
    """The column to update: one whose change an application would make and that costs little.

    Never one of the lookup key, one that other tables refer to, or one that the partitions are made by;
    one without index or foreign key where there is one.
    """
    fixed = {*lookup_key(table), *_referred_to(schema, table)}
    candidates = [
        column
        for column in row_columns(table)
        if column.name not in fixed and usable(column.name) and not _partitions_by(table, column)
    ]
    return min(candidates, key=lambda column: _reluctance(table, column), default=None)


def _referred_to(schema: Schema, table: Table) -> Iterator[str]:
    for other in schema.tables:
        for key in other.foreign_keys:
            if key.parent == table.relation:
                yield from key.parent_columns


def _partitions_by(table: Table, column: Column) -> bool:
    return _mentions(table.partition_key or "", column.name)


def _mentions(definition: str, name: str) -> bool:
    """Whether SQL text may have `name` in it; in a string or comment counts too."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", definition) is not None


def _reluctance(table: Table, column: Column) -> tuple[bool, bool, bool, bool, bool]:
    """Sorts the best column to update first; equal ones stay in the table's order."""
    name = column.name
    return (
        any(name in key.columns for key in table.foreign_keys),
        any(name in key.columns for key in table.keys),
        any(_mentions(index.definition, name) for index in table.indexes),
        not comparable(column),
        any(name in check.columns for check in table.checks),
    )
