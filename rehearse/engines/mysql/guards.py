"""What stands in an existing database and who uses it: asked before anything in it may be destroyed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pymysql

from rehearse.engines.mysql.connect import Connection, fetch
from rehearse.engines.mysql.databases import MARKER_TABLE
from rehearse.engines.mysql.server_facts import server_version
from rehearse.engines.names import MARKER_COMMENT
from rehearse.model.target import EngineName

# Databases that come with a server, under these names on somebody's cloud too.
_OF_THE_SERVER = (
    "mysql",
    "information_schema",
    "performance_schema",
    "sys",
    "ndbinfo",
    "innodb",
    "rdsadmin",
    "cloudsqladmin",
    "azure_maintenance",
    "tmp",
)

# Whoever may not see other users' sessions is shown none of them; whoever may, has one of these rights.
_SEES_SESSIONS = """
SELECT count(*) FROM information_schema.user_privileges WHERE privilege_type IN ('PROCESS', 'SUPER')
"""
_SESSIONS = """
SELECT coalesce(sum(command LIKE 'Binlog Dump%%'), 0),
  coalesce(sum(db = database() AND id <> connection_id()), 0),
  coalesce(sum(db IS NOT NULL AND db <> database() AND command <> 'Daemon'), 0)
FROM information_schema.processlist
"""
_CONTENTS = """
SELECT (SELECT count(*) FROM information_schema.tables
        WHERE table_schema = database() AND table_name <> %(marker)s)
  + (SELECT count(*) FROM information_schema.routines WHERE routine_schema = database())
  + (SELECT count(*) FROM information_schema.events WHERE event_schema = database())
"""
_MARKED = """
SELECT count(*) FROM information_schema.tables
WHERE table_schema = database() AND table_name = %(marker)s AND table_comment = %(comment)s
"""
_GROUP = "SELECT count(*) FROM performance_schema.replication_group_members WHERE member_id <> ''"
# How InnoDB's status heads a transaction, what follows the last one, and what stands for those left out.
_TRANSACTION, _NEXT_SECTION, _CUT_SHORT = "\n---TRANSACTION ", "\nFILE I/O\n", "... truncated..."


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What was found. Session counts leave ours out. `sees_all`: the user may look at all of it."""

    sees_all: bool
    replica: bool
    read_only: bool
    replicas: int
    clustered: bool
    prepared: int
    sessions_here: int
    sessions_elsewhere: int
    marked: bool
    objects: int
    of_the_server: bool = False


def read_state(connection: Connection, dbname: str) -> DatabaseState:
    """The state of the database `dbname` that `connection` is on."""
    mariadb = server_version(connection).engine is EngineName.MARIADB
    # of one who may not ask nothing is known, and nothing is what it must not be taken for
    replica = _asked(connection, "SHOW ALL SLAVES STATUS" if mariadb else "SHOW REPLICA STATUS")
    if replica is None and not mariadb:  # before 8.0.22
        replica = _asked(connection, "SHOW SLAVE STATUS")
    prepared = _prepared(connection)
    sees = _number(connection, _SEES_SESSIONS) > 0
    replicas, here, elsewhere = (int(str(value)) for value in fetch(connection, _SESSIONS)[0])
    marker = {"marker": MARKER_TABLE, "comment": MARKER_COMMENT}
    return DatabaseState(
        sees_all=sees and replica is not None and prepared is not None,
        replica=bool(replica),
        read_only=str(fetch(connection, "SELECT @@GLOBAL.read_only")[0][0]) not in ("0", "OFF"),
        replicas=replicas,
        clustered=_clustered(connection, mariadb=mariadb),
        prepared=prepared or 0,
        sessions_here=here,
        sessions_elsewhere=elsewhere,
        marked=_number(connection, _MARKED, marker) > 0,
        objects=_number(connection, _CONTENTS, {"marker": MARKER_TABLE}),
        of_the_server=dbname.lower() in _OF_THE_SERVER,
    )


def _clustered(connection: Connection, *, mariadb: bool) -> bool:
    if mariadb:
        rows = _asked(connection, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'") or []
        return any(str(value).upper() == "ON" for _, value in rows)
    members = _asked(connection, _GROUP)
    return members is not None and int(str(members[0][0])) > 0


def _prepared(connection: Connection) -> int | None:
    """How many XA transactions are prepared at this moment; None where the user may not ask.

    `information_schema.innodb_trx` is no answer: it shows an old state for as long as anybody reads it more
    often than every 0.1 s.
    """
    listed = _asked(connection, "XA RECOVER")
    if listed is not None:
        return len(listed)
    # MySQL has a privilege for that list alone, which managed servers rarely give
    status = _asked(connection, "SHOW ENGINE INNODB STATUS")
    return None if status is None else prepared_in(str(status[0][2]))


def prepared_in(status: str) -> int | None:
    """Prepared transactions that no session has, in InnoDB's status; None if not all are in it. Pure.

    One that a session has may be an ordinary commit under way.
    """
    if _CUT_SHORT in status:
        return None
    blocks = status.partition(_NEXT_SECTION)[0].split(_TRANSACTION)[1:]
    parts = (block.partition("\n") for block in blocks)
    return sum("ACTIVE (PREPARED)" in head and " thread id " not in rest for head, _, rest in parts)


def _asked(connection: Connection, query: str) -> list[tuple[object, ...]] | None:
    """Its rows, None where the user may not ask."""
    try:
        return fetch(connection, query)
    except pymysql.MySQLError:
        return None


def _number(connection: Connection, query: str, words: Mapping[str, object] | None = None) -> int:
    return int(str(fetch(connection, query, words or {})[0][0]))


Guard = tuple[str, Callable[[DatabaseState], bool], str]

# Name, whether it is passed, and what is wrong where it is not. The first that fails is reported.
GUARDS: tuple[Guard, ...] = (
    (
        "sees-everything",
        lambda s: s.sees_all,
        "the user may see neither others' sessions nor replication",
    ),
    ("not-in-recovery", lambda s: not (s.replica or s.read_only), "the server is a replica, or read-only"),
    ("no-standbys", lambda s: s.replicas == 0, "the server is a source that others replicate from"),
    ("no-cluster", lambda s: not s.clustered, "the server is a member of a cluster"),
    ("not-the-servers-own", lambda s: not s.of_the_server, "it comes with the server"),
    (
        "no-prepared",
        lambda s: s.prepared == 0,
        "the server holds prepared transactions (XA), which somebody will finish",
    ),
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
