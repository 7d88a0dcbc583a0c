"""What stands in an existing database and who uses it: asked before anything in it may be destroyed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

# The comment on a database, or the schema in it, by which its owner says that it is for rehearsals.
MARKER_COMMENT = "rehearse: disposable"
MARKER_SCHEMA = "rehearse_marker"

_FACTS = """
SELECT
  pg_catalog.pg_is_in_recovery(),
  (SELECT count(*) FROM pg_catalog.pg_stat_replication),
  (SELECT count(*) FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
      AND backend_type = 'client backend'),
  (SELECT count(*) FROM pg_catalog.pg_stat_activity
    WHERE datname <> pg_catalog.current_database() AND backend_type = 'client backend'),
  pg_catalog.shobj_description(d.oid, 'pg_database'),
  pg_catalog.to_regnamespace(%(schema)s) IS NOT NULL,
  r.rolsuper, r.rolsuper OR r.rolcreatedb
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user
"""

# Anything a person put there: relations, functions, types outside the system's schemas that do not come
# with an extension, and large objects.
_CONTENTS = """
WITH own AS (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
), things AS (
  SELECT 'pg_catalog.pg_class'::regclass AS class, oid
  FROM pg_catalog.pg_class WHERE relnamespace IN (TABLE own)
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE pronamespace IN (TABLE own)
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type WHERE typnamespace IN (TABLE own)
)
SELECT (SELECT count(*) FROM things t WHERE NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = t.class AND d.objid = t.oid AND d.deptype = 'e'))
     + (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)
"""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What was found. Session counts leave ours out."""

    in_recovery: bool
    standbys: int
    sessions_here: int
    sessions_elsewhere: int
    marked: bool
    objects: int
    superuser: bool
    may_create_databases: bool


def read_state(connection: psycopg.Connection[Any]) -> DatabaseState:
    """The state of the database that `connection` is on."""
    row = connection.execute(_FACTS, {"schema": MARKER_SCHEMA}).fetchone()
    contents = connection.execute(_CONTENTS, {}).fetchone()
    assert row is not None
    assert contents is not None
    return DatabaseState(
        in_recovery=row[0],
        standbys=row[1],
        sessions_here=row[2],
        sessions_elsewhere=row[3],
        marked=row[4] == MARKER_COMMENT or row[5],
        objects=contents[0],
        superuser=row[6],
        may_create_databases=row[7],
    )


def mark(connection: psycopg.Connection[Any]) -> None:
    """Put the marker on the database that `connection` is on."""
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(MARKER_COMMENT)))


Guard = tuple[str, Callable[[DatabaseState], bool], str]

# Name, whether it is passed, and what is wrong where it is not. The first that fails is reported.
GUARDS: tuple[Guard, ...] = (
    ("not-in-recovery", lambda s: not s.in_recovery, "the server is a standby, in recovery"),
    ("no-standbys", lambda s: s.standbys == 0, "the server is a primary that others replicate from"),
    ("no-sessions", lambda s: s.sessions_here == 0, "other sessions are connected to it"),
    (
        "empty-or-marked",
        lambda s: s.marked or s.objects == 0,
        "it is not empty and does not carry the marker of a rehearsal database",
    ),
)


def failed_guard(state: DatabaseState) -> Guard | None:
    """The first guard that `state` does not pass. Pure."""
    return next((guard for guard in GUARDS if not guard[1](state)), None)
