"""Who waits for whom on a PostgreSQL server (14 or newer) at one moment, and what state the server is in.

Both questions are asked of functions that read shared memory (`pg_lock_status`, `pg_stat_get_activity`),
not of the views over them, which open catalogs: a migration that locks one of those (VACUUM FULL) would
make the observer wait, too. Only the names of relations come from the catalog, and only while somebody waits.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from rehearse.engines.postgres.progress import PROGRESS, Progress, progress_of
from rehearse.errors import EnvironmentFailure
from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation

OLDEST_VERSION = 140000  # pg_locks.waitstart came with it
NAMES_KEPT_NS = 2_000_000_000

# The clock is statement_timestamp(): the server reads it as it starts to execute, so before the locks are
# read. A wait that is among them has then lasted at least from its waitstart to that time.
_TREE = """
WITH lock AS MATERIALIZED (
    SELECT pid, locktype, mode, granted, database, relation, page, tuple, virtualxid, transactionid,
           classid, objid, objsubid, waitstart
      FROM pg_lock_status()
     WHERE mode <> 'SIReadLock'
), keyed AS MATERIALIZED (
    SELECT pid, locktype, mode, granted, relation, waitstart,
           concat_ws('/', locktype, database, relation, page, tuple, virtualxid, transactionid,
                     classid, objid, objsubid) AS object
      FROM lock
     WHERE EXISTS (SELECT FROM lock WHERE NOT granted)
), session AS MATERIALIZED (
    SELECT pid, datid, application_name, query, backend_type, state
      FROM pg_stat_get_activity(NULL)
     WHERE EXISTS (SELECT FROM lock WHERE NOT granted)
)
SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS clock_us,
       coalesce(l.pid, 0) AS pid, l.locktype, l.mode, l.granted, l.relation::bigint AS relation, l.object,
       (extract(epoch FROM l.waitstart) * 1000000)::bigint AS since_us,
       CASE WHEN NOT l.granted AND s.datid = %(database)s THEN pg_blocking_pids(l.pid) END AS blockers,
       coalesce(s.application_name, '') AS application_name, coalesce(s.query, '') AS query,
       coalesce(s.backend_type, '') AS backend_type, coalesce(s.state, '') AS state
  FROM keyed AS l LEFT JOIN session AS s USING (pid)
 WHERE l.object IN (SELECT object FROM keyed WHERE NOT granted)
    OR (l.locktype IN ('relation', 'tuple') AND l.mode <> 'AccessShareLock'
        AND l.pid IN (SELECT pid FROM keyed WHERE NOT granted AND locktype = 'transactionid'))
"""

_NAMES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind IN ('r', 'p', 'm')
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s::oid[])
"""

_STATE = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
       count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE wait_event_type = 'Lock'),
       (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint
          FROM pg_get_replication_slots()),
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint,
       count(*) FILTER (WHERE lower(wait_event) IN ('walsync', 'walwrite'))
  FROM pg_stat_get_activity(NULL)
 WHERE datid = %(database)s AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

_SETTINGS = """
SELECT set_config('statement_timeout', %(limit)s, false), set_config('jit', 'off', false),
       set_config('max_parallel_workers_per_gather', '0', false)
"""

_OWN_DATABASE = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"

_QUERY_SIZE = "SELECT setting::bigint FROM pg_settings WHERE name = 'track_activity_query_size'"

_SIZE = "SELECT pg_database_size(%(database)s::oid), NULL"
_SIZES = """
SELECT pg_database_size(%(database)s::oid), (SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_tmpdir())
"""
_MAY_LIST = "SELECT has_function_privilege('pg_ls_tmpdir()', 'EXECUTE')"


