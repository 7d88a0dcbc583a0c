"""What a change of type does to values that do not fit the new one: tried on a few rows of a temporary table.

Rows are generated so that the migration can succeed, and so a cast that cuts finds nothing to cut. Here it
does: a few rows are copied, given a value that the old type takes and the new one may not, and the same
action is run on them. Where it succeeds and the value is a lesser one, production's would change unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.content import Connection, one_row
from rehearse.engines.postgres.lexer import tokens
from rehearse.model.relation import Relation
from rehearse.model.schema import DataType
from rehearse.model.trials import Difference

_ROWS = 5
_TEXTS = frozenset({"text", "varchar", "bpchar", "citext"})
_NUMBERS = frozenset({"numeric", "float4", "float8"})
_TIMES = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_LESSER = {
    Difference.CUT: _TEXTS,
    Difference.ROUNDED: _NUMBERS | _TIMES | {"int2", "int4", "int8", "date"},
}
_DIGITS = "456789123456789123"
_LONG = 400
_TYPE_OF = """
SELECT t.typname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::pg_catalog.regclass AND a.attname = %s
"""


@dataclass(frozen=True, slots=True)
class Retyping:
    """`action` is what follows ALTER TABLE and the table's name; it changes the type of `column`."""

    table: Relation
    column: str
    type: DataType
    action: str


def misfit_of(kind: DataType) -> tuple[str, Difference] | None:
    """A value of `kind`, as text, that makes use of all that it has room for, and how it would differ where
    it loses some of that. None where no such value is known.
    """
    if kind.name in _TEXTS - {"bpchar"}:
        return "x" * min(kind.length or _LONG, _LONG), Difference.CUT
    if kind.name in _NUMBERS:
        digits = 3 if kind.name == "float4" else min(6 if kind.scale is None else kind.scale, len(_DIGITS))
        return (f"0.{_DIGITS[:digits]}", Difference.ROUNDED) if digits > 0 else None
    if kind.name in _TIMES:
        day = "2024-05-06 " if kind.name.startswith("timestamp") else ""
        return f"{day}07:08:09.654321", Difference.ROUNDED
    return None


def changed_silently(connection: Connection, retyping: Retyping) -> Difference | None:
    """How the action changes a value that does not fit, where it does so without an error; else None.

    Nothing of it stays. The session must be one that nobody else's work depends on.
    """
    misfit = misfit_of(retyping.type)
    if misfit is None:
        return None
    value, difference = misfit
    try:
        with connection.transaction(force_rollback=True):
            return difference if _differs_after(connection, retyping, value, difference) else None
    except psycopg.Error:  # it is refused, so that nothing is changed; or it cannot be tried by itself
        return None


def type_actions(text: str) -> Iterator[str]:
    """The actions of an ALTER TABLE that change the type of a column, as they are written."""
    found = significant(list(tokens(text)))
    words = [token.upper for token in found]
    if words[:2] != ["ALTER", "TABLE"]:
        return
    depth, start = 0, None
    for place, token in enumerate(found):
        depth += token.nesting
        if start is None and words[place] == "ALTER" and place > 1:
            start = token.start
        if depth == 0 and token.text in {",", ";"} and start is not None:
            yield from _if_typed(text[start : token.start])
            start = None
    if start is not None:
        yield from _if_typed(text[start:])


def _if_typed(action: str) -> Iterator[str]:
    if "TYPE" in [token.upper for token in significant(list(tokens(action)))]:
        yield action


def _differs_after(connection: Connection, retyping: Retyping, value: str, kind: Difference) -> bool:
    name = retyping.table.name
    temporary, column = sql.Identifier("pg_temp", name), sql.Identifier(retyping.column)
    table = sql.Identifier(retyping.table.schema, name)
    connection.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1")
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {})").format(sql.Identifier(name), table))
    connection.execute(
        sql.SQL("INSERT INTO {} SELECT * FROM {} LIMIT {}").format(temporary, table, sql.Literal(_ROWS))
    )
    connection.execute(sql.SQL("UPDATE {} SET {} = {}").format(temporary, column, sql.Literal(value)))
    was = _first(connection, temporary, sql.SQL("{}::text").format(column))
    # the user's own action, sent as it stands: it is a program, not composed from values
    connection.execute(sql.SQL("ALTER TABLE {} {}").format(temporary, sql.SQL(retyping.action)))
    quoted = temporary.as_string(connection)
    if one_row(connection, sql.SQL(_TYPE_OF), (quoted, retyping.column))[0] not in _LESSER[kind]:
        return False
    back = sql.SQL("{}::{}::text").format(column, sql.SQL(retyping.type.sql))
    now = _first(connection, temporary, back)
    return was is not None and now is not None and _is_lesser(kind, was, now, retyping.type)


def _is_lesser(kind: Difference, was: str, now: str, old: DataType) -> bool:
    """Whether `now` is what is left of `was`: cut, or near it."""
    if was == now:
        return False
    if kind is Difference.CUT:
        return was.startswith(now.rstrip())
    if old.name in _NUMBERS:
        return abs(float(was) - float(now)) <= 1
    whole = 8 if old.name.startswith("time") and not old.name.startswith("timestamp") else 10
    return was[:whole] == now[:whole]  # the time but for the fractions of its seconds, or the day


def _first(connection: Connection, table: sql.Identifier, expression: sql.Composed) -> str | None:
    value = one_row(connection, sql.SQL("SELECT min({}) FROM {}").format(expression, table))[0]
    return None if value is None else str(value)
