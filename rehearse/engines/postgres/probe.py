"""What a session asks about itself between the statements of a migration.

A probe runs in the transaction of the statement before it and reads what that holds and did; a mark is
taken when no transaction is open. Both leave the shape of the migration's transactions alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from rehearse.engines.postgres.catalog import FACTS, RelationFacts, facts_of
from rehearse.model.locks import LockMode
from rehearse.model.migration import SessionWork

FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush()"
_HAS_FLUSH = 150000
_HAS_BACKEND_WAL = 180000

_CLOCK = "(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8"
# the same for all statements of one simple query: when the server received it
_BEGAN = "(extract(epoch FROM pg_catalog.statement_timestamp()) * 1000000)::pg_catalog.int8"
_LSN = "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8"
_LOCK_TIMEOUT = "pg_catalog.current_setting('lock_timeout')"
_STATEMENT_TIMEOUT = "pg_catalog.current_setting('statement_timeout')"

_DATABASE = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
_TEMPORARY = ", ".join(f"pg_catalog.pg_stat_get_db_temp_{what}({_DATABASE})" for what in ("files", "bytes"))
# extending a file is writing, too
_OWN_BLOCKS = ", ".join(
    f"(SELECT coalesce(pg_catalog.sum({what}), 0)::pg_catalog.int8"  # noqa: S608 - composed from constants alone
    " FROM pg_catalog.pg_stat_get_backend_io(pg_catalog.pg_backend_pid()))"
    for what in ("read_bytes", "coalesce(write_bytes, 0) + coalesce(extend_bytes, 0)")
)
_DATABASE_BLOCKS = (
    f"(pg_catalog.pg_stat_get_db_blocks_fetched({_DATABASE})"
    f" - pg_catalog.pg_stat_get_db_blocks_hit({_DATABASE}))"
    " * pg_catalog.current_setting('block_size')::pg_catalog.int8, NULL"
)

SHOW_LOCK_TIMEOUT = "SHOW lock_timeout"  # unlike a SELECT, it takes no snapshot

_FACTS = FACTS.format(columns="h.exclusive", sized="true")
PROBE = f"""
WITH clock AS MATERIALIZED (SELECT {_CLOCK} AS us, {_LSN} AS lsn),
held AS MATERIALIZED (
  SELECT l.relation AS oid, pg_catalog.array_agg(l.mode) AS modes,
         pg_catalog.bool_or(l.mode = 'AccessExclusiveLock') AS exclusive
  FROM clock, pg_catalog.pg_lock_status() l
  WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
    AND l.relation >= 16384 AND l.database <> 0
  GROUP BY l.relation)
SELECT pg_catalog.json_build_object('clock', clock.us, 'began', {_BEGAN}, 'lsn', clock.lsn,
  'lock_timeout', {_LOCK_TIMEOUT}, 'statement_timeout', {_STATEMENT_TIMEOUT},
  'counted', pg_catalog.current_setting('track_counts')::pg_catalog.bool,
  'workers', pg_catalog.current_setting('max_parallel_workers_per_gather')::pg_catalog.int4,
  'parallel_from', pg_catalog.pg_size_bytes(pg_catalog.current_setting('min_parallel_table_scan_size')),
  'relations', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'oid', h.oid::pg_catalog.int8, 'modes', h.modes,
      'counters', ARRAY[pg_catalog.pg_stat_get_xact_tuples_returned(h.oid),
        pg_catalog.pg_stat_get_xact_tuples_inserted(h.oid), pg_catalog.pg_stat_get_xact_tuples_updated(h.oid),
        pg_catalog.pg_stat_get_xact_tuples_deleted(h.oid), pg_catalog.pg_stat_get_xact_numscans(h.oid)],
      'facts', CASE WHEN c.oid IS NOT NULL THEN {_FACTS} END)), '[]')
    FROM held h LEFT JOIN pg_catalog.pg_class c ON c.oid = h.oid
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
    WHERE n.nspname IS NULL OR n.nspname <> 'pg_toast'))::pg_catalog.text
