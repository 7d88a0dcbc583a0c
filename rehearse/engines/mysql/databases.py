"""Whole databases on a MySQL or MariaDB server: created empty or as a copy, and dropped."""

from __future__ import annotations

from dataclasses import dataclass

import pymysql

from rehearse.engines.mysql.connect import Connection, code, connect, execute, fetch, identifier, message
from rehearse.engines.names import MADE_BY_A_RUN, RUN_DATABASES
from rehearse.errors import EnvironmentFailure
from rehearse.model.target import Target

# Databases have no comments: an empty table in them has one.
MARKER_TABLE = "rehearse_marker"

_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = %(name)s AND table_type = 'BASE TABLE' AND table_name <> %(marker)s ORDER BY table_name
"""
_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = %(name)s AND table_name = %(table)s AND coalesce(generation_expression, '') = ''
ORDER BY ordinal_position
"""
_VIEWS = "SELECT table_name FROM information_schema.views WHERE table_schema = %(name)s ORDER BY table_name"
_ROUTINES = """
SELECT routine_type, routine_name FROM information_schema.routines
WHERE routine_schema = %(name)s AND routine_type IN ('FUNCTION', 'PROCEDURE') ORDER BY 1, 2
"""
_TRIGGERS = """
SELECT trigger_name FROM information_schema.triggers
WHERE trigger_schema = %(name)s ORDER BY event_object_table, action_order
"""
_RUN_DATABASES = """
SELECT s.schema_name, coalesce(t.table_comment, '') = %(made)s,
  (SELECT count(*) FROM information_schema.processlist p WHERE p.db = s.schema_name)
FROM information_schema.schemata s
LEFT JOIN information_schema.tables t ON t.table_schema = s.schema_name AND t.table_name = %(marker)s
WHERE s.schema_name IN %(names)s OR t.table_comment = %(made)s
ORDER BY s.schema_name
"""
_DENIED = (1044, 1045, 1142, 1227)
_VIEW_NEEDS_VIEW = 1146
_AFTER_MODE = 2  # the column of a stored program's text: before it stands the sql_mode that it was made in


@dataclass(frozen=True, slots=True)
class RunDatabase:
    """A database on a server that has a name or the marker of those that runs make."""

    name: str
    made_by_a_run: bool
    sessions: int


def create_database(server: Target, name: str, template: str | None = None) -> str:
    """Create database `name` on the server, empty or as a copy of `template`; says how it was made.

    There are no templates here: tables are created as `SHOW CREATE` prints them and filled by
    INSERT ... SELECT, then come views, routines and triggers; events do not come. The
    database carries a marker, MADE_BY_A_RUN.
    EnvironmentFailure if the server refuses (disk full, no right to, name taken).
    """
    with connect(server.on(""), "rehearse") as connection:
        try:
            execute(connection, f"CREATE DATABASE {identifier(name)}{_character_set(connection, template)}")
            mark(connection, name, MADE_BY_A_RUN)
            if template is None:
                return "empty"
            _copy(connection, template, name)
        except pymysql.MySQLError as error:
            raise _failure(server, name, error) from error
    return "table by table"


def drop_database(server: Target, name: str) -> None:
    """Drop database `name` if it is there, and end the sessions on it."""
    with connect(server.on(""), "rehearse") as connection:
        sessions = fetch(
            connection, "SELECT id FROM information_schema.processlist WHERE db = %(name)s", {"name": name}
        )
        for (session,) in sessions:
            _kill(connection, session)
        try:
            execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)}")
        except pymysql.MySQLError as error:
            raise _failure(server, name, error) from error


def mark(connection: Connection, name: str, comment: str) -> None:
    """Put a marker on database `name`, in place of an earlier one."""
    table = f"{identifier(name)}.{identifier(MARKER_TABLE)}"
    execute(connection, f"CREATE TABLE IF NOT EXISTS {table} (marker int PRIMARY KEY)")
    execute(connection, f"ALTER TABLE {table} COMMENT %(comment)s", {"comment": comment})


