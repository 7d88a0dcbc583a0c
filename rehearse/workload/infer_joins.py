"""Inferred scripts that join tables along foreign keys.

Deadlocks between an application and a migration show up only where one statement locks several tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rehearse.model.relation import Relation
from rehearse.model.schema import ForeignKey, Schema, Table, TableKind
from rehearse.workload.infer_facts import (
    finds_children,
    lookup_key,
    root_of,
    rows_of,
    table_or_none,
    usable,
)
from rehearse.workload.infer_names import plain, qualified, quoted, variables
from rehearse.workload.infer_statements import Draft, column_list, draws, equals, script, select_list

_PAGE = 20
_MOST_JOINS = 6
_CHILD, _PARENT = "c", "p"


@dataclass(frozen=True, slots=True)
class _Edge:
    """A foreign key with both its ends."""

    child: Table
    parent: Table
    key: ForeignKey

    @property
    def condition(self) -> str:
        pairs = zip(self.key.columns, self.key.parent_columns, strict=True)
        return " AND ".join(f"{_PARENT}.{quoted(theirs)} = {_CHILD}.{quoted(ours)}" for ours, theirs in pairs)


def joins(schema: Schema, tables: Sequence[Table], rows: Mapping[Relation, int]) -> Iterator[Draft]:
    """Joins along every foreign key that begins or ends at one of `tables` (up to six for each table):
    from a row to its parent, and from a row to its children where an index finds them.
    """
    touched = {table.relation for table in tables}
    count = dict.fromkeys(touched, 0)
    for edge in _edges(schema, rows):
        ends = touched & {edge.child.relation, edge.parent.relation}
        if not ends or all(count[end] >= _MOST_JOINS for end in ends):
            continue
        for end in ends:
            count[end] += 1
        yield _to_parent(edge)
        if lookup_key(edge.parent) and finds_children(edge.child, edge.key):
            yield _to_children(edge)


def _edges(schema: Schema, rows: Mapping[Relation, int]) -> Iterator[_Edge]:
    seen: set[tuple[Relation, Relation, tuple[str, ...]]] = set()
    for child in schema.tables:
        if child.kind not in (TableKind.TABLE, TableKind.PARTITIONED):
            continue  # a partition has a copy of the foreign key of its parent
        for key in child.foreign_keys:
            end = table_or_none(schema, key.parent)
            parent = None if end is None else root_of(schema, end)
            if parent is None or not all(_joinable(schema, table, rows) for table in (child, parent)):
                continue
            way = (child.relation, parent.relation, key.columns)
            if way not in seen:
                seen.add(way)
                yield _Edge(child, parent, key)


def _joinable(schema: Schema, table: Table, rows: Mapping[Relation, int]) -> bool:
    return usable(table.relation.name) and rows_of(schema, table, rows) > 0


def _to_parent(edge: _Edge) -> Draft:
    key = variables(lookup_key(edge.child))
    found_by = [f"WHERE {equals(key, _CHILD)}"] if key else [f"LIMIT {_PAGE}"]
    return Draft(
        f"read_{plain(edge.child.relation)}_with_{plain(edge.parent.relation)}",
        script(
            f"Reads a row of {edge.child.relation} with the row of {edge.parent.relation} it refers to.",
            draws("sample", edge.child.relation, key),
            [
                _columns((edge.child, _CHILD), (edge.parent, _PARENT)),
                f"FROM {qualified(edge.child.relation)} {_CHILD}",
                f"JOIN {qualified(edge.parent.relation)} {_PARENT} ON {edge.condition}",
                *found_by,
            ],
        ),
    )


def _to_children(edge: _Edge) -> Draft:
    key = variables(lookup_key(edge.parent))
    return Draft(
        f"read_{plain(edge.parent.relation)}_and_its_{plain(edge.child.relation)}",
        script(
            f"Reads a row of {edge.parent.relation} with rows of {edge.child.relation} that refer to it.",
            draws("sample", edge.parent.relation, key),
            [
                _columns((edge.parent, _PARENT), (edge.child, _CHILD)),
                f"FROM {qualified(edge.parent.relation)} {_PARENT}",
                f"JOIN {qualified(edge.child.relation)} {_CHILD} ON {edge.condition}",
                f"WHERE {equals(key, _PARENT)}",
                f"LIMIT {_PAGE}",
            ],
        ),
    )


def _columns(*tables: tuple[Table, str]) -> str:
    lists = (column_list((column.name for column in table.columns), alias) for table, alias in tables)
    return select_list(*lists)
