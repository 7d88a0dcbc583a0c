"""A workload out of a schema, for whoever has no scripts of the application at hand.

What comes out are ordinary scripts in pgbench's language, to be read, kept and edited. They touch every
table that the migration touches, with statements an application would send: reads by key and by index,
joins along foreign keys, updates of one row, inserts of new rows. Every column is named, and nothing is
sent that would read a large table as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rehearse.model.relation import Relation
from rehearse.model.schema import Schema, Table, TableKind
from rehearse.model.workload import ScriptSource
from rehearse.workload import infer_joins, infer_tables
from rehearse.workload.infer_facts import root_of, rows_of, table_or_none
from rehearse.workload.infer_statements import Draft


class _Share(Enum):
    """Per cent of the transactions, as in a common web application."""

    READ = 70
    UPDATE = 20
    INSERT = 10


_WRITABLE = (TableKind.TABLE, TableKind.PARTITIONED)
_READABLE = (*_WRITABLE, TableKind.PARTITION, TableKind.MATERIALIZED_VIEW)
_MANY_SCRIPTS = 25


@dataclass(frozen=True, slots=True)
class _Classes:
    """The scripts by what they do."""

    reads: tuple[Draft, ...]
    updates: tuple[Draft, ...]
    inserts: tuple[Draft, ...]


def infer_workload(
    schema: Schema,
    touched: frozenset[Relation],
    rows: Mapping[Relation, int],
    *,
    generated: frozenset[Relation],
) -> tuple[ScriptSource, ...]:
    """Scripts for the tables of `touched` that have rows; none if there is no such table.

    `schema` is the one before the migration, `rows` what each table holds, `generated` the tables whose
    rows were generated, so that `fresh()` can go on with them: the others get no inserts. A partition
    stands for the table it is part of.
    """
    tables = tuple(_with_rows(schema, touched, rows))
    writable = [table for table in tables if table.kind in _WRITABLE]
    growing = [table for table in writable if _is_generated(schema, table, generated)]
    classes = _Classes(
        reads=(
            *(draft for table in tables for draft in infer_tables.reads(table)),
            *infer_joins.joins(schema, tables, rows),
        ),
        updates=tuple(draft for table in writable for draft in infer_tables.updates(schema, table)),
        inserts=tuple(draft for table in growing for draft in infer_tables.inserts(table)),
    )
    return tuple(_weighted(classes))


def _with_rows(schema: Schema, touched: frozenset[Relation], rows: Mapping[Relation, int]) -> Iterator[Table]:
    """The tables to send traffic to, partitions replaced by their roots, in the schema's order."""
    known = (table_or_none(schema, relation) for relation in touched)
    wanted = {root_of(schema, table).relation for table in known if table is not None}
    for table in schema.tables:
        if table.relation in wanted and table.kind in _READABLE and rows_of(schema, table, rows) > 0:
            yield table


def _is_generated(schema: Schema, table: Table, generated: frozenset[Relation]) -> bool:
    return table.relation in generated or any(
        part.relation in generated for part in schema.tables if root_of(schema, part) is table
    )


def _weighted(classes: _Classes) -> Iterator[ScriptSource]:
    count = len(classes.reads) + len(classes.updates) + len(classes.inserts)
    scale = 1 if count <= _MANY_SCRIPTS else 10
    taken: set[str] = set()
    for share, drafts in (
        (_Share.READ, classes.reads),
        (_Share.UPDATE, classes.updates),
        (_Share.INSERT, classes.inserts),
    ):
        weights = apportion(share.value * scale, [draft.importance for draft in drafts])
        for draft, weight in zip(drafts, weights, strict=True):
            name = _unique(draft.name, taken)
            yield ScriptSource(name, draft.text, weight)


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    taken.add(unique)
    return unique


def apportion(total: int, parts: Sequence[int]) -> list[int]:
    """Whole weights in proportion to `parts`, at least 1 each, with `total` as their sum where that can be.

    By largest remainder, so that no weight is off by 1 or more from its exact share (minimum apart).
    """
    if not parts:
        return []
    whole = sum(parts)
    weights = [max(1, total * part // whole) for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(total * parts[i] % whole), i))
    for index in by_remainder[: max(0, total - sum(weights))]:
        weights[index] += 1
    return weights
