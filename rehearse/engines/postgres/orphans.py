"""Rows that refer to a parent that is not there, by foreign keys that the catalog calls valid.

Where enforcement is off for a while (`session_replication_role`, DISABLE TRIGGER ALL) nothing looks at what
is written meanwhile, and to switch it on again looks at no row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from rehearse.engines.postgres.content import Connection, one_row
from rehearse.model.relation import Relation
from rehearse.model.trials import Orphans

_JOINED = """
      FROM {only}{child} AS c LEFT JOIN {only_parent}{parent} AS p ON ({pairs})
     WHERE p.{first} IS NULL AND {present}
"""
# Keys of partitions come with the ones of their parent; those over periods ask another question.
_KEYS = """
SELECT k.conrelid::pg_catalog.int8, k.conkey, k.confrelid::pg_catalog.int8, k.confkey, k.conname,
    s.nspname, c.relname, c.relkind = 'p', ps.nspname, p.relname, p.relkind = 'p',
    ARRAY(SELECT a.attname::pg_catalog.text
        FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
    ARRAY(SELECT a.attname::pg_catalog.text
        FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place),
    ARRAY(SELECT ARRAY[n.nspname::pg_catalog.text, o.oprname::pg_catalog.text]
        FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY AS u (number, place)
        JOIN pg_catalog.pg_operator o ON o.oid = u.number
        JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.place),
    ARRAY(SELECT ARRAY[n.nspname::pg_catalog.text, l.collname::pg_catalog.text]
        FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
        LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace ORDER BY u.place),
    k.convalidated AND coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace ps ON ps.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND NOT coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::boolean, false)
ORDER BY s.nspname, c.relname, k.conname
"""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a foreign key. Of a partitioned table the rows are in its partitions, and count; rows of
    children by inheritance do not.
    """

    table: Relation
    columns: tuple[str, ...]
    partitioned: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key. `operators` (schema and name, parent's column first) and `collations` say how its
    columns are compared; without them by `=`.
    """

    name: str
    child: End
    parent: End
    operators: tuple[tuple[str, str], ...] = ()
    collations: tuple[tuple[str, str] | None, ...] = ()


def without_parent(reference: Reference) -> sql.Composed:
    """FROM and WHERE of the rows that have a value in all of the key's columns, and no parent: the question
    that ADD FOREIGN KEY asks of a table that has rows.
    """
    child, parent = reference.child, reference.parent
    pairs = [_pair(reference, place) for place in range(len(child.columns))]
    present = [sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(name)) for name in child.columns]
    return sql.SQL(_JOINED).format(
        only=_only(child),
        child=sql.Identifier(child.table.schema, child.table.name),
        only_parent=_only(parent),
        parent=sql.Identifier(parent.table.schema, parent.table.name),
        pairs=sql.SQL(" AND ").join(pairs),
        first=sql.Identifier(parent.columns[0]),
        present=sql.SQL(" AND ").join(present),
    )


def _only(end: End) -> sql.SQL:
    return sql.SQL("" if end.partitioned else "ONLY ")


def _pair(reference: Reference, place: int) -> sql.Composed:
    operator: sql.Composable = sql.SQL("=")
    if reference.operators:
        schema, name = reference.operators[place]
        # the catalog's own name of it, which is made of symbols alone
        operator = sql.SQL("OPERATOR({}.{})").format(sql.Identifier(schema), sql.SQL(name))
    collation = reference.collations[place] if reference.collations else None
    collate = sql.SQL(" COLLATE {}").format(sql.Identifier(*collation)) if collation else sql.SQL("")
    mine, theirs = reference.child.columns[place], reference.parent.columns[place]
    return sql.SQL("p.{} {} c.{}{}").format(sql.Identifier(theirs), operator, sql.Identifier(mine), collate)


@dataclass(frozen=True, slots=True)
class _Key:
    numbers: tuple[object, ...]  # a copy of a database shares them
    reference: Reference
    is_promise: bool  # the catalog says that each row has its parent


def new_orphans(
    base: Connection, copy: Connection, untouched: Collection[Relation], *, meanwhile: bool = False
) -> tuple[Orphans, ...]:
    """Of each foreign key that `copy` calls valid: how many more rows than in `base` have no parent; keys
    between two `untouched` tables are not looked at, and those without such rows left out.

    What cannot be counted (no right to read, too long) has None for its number.
    """
    before = list(_keys(base))
    found = []
    for key in _keys(copy):
        ends = {key.reference.child.table, key.reference.parent.table}
        if not key.is_promise or ends <= set(untouched):
            continue
        rows = _count(copy, key.reference)
        was = _same(key, before) if rows else None
        if rows and was is not None:
            rows = max(0, rows - (_count(base, was) or 0))
        if rows != 0:
            child, parent = key.reference.child.table, key.reference.parent.table
            found.append(Orphans(child, key.reference.name, parent, rows, meanwhile))
    return tuple(found)


def _same(key: _Key, among: Sequence[_Key]) -> Reference | None:
    """The key as it was; where its table is another one now, one of the same names."""
    same = [each.reference for each in among if each.numbers == key.numbers]
    named = [
        each.reference
        for each in among
        if (each.reference.child, each.reference.parent) == (key.reference.child, key.reference.parent)
    ]
    return next(iter([*same, *named]), None)


def _count(connection: Connection, reference: Reference) -> int | None:
    try:
        return int(one_row(connection, sql.SQL("SELECT count(*)") + without_parent(reference))[0])
    except psycopg.Error:
        if connection.broken:  # that is not the right to read, or the time, that is missing
            raise
        return None


def _keys(connection: Connection) -> Iterator[_Key]:
    for row in connection.execute(_KEYS):
        table, columns, to, theirs, name, *ends = row
        schema, child, of_parts, parent_schema, parent, parent_of_parts, mine, others, *how = ends
        operators, collations, is_promise = how
        reference = Reference(
            name,
            End(Relation(schema, child), tuple(mine), of_parts),
            End(Relation(parent_schema, parent), tuple(others), parent_of_parts),
            tuple((each[0], each[1]) for each in operators),
            tuple((each[0], each[1]) if each[1] else None for each in collations),
        )
        yield _Key((table, tuple(columns), to, tuple(theirs)), reference, is_promise)
