"""The rows that a root query names: of which table, and by which columns."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq.abc import PGresult

from rehearse.engines.postgres.copy_stream import refused
from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema


def root_rows(
    connection: psycopg.Connection[tuple[Any, ...]], schema: Schema, query: str
) -> tuple[Relation, tuple[str, ...], list[tuple[str | None, ...]]]:
    """Table, its key's columns, and their values. The query runs in the connection's read-only transaction.

    Raises InputError where it does not name the primary key of one table.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO DEFAULT")
            # the user's own program, run as it stands in a transaction that cannot write
            cursor.execute(query.encode(), prepare=False)
            result = cursor.pgresult
            assert result is not None
            relation, columns = _origin(result, schema)
            cursor.execute("SET LOCAL search_path TO ''")  # as it is while rows are read
    except psycopg.Error as error:
        raise InputError(f"--root: {refused(error, 'the query').what}") from None
    key = schema.table(relation).primary_key
    if key is None or any(name not in columns for name in key.columns):
        named = ", ".join(key.columns) if key else "which it does not have"
        raise InputError(f"--root: the query has to select the primary key of {relation}: {named}")
    if not result.ntuples:
        raise InputError("--root: the query selects no row")
    places = [columns.index(name) for name in key.columns]
    return relation, key.columns, [_values(result, row, places) for row in range(result.ntuples)]


def _values(result: PGresult, row: int, places: list[int]) -> tuple[str | None, ...]:
    """As the server prints them, which is how COPY does."""
    found = (result.get_value(row, place) for place in places)
    return tuple(None if value is None else value.decode() for value in found)


def _origin(result: PGresult, schema: Schema) -> tuple[Relation, list[str | None]]:
    """The table that the first column comes from, and each column's name in it."""
    table = next((t for t in schema.tables if t.oid == result.ftable(0)), None)
    if table is None:
        raise InputError(
            "--root: the first column of the query is not a table's own",
            "select the primary key first: SELECT id FROM users WHERE ...",
        )
    names = {column.number: column.name for column in table.columns}
    return table.relation, [
        names.get(result.ftablecol(place)) if result.ftable(place) == table.oid else None
        for place in range(result.nfields)
    ]
