"""What a catalog says about why a plan is as it is: indexes, foreign keys without one, statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from rehearse.model.plans import BareKey, LostIndex, Unanalyzed
from rehearse.model.relation import Relation

Connection = psycopg.Connection[tuple[Any, ...]]

_INDEXES = """
SELECT c.oid, n.nspname, c.relname, tn.nspname, t.relname, pg_catalog.pg_get_indexdef(c.oid)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE i.indisvalid AND c.oid >= 16384
"""
# indkey is counted from 0; the columns of a key may stand in any order at the head of an index
_BARE = """
SELECT n.nspname, c.relname, k.conname,
  ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_index i
  WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
    AND (i.indkey::pg_catalog.int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
ORDER BY 1, 2, 3
"""
# A column of an index that is an expression has statistics of its own, under the index's name.
_WITHOUT_STATISTICS = """
SELECT n.nspname, c.relname, a.attname, tn.nspname, t.relname, i.indexrelid IS NOT NULL
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
JOIN pg_catalog.pg_class t ON t.oid = coalesce(i.indrelid, c.oid)
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND a.attstattarget IS DISTINCT FROM 0
  AND (c.relkind IN ('r', 'm') OR c.relkind = 'i' AND i.indisvalid AND i.indkey[a.attnum - 1] = 0)
  AND pg_catalog.pg_relation_size(t.oid) > 0
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats s
    WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname)
ORDER BY 1, 2, a.attnum
"""


def lost_indexes(before: Connection, after: Connection, used: Iterable[Relation]) -> tuple[LostIndex, ...]:
    """Those of `used` that cannot be used any more: gone by their number and by their name, which an index
    keeps if it is renamed or made anew.
    """
    numbers, names = set(), set()
    for oid, schema, name, *_ in after.execute(_INDEXES):
        numbers.add(oid)
        names.add(Relation(schema, name))
    wanted = frozenset(used) - names
    return tuple(
        LostIndex(index, Relation(table_schema, table), definition)
        for oid, schema, name, table_schema, table, definition in before.execute(_INDEXES)
        if (index := Relation(schema, name)) in wanted and oid not in numbers
    )


def bare_keys(connection: Connection) -> tuple[BareKey, ...]:
    """Foreign keys without an index that begins with their columns."""
    return tuple(
        BareKey(Relation(schema, table), constraint, tuple(columns))
        for schema, table, constraint, columns in connection.execute(_BARE)
    )


def without_statistics(connection: Connection) -> frozenset[Unanalyzed]:
    """Columns and indexes on expressions that no ANALYZE has seen, of tables with rows."""
    found = set()
    for schema, name, column, table_schema, table, is_index in connection.execute(_WITHOUT_STATISTICS):
        if is_index:
            found.add(Unanalyzed(Relation(table_schema, table), index=Relation(schema, name)))
        else:
            found.add(Unanalyzed(Relation(schema, name), column))
    return frozenset(found)


def vacuum(connection: Connection, tables: Iterable[Relation]) -> None:
    """VACUUM (ANALYZE) those of `tables` that are there."""
    for table in tables:
        name = sql.Identifier(table.schema, table.name)
        there = connection.execute("SELECT to_regclass(%s)", (name.as_string(connection),)).fetchone()
        if there and there[0] is not None:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(name))
