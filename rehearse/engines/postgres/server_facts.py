"""What a PostgreSQL server says of itself, for the record of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.errors import EnvironmentFailure

# Settings by which the server behaves differently from a freshly installed one. Not those that say where
# it is, nor those in which people keep passwords or commands.
_CHANGED = """
SELECT name, current_setting(name)
FROM pg_catalog.pg_settings
WHERE source IN ('configuration file', 'command line', 'global', 'database', 'user', 'database user')
  AND setting IS DISTINCT FROM boot_val
  AND context <> 'internal'
  AND category <> 'Customized Options'
  AND category NOT LIKE 'File Locations%'
  AND category NOT LIKE 'Connections and Authentication / %SSL%'
  AND category NOT LIKE 'Connections and Authentication / Authentication%'
  AND name !~ '(conninfo|command|passphrase|_file|director|_names?$)'
  AND name !~ '^(listen_|unix_|port$|bonjour|krb_|lc_)'
ORDER BY name
"""


def server_version(connection: psycopg.Connection[Any]) -> str:
    """The version as a person says it, `18.1`, without the distribution's additions."""
    row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return str(row[0]).split()[0]


def changed_settings(
    connection: psycopg.Connection[Any], *, but: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Names and values of settings that differ from what the server ships with, except those in `but`."""
    rows = connection.execute(_CHANGED).fetchall()
    return tuple((name, value) for name, value in rows if name not in but)


_SETTINGS = """
SELECT lower(name), setting, coalesce(unit, ''), category, context, vartype = 'string'
FROM pg_catalog.pg_settings
"""

_LIBRARY = """
SELECT (pg_catalog.pg_stat_file(setting || '/' || %s || '.so', true)).size IS NOT NULL
FROM pg_catalog.pg_config WHERE name = 'PKGLIBDIR'
"""


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """A setting that a server knows, as it stands there: `value` in `unit`s where it has one."""

    value: str
    unit: str
    category: str
    internal: bool = False
    text: bool = False


def known_settings(connection: psycopg.Connection[Any]) -> dict[str, KnownSetting]:
    """Every setting of the server, by its name in lower case."""
    rows = connection.execute(_SETTINGS).fetchall()
    return {
        name: KnownSetting(value or "", unit, category, context == "internal", text)
        for name, value, unit, category, context, text in rows
    }


def refusals(connection: psycopg.Connection[Any], settings: Mapping[str, str]) -> dict[str, str]:
    """Which of these settings the server would not take from its configuration file, and what it says.

    Each is written to the server's own file and all are taken out of it again. Needs a superuser.
    """
    refused = {}
    try:
        for name, value in settings.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(_dotted(name), _literal(name, value))
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                refused[name] = error.diag.message_primary or type(error).__name__
    finally:
        connection.execute("ALTER SYSTEM RESET ALL")
    return refused


def has_library(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether the server could load the module `name` (`pg_stat_statements`). Needs a superuser."""
    row = connection.execute(_LIBRARY, (name.removesuffix(".so").removeprefix("$libdir/"),)).fetchone()
    return row is not None and bool(row[0])


def available_extensions(connection: psycopg.Connection[Any]) -> frozenset[str]:
    """The extensions that can be created on the server."""
    return frozenset(row[0] for row in connection.execute("SELECT name FROM pg_available_extensions"))


def create_extensions(connection: psycopg.Connection[Any], names: Sequence[str]) -> None:
    """Create extensions, and those that they need. EnvironmentFailure, with the server's reason."""
    for name in names:
        statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(name))
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            raise EnvironmentFailure(
                f"extension {name!r} could not be created: {error.diag.message_primary}"
            ) from error


def _dotted(name: str) -> sql.Composed:
    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def _literal(name: str, value: str) -> sql.Composable:
    """A list of names is one literal an element to ALTER SYSTEM, and one text in the configuration file."""
    if name.endswith("_libraries") or name in ("search_path", "temp_tablespaces", "datestyle"):
        elements = [word.strip().strip('"') for word in value.split(",")]
        return sql.SQL(", ").join(sql.Literal(word) for word in elements)
    return sql.Literal(value)