def run_databases(connection: Connection) -> tuple[RunDatabase, ...]:
    """Those on the server: every one with our marker, and those with the names that a run needs."""
    words = {"names": RUN_DATABASES, "made": MADE_BY_A_RUN, "marker": MARKER_TABLE}
    rows = fetch(connection, _RUN_DATABASES, words)
    return tuple(RunDatabase(str(name), bool(made), int(str(sessions))) for name, made, sessions in rows)


def drop_unused(connection: Connection, name: str) -> None:
    """Drop database `name`; EnvironmentFailure if the server refuses."""
    try:
        execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)}")
    except pymysql.MySQLError as error:
        raise EnvironmentFailure(f"database {name!r}: {message(error)}") from error


def _character_set(connection: Connection, template: str | None) -> str:
    """The same character set and collation as the template's."""
    rows = fetch(
        connection,
        "SELECT default_character_set_name, default_collation_name"
        " FROM information_schema.schemata WHERE schema_name = %(name)s",
        {"name": template},
    )
    return "".join(f" CHARACTER SET {characters} COLLATE {collation}" for characters, collation in rows)


def _copy(connection: Connection, template: str, name: str) -> None:
    # a value of 0, a date of zeros and a foreign key to a table that comes later are copied as they are
    execute(
        connection,
        "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    )
    tables = [str(row[0]) for row in fetch(connection, _TABLES, {"name": template, "marker": MARKER_TABLE})]
    for table in tables:
        _run_there(connection, template, name, f"SHOW CREATE TABLE {identifier(table)}", 1)
    for table in tables:
        names = [str(row[0]) for row in fetch(connection, _COLUMNS, {"name": template, "table": table})]
        listed = ", ".join(map(identifier, names))
        there, here = f"{identifier(template)}.{identifier(table)}", f"{identifier(name)}.{identifier(table)}"
        execute(connection, f"INSERT INTO {here} ({listed}) SELECT {listed} FROM {there}")  # noqa: S608 - identifiers are quoted
    for kind, routine in fetch(connection, _ROUTINES, {"name": template}):
        _run_there(connection, template, name, f"SHOW CREATE {kind} {identifier(str(routine))}", _AFTER_MODE)
    _copy_views(connection, template, name)
    for (trigger,) in fetch(connection, _TRIGGERS, {"name": template}):
        _run_there(connection, template, name, f"SHOW CREATE TRIGGER {identifier(str(trigger))}", _AFTER_MODE)


def _copy_views(connection: Connection, template: str, name: str) -> None:
    """Again and again, as long as one is left that another one was missing for."""
    left = [str(row[0]) for row in fetch(connection, _VIEWS, {"name": template})]
    while left:
        missing = []
        for view in left:
            try:
                _run_there(connection, template, name, f"SHOW CREATE VIEW {identifier(view)}", 1)
            except pymysql.MySQLError as error:
                if code(error) != _VIEW_NEEDS_VIEW:
                    raise
                missing.append(view)
        if len(missing) == len(left):
            raise EnvironmentFailure(f"view {missing[0]!r} cannot be copied: it needs what is not there")
        left = missing


def _run_there(connection: Connection, template: str, name: str, show: str, column: int) -> None:
    """Run in `name` the statement that `show` gives in `template`. What stands in the current database is
    printed without its name.
    """
    connection.select_db(template)
    row = fetch(connection, show)[0]
    connection.select_db(name)
    if column == _AFTER_MODE:
        execute(connection, "SET SESSION sql_mode = %(mode)s", {"mode": row[1]})
    execute(connection, str(row[column]))


def _kill(connection: Connection, session: object) -> None:
    try:
        execute(connection, "KILL %(session)s", {"session": session})
    except pymysql.MySQLError:  # it has just ended
        return


def _failure(server: Target, name: str, error: pymysql.MySQLError) -> EnvironmentFailure:
    if code(error) in _DENIED:
        return EnvironmentFailure(
            f"user {server.user!r} may not create, fill or drop database {name!r} on this server",
            f"grant it: GRANT ALL ON *.* TO '{server.user}'",
        )
    return EnvironmentFailure(f"database {name!r}: {message(error)}")
