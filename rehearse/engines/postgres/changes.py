"""In what kind the values of columns differ between two databases: told on the server, beside the new ones.

The old values go, as text and by COPY, into a temporary table of a session on the new database. No extension
is needed, and no session of ours holds more than a block of rows in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from psycopg import sql

from rehearse.engines.postgres.content import Cell, Connection, Rows, comma, from_rows, key_text, one_row
from rehearse.model.trials import Difference

Pair: TypeAlias = tuple[Cell, Cell]  # a column as it was and as it is
Side: TypeAlias = tuple[Connection, Rows]

_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8"})
_TIMES = frozenset({"timestamp", "timestamptz", "date"})
# What a value that cannot be read as another type, or a type that is gone, raises.
_NO_CAST = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)
_DAY_S = 86_400
_QUARTER_S = 900
# The bytes of a text, as the database keeps it.
_BYTES_OF = sql.SQL("pg_catalog.convert_to({}, pg_catalog.getdatabaseencoding()) = {}")
# One is the other as base64 or hex, or its UTF-8 read as if it were Latin-1.
_RECODED = sql.SQL(
    "pg_catalog.translate({text}, E'\\n', '') IN (SELECT pg_catalog.translate(pg_catalog.encode("
    "pg_catalog.convert_to({was}, pg_catalog.getdatabaseencoding()), f), E'\\n', '') "
    "FROM (VALUES ('base64'), ('hex')) AS forms(f)) "
    "OR pg_catalog.translate({was}, E'\\n', '') IN (SELECT pg_catalog.translate(pg_catalog.encode("
    "pg_catalog.convert_to({text}, pg_catalog.getdatabaseencoding()), f), E'\\n', '') "
    "FROM (VALUES ('base64'), ('hex')) AS forms(f)) "
    "OR CASE WHEN pg_catalog.getdatabaseencoding() = 'UTF8' THEN {text} = "
    "pg_catalog.convert_from(pg_catalog.convert_to({was}, 'UTF8'), 'LATIN1') OR {was} = "
    "pg_catalog.convert_from(pg_catalog.convert_to({text}, 'UTF8'), 'LATIN1') END"
)
_FARTHEST_S = 26 * 3600  # between two time zones


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows that are gone and new, and for each column compared the rows that differ, by kind."""

    lost: int
    added: int
    columns: tuple[tuple[tuple[Difference, int], ...], ...]


def compare(before: Side, after: Side, pairs: Sequence[Pair]) -> Compared:
    """Compare `pairs` of columns row by row where both sides have keys; else, as the heaps of values that
    they are, which tells less of the kind.
    """
    keyed = bool(before[1].key and after[1].key)
    connection, new = after
    connection.execute("DROP TABLE IF EXISTS pg_temp.rehearse_before")
    _copy_over(before, connection, [cell for cell, _ in pairs], keyed=keyed)
    compare_rows = _by_key if keyed else _by_value
    try:
        return compare_rows(connection, new, pairs, casts=True)
    except _NO_CAST:
        return compare_rows(connection, new, pairs, casts=False)


def _copy_over(before: Side, connection: Connection, columns: Sequence[Cell], *, keyed: bool) -> None:
    """The old values, as text, into `pg_temp.rehearse_before (k0, ..., v0, ...)` of `connection`."""
    source, old = before
    key = old.key if keyed else ()
    fields = [f"k{number}" for number in range(len(key))] + [f"v{number}" for number in range(len(columns))]
    names = [cell.name for cell in (*key, *columns)]
    declared = comma([sql.SQL("{} text").format(sql.Identifier(field)) for field in fields])
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE rehearse_before ({})").format(declared))
    values = comma([sql.SQL("{}::text").format(sql.Identifier(name)) for name in names])
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(values, from_rows(old, names))
    with (
        source.cursor().copy(query) as reading,
        connection.cursor().copy("COPY pg_temp.rehearse_before FROM STDIN") as writing,
    ):
        for block in reading:
            writing.write(block)
    connection.execute("ANALYZE pg_temp.rehearse_before")