FROM clock"""  # noqa: S608 - composed from constants alone


@dataclass(frozen=True, slots=True)
class Counters:
    """Rows that this transaction has read one after the other (through a sequential scan, or all in
    order from an index), inserted, updated and deleted; and how many reads of a whole table were `begun`.
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    begun: int = 0

    def since(self, before: Counters) -> Counters:
        """What came on top of `before`; all of it where the server has set its counters back meanwhile."""
        pairs = [
            (self.read, before.read),
            (self.inserted, before.inserted),
            (self.updated, before.updated),
            (self.deleted, before.deleted),
            (self.begun, before.begun),
        ]
        return Counters(*(now - then if now >= then else now for now, then in pairs))

    @property
    def changed(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Held:
    """A relation that the transaction has locked. `facts` is None once it has been dropped."""

    oid: int
    modes: frozenset[LockMode]
    counters: Counters = Counters()
    facts: RelationFacts | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The session inside its transaction, at `clock_us` of the server's clock, which received the query that
    the probe is a part of at `began_us`. Without `counted` the server's counters say nothing. Up to
    `workers` others may have read tables of `parallel_from_bytes` and more with it: what these have read is
    not in its counters.
    """

    clock_us: int
    began_us: int
    lsn: int
    lock_timeout_ms: int
    held: tuple[Held, ...] = field(default=())
    counted: bool = True
    workers: int = 0
    parallel_from_bytes: int = 0
    statement_timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """The session between two transactions. `wal_bytes` is what it has written itself since it began,
    None where the server does not keep that. Temporary files are counted for the whole database, and so are
    bytes read where `own_blocks` is false: then bytes written are not known.
    """

    clock_us: int
    lsn: int
    lock_timeout_ms: int
    wal_bytes: int | None = None
    temp_files: int = 0
    temp_bytes: int = 0
    read_bytes: int | None = None
    written_bytes: int | None = None
    own_blocks: bool = False
    statement_timeout_ms: int = 0

    def work_since(self, before: Mark) -> SessionWork:
        """What came on top of `before`; counters that were set back meanwhile count as nothing."""
        return SessionWork(
            temp_files=max(0, self.temp_files - before.temp_files),
            temp_bytes=max(0, self.temp_bytes - before.temp_bytes),
            read_bytes=_grown(before.read_bytes, self.read_bytes),
            written_bytes=_grown(before.written_bytes, self.written_bytes),
            own=self.own_blocks,
        )


def flush_for(server_version: int) -> str | None:
    """The query that lets the next mark and probe see counters from zero, if this server has it."""
    return FLUSH if server_version >= _HAS_FLUSH else None


def mark_for(server_version: int) -> str:
    """The query whose answer `mark_of` reads."""
    wal = "(SELECT wal_bytes FROM pg_catalog.pg_stat_get_backend_wal(pg_catalog.pg_backend_pid()))"
    own = server_version >= _HAS_BACKEND_WAL
    wal = wal if own else "NULL"
    blocks = _OWN_BLOCKS if own else _DATABASE_BLOCKS
    settings = f"{_LOCK_TIMEOUT}, {_STATEMENT_TIMEOUT}"
    return f"SELECT {_CLOCK}, {_LSN}, {settings}, {wal}, {_TEMPORARY}, {blocks}"


def mark_of(row: tuple[str | None, ...]) -> Mark:
    """The one row that a mark's query answers."""
    clock, lsn, timeout, limit, wal, temp_files, temp_bytes, read, written = row
    return Mark(
        clock_us=int(clock or 0),
        lsn=int(lsn or 0),
        lock_timeout_ms=milliseconds(timeout or "0"),
        wal_bytes=int(wal) if wal else None,
        temp_files=int(temp_files or 0),
        temp_bytes=int(temp_bytes or 0),
        read_bytes=int(read) if read else None,
        written_bytes=int(written) if written else None,
        own_blocks=written is not None,
        statement_timeout_ms=milliseconds(limit or "0"),
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def probe_of(text: str) -> Probe:
    """The one value that PROBE answers."""
    document = json.loads(text)
    held = tuple(
        Held(
            entry["oid"],
            frozenset(LockMode(mode) for mode in entry["modes"]),
            Counters(*(value or 0 for value in entry["counters"])),
            facts_of(entry["facts"]) if entry["facts"] else None,
        )
        for entry in document["relations"]
    )
    return Probe(
        clock_us=document["clock"],
        began_us=document["began"],
        lsn=document["lsn"],
        lock_timeout_ms=milliseconds(document["lock_timeout"]),
        held=held,
        counted=document["counted"],
        workers=document["workers"],
        parallel_from_bytes=document["parallel_from"],
        statement_timeout_ms=milliseconds(document["statement_timeout"]),
    )


_UNITS_MS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(setting: str) -> int:
    """A time setting as SHOW prints it (`0`, `500ms`, `2s`, `1min`) in milliseconds."""
    match = re.fullmatch(r"(\d+)(us|ms|s|min|h|d)?", setting)
    assert match is not None, f"the server prints {setting!r} for a time"
    return int(int(match.group(1)) * _UNITS_MS[match.group(2) or "ms"])