@dataclass(frozen=True, slots=True)
class Session:
    """A server process as `pg_stat_activity` shows it. pid 0 is a prepared transaction."""

    pid: int
    application_name: str = ""
    query: str = field(default="", repr=False)  # may quote values
    backend_type: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A session in the way of another: it holds a conflicting lock, or waits for one ahead in the queue.

    `mode` is None for locks that are not on a table, and where the session was gone before it was read.
    """

    session: Session
    mode: LockMode | None
    queued: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that had not been granted. `since_us` is on the server's clock, as `Snapshot.clock_us`.

    `object` identifies what the lock is on; `relation` is the table or index, None where that cannot be
    told. Waits for a row name the table of the row.
    """

    session: Session
    lock_type: str
    object: str
    mode: LockMode | None
    relation: Relation | None
    since_us: int
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All waits of one database at one moment, between `asked_ns` and `answered_ns` of our clock.

    `clock_us` is the server's clock (microseconds since 1970) in between, read before the locks were;
    None where nobody waited.
    """

    asked_ns: int
    answered_ns: int
    clock_us: int | None = None
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerState:
    """Write-ahead log written since the cluster was made, sessions at work and sessions that wait, and the
    log kept for replication slots (None: there is no slot that keeps any). `flushed_bytes` of the log were on
    disk, and `flushing_sessions` waited for more of it to be written or flushed.
    """

    wal_position_bytes: int
    active_sessions: int
    blocked_sessions: int
    retained_bytes: int | None = None
    flushed_bytes: int | None = None
    flushing_sessions: int = 0


class _Lock(NamedTuple):
    clock_us: int
    pid: int
    locktype: str
    mode: str
    granted: bool
    relation: int | None
    object: str
    since_us: int | None
    blockers: list[int] | None
    application_name: str
    query: str
    backend_type: str
    state: str

    @property
    def session(self) -> Session:
        return Session(self.pid, self.application_name, self.query, self.backend_type, self.state)


def _row(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # asked only of queries that have exactly one row
    return row


class _Named(NamedTuple):
    relation: Relation
    holds_rows: bool


class ActivityReader:
    """Asks for snapshots over one connection of its own, which must be in autocommit mode.

    Raises EnvironmentFailure for a server before 14; any `psycopg.Error` of a question is the caller's.
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], *, limit_ms: int = 2_000) -> None:
        if connection.info.server_version < OLDEST_VERSION:
            raise EnvironmentFailure(
                "this server does not say since when its sessions wait for locks",
                "rehearse on PostgreSQL 14 or newer",
            )
        self._connection = connection
        # no just-in-time compilation and no workers: the planner cannot know how small the answers are
        connection.execute(_SETTINGS, {"limit": str(limit_ms)})
        (self._database,) = _row(connection.execute(_OWN_DATABASE))
        (may_list,) = _row(connection.execute(_MAY_LIST))
        self._sizes = _SIZES if may_list else _SIZE
        self._names: dict[int, _Named] = {}
        self._names_until_ns = 0

    @property
    def closed(self) -> bool:
        """Whether the session is gone."""
        return self._connection.closed

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def query_bytes(self) -> int:
        """To how many bytes the server cuts the text of a query that it shows."""
        (size,) = _row(self._connection.execute(_QUERY_SIZE))
        return int(size)

    def snapshot(self) -> Snapshot:
        """The blocking tree at this moment."""
        asked_ns = time.monotonic_ns()
        cursor = self._connection.execute(_TREE, {"database": self._database}, prepare=True)
        locks = [_Lock(*row) for row in cursor]
        answered_ns = time.monotonic_ns()
        if not locks:
            return Snapshot(asked_ns, answered_ns)
        names = self._resolve({lock.relation for lock in locks if lock.relation}, answered_ns)
        return Snapshot(asked_ns, answered_ns, locks[0].clock_us, _waits(locks, names))

    def state(self) -> ServerState:
        """What the server is doing at this moment."""
        return ServerState(
            *_row(self._connection.execute(_STATE, {"database": self._database}, prepare=True))
        )

    def disk_bytes(self) -> tuple[int, int | None]:
        """Size of the database, and of temporary files beside it (None: we may not know). Looks at every
        file of it, so not to be asked often.
        """
        size, temporary = _row(self._connection.execute(self._sizes, {"database": self._database}))
        return int(size), None if temporary is None else int(temporary)

    def progress(self, pid: int) -> tuple[list[Progress], dict[int, Relation]]:
        """What the session `pid` reports of its work, and the names of the tables in it by oid."""
        rows = self._connection.execute(PROGRESS, {"pid": pid}, prepare=True)
        reports = [progress_of(row) for row in rows if row[0] is not None]  # empty where we may not know
        named = self._resolve({report.oid for report in reports if report.oid}, time.monotonic_ns())
        return reports, {r.oid: named[r.oid].relation for r in reports if r.oid in named}

    def _resolve(self, oids: Iterable[int], now_ns: int) -> Mapping[int, _Named]:
        """Names by oid. They are kept for a while only, because a migration may rename."""
        if now_ns > self._names_until_ns:
            self._names.clear()
            self._names_until_ns = now_ns + NAMES_KEPT_NS
        if unknown := [oid for oid in oids if oid not in self._names]:
            for oid, schema, name, holds_rows in self._connection.execute(_NAMES, {"oids": unknown}):
                self._names[oid] = _Named(Relation(schema, name), holds_rows)
        return self._names