def _by_key(connection: Connection, new: Rows, pairs: Sequence[Pair], *, casts: bool) -> Compared:
    names = [*(cell.name for cell in new.key), *(cell.name for _, cell in pairs)]
    on = sql.SQL(" AND ").join(
        sql.SQL("{} = b.{}").format(
            key_text(sql.Identifier("n", cell.name), cell), sql.Identifier(f"k{number}")
        )
        for number, cell in enumerate(new.key)
    )
    kinds = [
        sql.SQL(", {} AS {}").format(_kind(number, *pair, casts=casts), sql.Identifier(f"d{number}"))
        for number, pair in enumerate(pairs)
    ]
    counts = [
        sql.SQL(", count(*) FILTER (WHERE NOT lost AND {} = {})").format(
            sql.Identifier(f"d{number}"), sql.Literal(difference.value)
        )
        for number in range(len(pairs))
        for difference in Difference
    ]
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE lost){counts} FROM (SELECT n.{key} IS NULL AS lost{kinds} "
        "FROM pg_temp.rehearse_before b LEFT JOIN (SELECT {names} FROM {rows}) n ON {on}) d"
    ).format(
        counts=sql.Composed(counts),
        key=sql.Identifier(new.key[0].name),
        kinds=sql.Composed(kinds),
        names=comma([sql.Identifier(name) for name in dict.fromkeys(names)]),
        rows=from_rows(new, names),
        on=on,
    )
    matched, lost, *found = one_row(connection, query)
    width = len(Difference)
    return Compared(
        lost=lost,
        added=max(0, _count(connection, new) - (matched - lost)),
        columns=tuple(_counted(found[width * number : width * (number + 1)]) for number in range(len(pairs))),
    )


def _counted(counts: Sequence[int]) -> tuple[tuple[Difference, int], ...]:
    return tuple((kind, count) for kind, count in zip(Difference, counts, strict=True) if count)


def _by_value(connection: Connection, new: Rows, pairs: Sequence[Pair], *, casts: bool) -> Compared:
    """How many of a column's old values are not among the new ones, each counted as often as it is there."""
    before = int(one_row(connection, sql.SQL("SELECT count(*) FROM pg_temp.rehearse_before"))[0])
    now = _count(connection, new)
    lost = max(0, before - now)
    columns = []
    for number, (old, cell) in enumerate(pairs):
        field = sql.Identifier(f"v{number}")
        query = sql.SQL(
            "SELECT count(*), "
            "(SELECT count({v}) FROM pg_temp.rehearse_before) - (SELECT count({n}) FROM {rows}) "
            "FROM (SELECT {v} FROM pg_temp.rehearse_before EXCEPT ALL SELECT {back} FROM {rows}) d"
        ).format(
            v=field,
            n=sql.Identifier(cell.name),
            rows=from_rows(new, [cell.name]),
            back=_back(sql.Identifier(cell.name), old, cell, casts=casts),
        )
        differing, fewer = one_row(connection, query)
        columns.append(_guessed(old, cell, max(0, differing - lost), fewer - lost))
    return Compared(lost, max(0, now - before), tuple(columns))


def _guessed(old: Cell, new: Cell, differing: int, nulled: int) -> tuple[tuple[Difference, int], ...]:
    """Of what kind the differences are that nobody can see row by row."""
    if not differing:
        return ()
    if nulled > 0:
        kind = Difference.NULLED
    elif old.sql != new.sql and old.type in _TEXTS and new.type in _TEXTS:
        kind = Difference.CUT
    elif old.sql != new.sql and old.type in _NUMBERS and new.type in _NUMBERS:
        kind = Difference.ROUNDED
    else:
        kind = Difference.CHANGED
    return ((kind, differing),)


def _count(connection: Connection, rows: Rows) -> int:
    return int(one_row(connection, sql.SQL("SELECT count(*) FROM {}").format(from_rows(rows, ())))[0])


