"""What a PostgreSQL server says of itself, for the record of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

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
