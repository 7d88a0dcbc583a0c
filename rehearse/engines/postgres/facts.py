"""Rows and sizes of tables, as the catalog has them after VACUUM and ANALYZE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.model.relation import Relation

_SIZES = """
SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint,
       pg_table_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
ORDER BY 1, 2
"""
_KIND = """
SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
_WITHOUT_ROWS = ("v", "m", "f")  # views show other tables' rows, foreign tables other servers'


@dataclass(frozen=True, slots=True)
class TableSize:
    """`rows` is the catalog's estimate (exact after a VACUUM that read the whole table)."""

    relation: Relation
    rows: int
    heap_bytes: int
    index_bytes: int


def table_sizes(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[TableSize, ...]:
    """Every table outside the system's schemas."""
    rows = connection.execute(_SIZES).fetchall()
    return tuple(TableSize(Relation(row[0], row[1]), row[2], row[3], row[4]) for row in rows)


def count_rows(
    connection: psycopg.Connection[tuple[Any, ...]], relation: Relation, column: str | None = None
) -> int:
    """Rows of `relation`, or those that hold a value in `column`. Reads the whole table. Views and what
    lies elsewhere hold no rows of their own.
    """
    kind = connection.execute(_KIND, (relation.schema, relation.name)).fetchone()
    if kind is not None and kind[0] in _WITHOUT_ROWS:
        return 0
    table = sql.Identifier(relation.schema, relation.name)
    what = sql.SQL("*") if column is None else sql.Identifier(column)
    query = sql.SQL("SELECT count({}) FROM {}").format(what, table)
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
