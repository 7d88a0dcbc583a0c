"""The content of tables as counts and hashes: one scan of each side tells which columns differ between two
databases, without ever taking a value out of either.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.model.relation import Relation

Connection = psycopg.Connection[tuple[Any, ...]]

_SETTINGS = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET search_path = ''; SET statement_timeout = 0; SET lock_timeout = '30s';
SET row_security = off
"""
_INTEGERS = frozenset({"int2", "int4", "int8"})

# What a session has counted is in the statistics once it has gone, and not before.
_STILL_THERE = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND application_name = %s
"""
_WRITTEN = """
SELECT relid::pg_catalog.int8 FROM pg_catalog.pg_stat_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""
_SUMMED = """
SELECT a.attname FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attidentity = '' AND coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE '%%nextval(%%'
ORDER BY a.attnum
"""
# A transaction that is broken off leaves them further on, a server that is killed by up to 32.
_SKIPPED = """
SELECT pg_catalog.setval(name::pg_catalog.regclass, number::pg_catalog.int8) FROM (
  SELECT pg_catalog.format('%I.%I', schemaname, sequencename) AS name, min_value, max_value,
    coalesce(last_value, start_value)::pg_catalog.numeric + 32 * increment_by AS number
  FROM pg_catalog.pg_sequences) s
WHERE number BETWEEN min_value AND max_value
"""
_PATIENCE_S = 10.0
_COUNTS_AT_ONCE = 150000  # before, a process of its own collected them


@dataclass(frozen=True, slots=True)
class Cell:
    """A column as it is compared: its name, the type's bare name and the type as SQL writes it."""

    name: str
    type: str
    sql: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table: of itself `only`, or of the table and its partitions; `further` tables were
    among them once. `key` are columns that tell each row from all others, empty where there are none; they
    are read as the types that they have in there, which are those of the old side on both.
    """

    relation: Relation
    key: tuple[Cell, ...]
    only: bool = True
    further: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class Digest:
    """`values` counts, by column, what is not NULL; `hashes` are sums over all rows, each value hashed with
    its row's key, so that they do not depend on the order of rows but on which row has which value.
    """

    rows: int
    values: tuple[int, ...]
    hashes: tuple[int, ...]


def prepare(connection: Connection) -> None:
    """Make the session print values as every other session of ours does."""
    connection.execute(_SETTINGS)


def written(connection: Connection, application_name: str) -> frozenset[int] | None:
    """The tables (oids) whose rows were inserted, updated or deleted since this database was made. None
    where that cannot be told: the server counts nothing, or late, or a session of `application_name` has not
    gone.
    """
    counts = one_row(connection, sql.SQL("SELECT pg_catalog.current_setting('track_counts')"))[0] == "on"
    if not counts or connection.info.server_version < _COUNTS_AT_ONCE:
        return None
    until = time.monotonic() + _PATIENCE_S
    while one_row(connection, sql.SQL(_STILL_THERE), (application_name,))[0]:
        if time.monotonic() > until:
            return None
        time.sleep(0.02)
    return frozenset(oid for (oid,) in connection.execute(_WRITTEN))


def digest(connection: Connection, rows: Rows, columns: Sequence[Cell], *, whole_key: bool) -> Digest:
    """Count and hash `columns`. `whole_key` says that the key is one integer on both sides, which can be
    the seed of the hash as it is.
    """
    seed = _seed(rows.key, whole_key=whole_key)
    parts: list[sql.Composable] = [sql.SQL("count(*)")]
    for column in columns:
        name = sql.Identifier(column.name)
        parts.append(sql.SQL("count({})").format(name))
        parts.append(
            sql.SQL("coalesce(sum(pg_catalog.hashtextextended({}::text, {})), 0)").format(name, seed)
        )
    names = [*(cell.name for cell in rows.key), *(column.name for column in columns)]
    row = one_row(connection, sql.SQL("SELECT {} FROM {}").format(comma(parts), from_rows(rows, names)))
    return Digest(int(row[0]), tuple(map(int, row[1::2])), tuple(map(int, row[2::2])))


def count_values(connection: Connection, rows: Rows, columns: Sequence[Cell]) -> Digest:
    """As `digest`, without the hashes (all 0)."""
    parts = [sql.SQL("count(*)"), *(sql.SQL("count({})").format(sql.Identifier(c.name)) for c in columns)]
    query = sql.SQL("SELECT {} FROM {}").format(comma(parts), from_rows(rows, [c.name for c in columns]))
    row = one_row(connection, query)
    return Digest(int(row[0]), tuple(map(int, row[1:])), (0,) * len(columns))


def table_sums(connection: Connection, table: Relation) -> dict[str, int]:
    """For each column of `table` a sum that depends on which values stand in it how often. Columns that a
    sequence fills are left out: which numbers are skipped is left to chance. Reads the whole table.
    """
    prepare(connection)
    names = [name for (name,) in connection.execute(_SUMMED, (table.schema, table.name))]
    if not names:
        return {}
    one = sql.SQL("coalesce(sum(pg_catalog.hashtextextended({}::text, 0)), 0)")
    sums = comma([one.format(sql.Identifier(name)) for name in names])
    row = one_row(connection, sql.SQL("SELECT {} FROM {}").format(sums, _identifier(table)))
    return dict(zip(names, map(int, row), strict=True))


def skip_numbers(connection: Connection) -> None:
    """Take every sequence that has room further, as a run of the migration that is broken off may do."""
    connection.execute(_SKIPPED)


def is_whole(*keys: Sequence[Cell]) -> bool:
    """Whether each of `keys` is one integer column."""
    return all(len(key) == 1 and key[0].type in _INTEGERS for key in keys)


def comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    """`a, b, c`."""
    return sql.SQL(", ").join(parts)


def from_rows(rows: Rows, names: Iterable[str]) -> sql.Composed:
    """What to put after FROM to read the columns `names` of `rows`."""
    table = sql.SQL("ONLY {}" if rows.only else "{}").format(_identifier(rows.relation))
    if not rows.further:
        return table
    chosen = comma([sql.Identifier(name) for name in dict.fromkeys(names)])
    parts = [table, *(_identifier(relation) for relation in rows.further)]
    union = sql.SQL(" UNION ALL ").join(sql.SQL("SELECT {} FROM {}").format(chosen, part) for part in parts)
    return sql.SQL("({}) parts").format(union)


def key_text(name: sql.Composable, cell: Cell) -> sql.Composed:
    """A column of a key as text."""
    return sql.SQL("{}::{}::text").format(name, sql.SQL(cell.sql))


def one_row(
    connection: Connection, query: sql.SQL | sql.Composed, values: Sequence[object] = ()
) -> tuple[Any, ...]:
    """The row of a query that answers one."""
    row = connection.execute(query, values).fetchone()
    assert row is not None, "an aggregate has one row"
    return row


def _identifier(relation: Relation) -> sql.Identifier:
    return sql.Identifier(relation.schema, relation.name)


def _seed(key: Sequence[Cell], *, whole_key: bool) -> sql.Composable:
    if not key:
        return sql.SQL("0")
    if whole_key:
        return sql.SQL("{}::pg_catalog.int8").format(sql.Identifier(key[0].name))
    texts = [key_text(sql.Identifier(cell.name), cell) for cell in key]
    return sql.SQL("pg_catalog.hashtextextended(pg_catalog.concat_ws('/', {}), 0)").format(comma(texts))