def _waits(locks: Sequence[_Lock], names: Mapping[int, _Named]) -> tuple[Waiting, ...]:
    by_pid: defaultdict[int, list[_Lock]] = defaultdict(list)
    for lock in locks:
        by_pid[lock.pid].append(lock)
    in_conflict = _Conflicts(locks)
    return tuple(
        Waiting(
            session=lock.session,
            lock_type=lock.locktype,
            object=lock.object,
            mode=_table_mode(lock),
            relation=_relation(lock, by_pid[lock.pid], names),
            since_us=lock.since_us,
            obstacles=_obstacles(lock, in_conflict.with_(lock), by_pid),
        )
        for lock in locks
        # since_us is empty for an instant after the request was queued: the next snapshot has it
        if lock.blockers is not None and lock.since_us is not None
    )


class _Conflicts:
    """The locks and requests in conflict with one on an object, found once for each mode: with a thousand
    sessions behind one lock, comparing each with each would take longer than the sample itself.
    """

    def __init__(self, locks: Sequence[_Lock]) -> None:
        self._by_object: defaultdict[str, list[_Lock]] = defaultdict(list)
        for lock in locks:
            self._by_object[lock.object].append(lock)
        self._found: dict[tuple[str, str], list[_Lock]] = {}

    def with_(self, lock: _Lock) -> list[_Lock]:
        key = lock.object, lock.mode
        if key not in self._found:
            mode = LockMode(lock.mode)
            same = self._by_object[lock.object]
            self._found[key] = [o for o in same if LockMode(o.mode).conflicts_with(mode)]
        return self._found[key]


def _table_mode(lock: _Lock) -> LockMode | None:
    return LockMode(lock.mode) if lock.locktype == "relation" else None


def _relation(lock: _Lock, own: Sequence[_Lock], names: Mapping[int, _Named]) -> Relation | None:
    """The table that `lock` is about. A wait for another transaction's end names none itself: it is for a
    row of the table whose `tuple` lock the waiter holds meanwhile, or else of the only table that the
    waiter has locked for row locks or writing; with several such tables it cannot be told.
    """
    held = [(o.relation, o.locktype) for o in own if o.granted and o.relation]
    if lock.relation:
        found = {lock.relation}
    elif lock.locktype != "transactionid":
        found = set()
    elif of_rows := {oid for oid, kind in held if kind == "tuple"}:
        found = of_rows
    else:
        found = {oid for oid, _ in held if oid in names and names[oid].holds_rows}
    named = names.get(found.pop()) if len(found) == 1 else None
    return named.relation if named else None


def _obstacles(
    lock: _Lock, in_conflict: Sequence[_Lock], by_pid: Mapping[int, Sequence[_Lock]]
) -> tuple[Obstacle, ...]:
    """What is in the way of `lock`: whom the server names, explained by the locks that were read.

    The server is asked for the names an instant after the locks; where the wait is over by then it names
    nobody, and the holders of conflicting locks are the answer.
    """
    named = set(lock.blockers or ())
    if not named:
        holders = (o for o in in_conflict if o.granted and o.pid != lock.pid)
        return tuple(_obstacle(o) for o in _strongest(holders))
    explained = [_obstacle(o) for o in _strongest(o for o in in_conflict if o.pid in named)]
    if explained:
        return tuple(explained)
    return tuple(Obstacle(_session(pid, by_pid), None, queued=False) for pid in sorted(named))


def _obstacle(lock: _Lock) -> Obstacle:
    return Obstacle(lock.session, _table_mode(lock), queued=not lock.granted)


def _strongest(locks: Iterable[_Lock]) -> list[_Lock]:
    """One lock for each session: held ones before queued ones, then the strongest."""
    best: dict[int, _Lock] = {}
    for lock in locks:
        known = best.get(lock.pid)
        if known is None or _rank(lock) > _rank(known):
            best[lock.pid] = lock
    return list(best.values())


def _rank(lock: _Lock) -> tuple[bool, int]:
    return lock.granted, LockMode(lock.mode).strength


def _session(pid: int, by_pid: Mapping[int, Sequence[_Lock]]) -> Session:
    known = by_pid.get(pid)
    return known[0].session if known else Session(pid)
