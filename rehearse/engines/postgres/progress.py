"""How far a session is with an index, a rewrite, a vacuum or a copy, as the server reports it.

The function behind the `pg_stat_progress_*` views is asked, not the views: they open `pg_database`, which a
migration may have locked.
"""

from __future__ import annotations

from dataclasses import dataclass

# The phases are spelt as the views spell them (PostgreSQL manual, 27.4 Progress Reporting).
_INDEX_PHASE = """CASE param10 WHEN 0 THEN 'initializing' WHEN 1 THEN 'waiting for writers before build'
  WHEN 2 THEN 'building index'
       || coalesce(': ' || pg_catalog.pg_indexam_progress_phasename(param9::pg_catalog.oid, param11), '')
  WHEN 3 THEN 'waiting for writers before validation' WHEN 4 THEN 'index validation: scanning index'
  WHEN 5 THEN 'index validation: sorting tuples' WHEN 6 THEN 'index validation: scanning table'
  WHEN 7 THEN 'waiting for old snapshots' WHEN 8 THEN 'waiting for readers before marking dead'
  WHEN 9 THEN 'waiting for readers before dropping' END"""
_CLUSTER_PHASE = """CASE param2 WHEN 0 THEN 'initializing' WHEN 1 THEN 'seq scanning heap'
  WHEN 2 THEN 'index scanning heap' WHEN 3 THEN 'sorting tuples' WHEN 4 THEN 'writing new heap'
  WHEN 5 THEN 'swapping relation files' WHEN 6 THEN 'rebuilding index'
  WHEN 7 THEN 'performing final cleanup' END"""
_VACUUM_PHASE = """CASE param1 WHEN 0 THEN 'initializing' WHEN 1 THEN 'scanning heap'
  WHEN 2 THEN 'vacuuming indexes' WHEN 3 THEN 'vacuuming heap' WHEN 4 THEN 'cleaning up indexes'
  WHEN 5 THEN 'truncating heap' WHEN 6 THEN 'performing final cleanup' END"""
_ANALYZE_PHASE = """CASE param1 WHEN 0 THEN 'initializing' WHEN 1 THEN 'acquiring sample rows'
  WHEN 2 THEN 'acquiring inherited sample rows' WHEN 3 THEN 'computing statistics'
  WHEN 4 THEN 'computing extended statistics' WHEN 5 THEN 'finalizing analyze' END"""

_INDEX_COMMAND = """CASE param1 WHEN 1 THEN 'CREATE INDEX' WHEN 2 THEN 'CREATE INDEX CONCURRENTLY'
  WHEN 3 THEN 'REINDEX' WHEN 4 THEN 'REINDEX CONCURRENTLY' END"""
_CLUSTER_COMMAND = "CASE param1 WHEN 1 THEN 'CLUSTER' WHEN 2 THEN 'VACUUM FULL' END"
_COPY_COMMAND = "CASE param5 WHEN 1 THEN 'COPY FROM' WHEN 2 THEN 'COPY TO' END"

# what is asked for, the command, its phase, and how much of what is done: blocks, or bytes of a copy
_REPORTS = (
    (
        "CREATE INDEX",
        _INDEX_COMMAND,
        _INDEX_PHASE,
        "CASE WHEN param16 > 0 THEN param17 ELSE param13 END",
        "CASE WHEN param16 > 0 THEN param16 ELSE param12 END",
    ),
    ("CLUSTER", _CLUSTER_COMMAND, _CLUSTER_PHASE, "param7", "param6"),
    ("VACUUM", "'VACUUM'", _VACUUM_PHASE, "param3", "param2"),
    ("ANALYZE", "'ANALYZE'", _ANALYZE_PHASE, "param3", "param2"),
    ("COPY", _COPY_COMMAND, "'copying'", "param1", "param2"),
)

PROGRESS = " UNION ALL ".join(
    f"SELECT relid::pg_catalog.int8, {command}, {phase}, {done}, {total}"  # noqa: S608 - constants alone
    f" FROM pg_catalog.pg_stat_get_progress_info('{kind}') WHERE pid = %(pid)s"
    for kind, command, phase, done, total in _REPORTS
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a session is: the oid of the table (0: none), the command as the server names it, its phase,
    and how much is done of what there is to do in this phase (0 of 0 where it does not say).
    """

    oid: int
    command: str
    phase: str
    done: int
    total: int


def progress_of(row: tuple[int | None, str | None, str | None, int | None, int | None]) -> Progress:
    """One row that PROGRESS answers."""
    oid, command, phase, done, total = row
    return Progress(oid or 0, command or "", phase or "", done or 0, total or 0)
