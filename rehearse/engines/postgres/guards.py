"""What stands in an existing database and who uses it: asked before anything in it may be destroyed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.engines.names import MARKER_COMMENT as MARKER_COMMENT  # noqa: PLC0414 - a database's comment

# Beside the comment, a schema in a database by which its owner says that it is for rehearsals.
MARKER_SCHEMA = "rehearse_marker"

# Databases that come with a server, under these names on somebody's cloud too.
_OF_THE_SERVER = (
    "postgres",
    "template0",
    "template1",
    "rdsadmin",
    "cloudsqladmin",
    "alloydbadmin",
    "azure_maintenance",
    "azure_sys",
)

# Of others' sessions a modest user is not told the type, only whose they are; the server's own are nobody's.
_FACTS = """
WITH sessions AS (
  SELECT datname FROM pg_catalog.pg_stat_activity
  WHERE pid <> pg_catalog.pg_backend_pid()
    AND (backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL)
)
SELECT
  pg_catalog.pg_is_in_recovery(),
  (SELECT count(*) FROM pg_catalog.pg_stat_replication),
  (SELECT count(*) FROM sessions WHERE datname = pg_catalog.current_database()),
  (SELECT count(*) FROM sessions WHERE datname <> pg_catalog.current_database()),
  (SELECT count(*) FROM pg_catalog.pg_replication_slots),
  (SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()),
  d.datistemplate,
  pg_catalog.shobj_description(d.oid, 'pg_database'),
  pg_catalog.to_regnamespace(%(schema)s) IS NOT NULL,
  r.rolsuper, r.rolsuper OR r.rolcreatedb
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user
"""

# Anything a person put there: relations, functions, types outside the system's schemas, and what has no
# schema, unless they come with an extension; and large objects.
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
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_server'::regclass, oid FROM pg_catalog.pg_foreign_server
  UNION ALL
  SELECT 'pg_catalog.pg_event_trigger'::regclass, oid FROM pg_catalog.pg_event_trigger
  UNION ALL
  SELECT 'pg_catalog.pg_publication'::regclass, oid FROM pg_catalog.pg_publication
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
    slots: int = 0
    prepared: int = 0
    of_the_server: bool = False


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
        slots=row[4],
        prepared=row[5],
        of_the_server=row[6] or connection.info.dbname in _OF_THE_SERVER,
        marked=row[7] == MARKER_COMMENT or row[8],
        objects=contents[0],
        superuser=row[9],
        may_create_databases=row[10],
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
    ("no-slots", lambda s: s.slots == 0, "the server keeps its log in a replication slot, for somebody"),
    ("not-the-servers-own", lambda s: not s.of_the_server, "it comes with the server, or is a template"),
    ("no-prepared", lambda s: s.prepared == 0, "it holds prepared transactions, which somebody will finish"),
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
