"""Exact statistics by reading the tables: what `statistics` estimates, counted. Takes ACCESS SHARE locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import sql

from rehearse.engines.postgres.statistics import (
    ColumnStatistics,
    Connection,
    DatabaseStatistics,
    TableStatistics,
)

PIECES = 100
"""How many pieces of equal share the quantiles bound, and how many common values are looked for."""

# a value counts as common where it has so many times the rows of an average one (as ANALYZE has it)
_COMMON = 1.25
_NO_EQUALITY = frozenset({"json", "xml", "point", "box", "line", "lseg", "path", "polygon", "circle"})
_UNORDERED = _NO_EQUALITY | {"xid", "cid", "aclitem", "hstore", "pg_snapshot", "txid_snapshot"}
_SHARES = [place / PIECES for place in range(PIECES + 1)]


def scanned(connection: Connection, statistics: DatabaseStatistics) -> DatabaseStatistics:
    """The same tables with exact counts, null and distinct fractions, common values and quantiles."""
    return replace(statistics, tables=tuple(_table(connection, table) for table in statistics.tables))


def _table(connection: Connection, table: TableStatistics) -> TableStatistics:
    name = sql.Identifier(table.relation.schema, table.relation.name)
    whole = _whole(connection, name, table.columns)
    rows = int(whole[0])
    columns = []
    for place, column in enumerate(table.columns):
        filled, width, distinct = whole[1 + 3 * place : 4 + 3 * place]
        columns.append(_column(connection, name, column, (rows, filled, width, distinct)))
    return replace(table, rows=rows, changed_rows=0, columns=tuple(columns))


def _whole(
    connection: Connection, name: sql.Identifier, columns: Sequence[ColumnStatistics]
) -> tuple[Any, ...]:
    """One pass: the rows, and by column how many are not null, their mean width and distinct values."""
    parts: list[sql.Composable] = [sql.SQL("pg_catalog.count(*)")]
    for column in columns:
        of = sql.Identifier(column.name)
        distinct = "NULL" if column.base in _NO_EQUALITY else "pg_catalog.count(DISTINCT {0})"
        parts.append(
            sql.SQL("pg_catalog.count({0}), pg_catalog.avg(pg_catalog.pg_column_size({0}))::float8,").format(
                of
            )
            + sql.SQL(distinct).format(of)
        )
    row = connection.execute(sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(parts), name)).fetchone()
    assert row is not None, "an aggregate has one row"
    return row


def _column(
    connection: Connection,
    name: sql.Identifier,
    column: ColumnStatistics,
    counted: tuple[int, int, float | None, int | None],
) -> ColumnStatistics:
    rows, filled, width, distinct = counted
    if not rows:
        return replace(column, known=True, null_fraction=0.0, width_bytes=0, distinct=0.0)
    column = replace(
        column,
        known=True,
        null_fraction=1 - filled / rows,
        width_bytes=round(width or 0),
        # as ANALYZE: what grows with the table is a fraction of it
        distinct=0.0 if distinct is None else -distinct / rows if distinct > 0.1 * rows else float(distinct),
    )
    if distinct is None or not filled:
        return replace(column, values=(), frequencies=(), bounds=())
    common = [] if distinct == filled else _common(connection, name, column.name, filled / distinct)
    if len(common) < distinct <= PIECES:
        common = _common(connection, name, column.name, 0.0)
    values = tuple(value for value, _ in common)
    return replace(
        column,
        # spelled as in statistics
        values=tuple(value[0] for value in values) if column.base == "bool" else values,
        frequencies=tuple(count / rows for _, count in common),
        bounds=_bounds(connection, name, column, values) if len(values) < distinct else (),
        lengths=_lengths(connection, name, column.name),
    )


def _common(connection: Connection, name: sql.Identifier, column: str, mean: float) -> list[tuple[str, int]]:
    query = sql.SQL(
        "SELECT {0}::text, pg_catalog.count(*) FROM {1} WHERE {0} IS NOT NULL GROUP BY {0}"
        " HAVING pg_catalog.count(*) > {2} ORDER BY 2 DESC, 1 LIMIT {3}"
    ).format(sql.Identifier(column), name, sql.Literal(max(0.5, _COMMON * mean) if mean else 0.5), PIECES)
    return connection.execute(query).fetchall()


def _bounds(
    connection: Connection, name: sql.Identifier, column: ColumnStatistics, common: tuple[str, ...]
) -> tuple[str, ...]:
    """Quantiles of what is not common; none for types without an order."""
    if column.base in _UNORDERED or column.category == "A":
        return ()
    query = sql.SQL(
        "SELECT (pg_catalog.percentile_disc({2}::float8[]) WITHIN GROUP (ORDER BY {0}))::text[]"
        " FROM {1} WHERE {0} IS NOT NULL AND NOT {0}::text = ANY ({3}::text[])"
    ).format(sql.Identifier(column.name), name, sql.Literal(_SHARES), sql.Literal(list(common)))
    row = connection.execute(query).fetchone()
    return tuple(row[0]) if row is not None and row[0] is not None else ()


def _lengths(connection: Connection, name: sql.Identifier, column: str) -> tuple[int, ...]:
    query = sql.SQL(
        "SELECT pg_catalog.percentile_disc({2}::float8[]) WITHIN GROUP"
        " (ORDER BY pg_catalog.length({0}::text)) FROM {1} WHERE {0} IS NOT NULL"
    ).format(sql.Identifier(column), name, sql.Literal(_SHARES))
    row = connection.execute(query).fetchone()
    return tuple(row[0]) if row is not None and row[0] is not None else ()