def _back(name: sql.Composable, old: Cell, new: Cell, *, casts: bool) -> sql.Composed:
    """The new value, as text, in the form that the old type gave it."""
    if not casts or old.sql == new.sql:
        return sql.SQL("{}::text").format(name)
    return sql.SQL("{}::{}::text").format(name, sql.SQL(old.sql))


def _kind(number: int, old: Cell, new: Cell, *, casts: bool) -> sql.Composed:
    """The name of a `Difference`; NULL where the value is what it was, or reads so in its old type."""
    was = sql.Identifier("b", f"v{number}")
    now = sql.Identifier("n", new.name)
    as_text = sql.SQL("{}::text").format(now)
    same = [sql.SQL("{} IS NOT DISTINCT FROM {}").format(as_text, was)]
    if casts and old.sql != new.sql:
        same.append(sql.SQL("{} IS NOT DISTINCT FROM {}").format(_back(now, old, new, casts=True), was))
    if (old.type, new.type) == ("json", "jsonb"):
        same.append(sql.SQL("{}::jsonb IS NOT DISTINCT FROM {}").format(was, now))
    branches = [
        *(_when(test, "NULL") for test in same),
        _when(sql.SQL("{} IS NULL").format(now), Difference.NULLED),
        _when(sql.SQL("{} IS NULL").format(was), Difference.FILLED),
        *_telling(was, now, as_text, old, new),
    ]
    return sql.SQL("CASE {} ELSE {} END").format(
        sql.SQL(" ").join(branches), sql.Literal(Difference.CHANGED.value)
    )


def _when(test: sql.Composable, kind: Difference | str) -> sql.Composed:
    label = sql.Literal(kind.value) if isinstance(kind, Difference) else sql.SQL("NULL")
    return sql.SQL("WHEN {} THEN {}").format(test, label)


def _telling(
    was: sql.Composable, now: sql.Composable, as_text: sql.Composable, old: Cell, new: Cell
) -> list[sql.Composed]:
    """What can be told of two values of like types that differ."""
    if old.type in _TEXTS and new.type in _TEXTS:
        cut = sql.SQL(
            "pg_catalog.length({text}) < pg_catalog.length({was}) "
            "AND pg_catalog.starts_with({was}, pg_catalog.rtrim({text}))"
        )
        recoded = _RECODED.format(text=as_text, was=was)
        return [_when(cut.format(text=as_text, was=was), Difference.CUT), _when(recoded, Difference.RECODED)]
    if old.type in _TEXTS and new.type == "bytea":
        return [_when(_BYTES_OF.format(was, now), Difference.RECODED)]
    if old.type == "bytea" and new.type in _TEXTS:
        return [_when(_BYTES_OF.format(as_text, sql.SQL("{}::bytea").format(was)), Difference.RECODED)]
    if old.type in _NUMBERS and new.type in _NUMBERS:
        near = sql.SQL(
            "pg_catalog.abs({was}::numeric - {now}::numeric) < "
            "greatest(1, pg_catalog.abs({was}::numeric) * 0.000001)"
        )
        return [_when(near.format(was=was, now=now), Difference.ROUNDED)]
    if old.type in _TIMES and new.type in _TIMES:
        apart = sql.SQL("extract(epoch FROM {}::timestamptz - {}::timestamptz)").format(now, was)
        limit = _DAY_S if new.type == "date" else 1
        return [
            _when(sql.SQL("pg_catalog.abs({}) < {}").format(apart, sql.Literal(limit)), Difference.ROUNDED),
            _when(
                sql.SQL(
                    "pg_catalog.mod({apart}, {quarter}) = 0 AND pg_catalog.abs({apart}) <= {most}"
                ).format(apart=apart, quarter=sql.Literal(_QUARTER_S), most=sql.Literal(_FARTHEST_S)),
                Difference.SHIFTED,
            ),
        ]
    return []
