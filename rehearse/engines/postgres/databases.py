"""Whole databases on a server: created empty or as a copy, and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.engines.names import MADE_BY_A_RUN as MADE_BY_A_RUN  # noqa: PLC0414 - a database's comment
from rehearse.engines.names import RUN_DATABASES as RUN_DATABASES  # noqa: PLC0414 - whose databases they are
from rehearse.engines.postgres.connect import connect
from rehearse.errors import EnvironmentFailure
from rehearse.model.target import Target

# The first versions that know STRATEGY and file_copy_method; before STRATEGY, every copy was a file copy.
_HAS_STRATEGY = 150000
_HAS_COPY_METHOD = 180000

# which of the two it was, the server does not say
_CLONE = "clone, or a copy by the kernel where the file system cannot clone"

_RUN_DATABASES = """
SELECT datname, marked, (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)
FROM (SELECT oid, datname,
        coalesce(pg_catalog.shobj_description(oid, 'pg_database') = %(made)s, false) AS marked
      FROM pg_catalog.pg_database) d
WHERE marked OR datname = ANY (%(names)s)
ORDER BY datname
"""

_Connection = psycopg.Connection[tuple[Any, ...]]


def create_database(server: Target, name: str, template: str | None = None) -> str:
    """Create database `name` on the server, empty or as a copy of `template`; says how it was made.

    Nobody may be connected to `template`: the server waits up to 5 s for sessions there to end. Files are
    copied rather than logged block by block, because that is faster and leaves the log to the migration.
    The database carries the comment MADE_BY_A_RUN.
    EnvironmentFailure if the server refuses (disk full, no CREATEDB, name taken).
    """
    with connect(server, "rehearse") as connection:
        if template is None:
            _execute(connection, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(_id(name)), name)
            made = "empty"
        else:
            made = _copy(connection, name, template)
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(_id(name), sql.Literal(MADE_BY_A_RUN))
        _execute(connection, comment, name)
        return made


def drop_database(server: Target, name: str) -> None:
    """Drop database `name` if it is there, and end the sessions on it."""
    with connect(server, "rehearse") as connection:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_id(name))
        _execute(connection, statement, name)


@dataclass(frozen=True, slots=True)
class RunDatabase:
    """A database on a server that has a name or the comment of those that runs make."""

    name: str
    made_by_a_run: bool
    sessions: int


def run_databases(connection: _Connection) -> tuple[RunDatabase, ...]:
    """Those on the server: every one with our comment, and those with the names that a run needs."""
    rows = connection.execute(
        _RUN_DATABASES, {"names": list(RUN_DATABASES), "made": MADE_BY_A_RUN}
    ).fetchall()
    return tuple(RunDatabase(*row) for row in rows)


def drop_unused(connection: _Connection, name: str) -> None:
    """Drop database `name`; EnvironmentFailure if a session is on it."""
    _execute(connection, sql.SQL("DROP DATABASE IF EXISTS {}").format(_id(name)), name)


def _copy(connection: _Connection, name: str, template: str) -> str:
    version = connection.info.server_version
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(_id(name), _id(template))
    if version < _HAS_STRATEGY:
        _execute(connection, copy, name)
        return "file copy"
    copy += sql.SQL(" STRATEGY file_copy")
    if version >= _HAS_COPY_METHOD and _clone(connection, copy):
        return _CLONE
    _execute(connection, copy, name)
    return "file copy"


def _clone(connection: _Connection, copy: sql.Composed) -> bool:
    """Whether the copy succeeded by cloning: shared blocks where the file system has reflinks, else a copy
    inside the kernel. False, with nothing left behind, where the platform or file system takes neither.
    """
    try:
        connection.execute("SET file_copy_method = clone")
        connection.execute(copy)
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.SystemError, psycopg.errors.IoError):
        connection.execute("RESET file_copy_method")
        return False
    return True


def _execute(connection: _Connection, statement: sql.Composed, name: str) -> None:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        user = connection.info.user
        raise EnvironmentFailure(
            f"user {user!r} may not create or drop database {name!r} on this server",
            f"grant it: ALTER ROLE {user} CREATEDB",
        ) from error
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error).strip()
        raise EnvironmentFailure(f"database {name!r}: {message}") from error


def _id(name: str) -> sql.Identifier:
    return sql.Identifier(name)
