"""Disk space that a database uses, temporary files included."""

from __future__ import annotations

from typing import Any

import psycopg

_DATABASE = "SELECT pg_catalog.pg_database_size(%s)"
_TEMPORARY = "SELECT coalesce(sum(size), 0)::bigint FROM pg_catalog.pg_ls_tmpdir()"

_Connection = psycopg.Connection[tuple[Any, ...]]


def may_see_temporary_files(connection: _Connection) -> bool:
    """Whether the server shows them to this user (pg_monitor)."""
    try:
        connection.execute(_TEMPORARY)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def used_bytes(connection: _Connection, dbname: str, *, temporary: bool) -> int:
    """The database's files at this moment, and if `temporary` those that sorts and hashes of the whole server
    have spilled.
    """
    row = connection.execute(_DATABASE, (dbname,)).fetchone()
    assert row is not None
    spilled = connection.execute(_TEMPORARY).fetchone() if temporary else None
    return int(row[0]) + (int(spilled[0]) if spilled else 0)
