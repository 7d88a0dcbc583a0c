"""A standby and its primary, read while they run: how far behind it is, and what replay has cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

_Connection = psycopg.Connection[tuple[Any, ...]]

# SQLSTATEs with which replay cancels what stands in its way; the first also ends sessions that are idle in a
# transaction. On a standby, where nothing is written, no other cause has them.
CONFLICT_SQLSTATES = frozenset({"40001", "40P01", "57P04"})
SETTINGS = ("max_standby_streaming_delay", "hot_standby_feedback")

_WRITTEN = """
SELECT (pg_catalog.pg_current_wal_lsn() - '0/0')::bigint,
  (SELECT (flush_lsn - '0/0')::bigint FROM pg_catalog.pg_stat_replication WHERE application_name = %s)
"""
_REPLAYED = "SELECT (pg_catalog.pg_last_wal_replay_lsn() - '0/0')::bigint"
_CONFLICTS = """
SELECT key, value::bigint
FROM pg_catalog.pg_stat_database_conflicts c, jsonb_each_text(to_jsonb(c) - 'datid' - 'datname')
WHERE datname = %s ORDER BY key
"""


@dataclass(frozen=True, slots=True)
class Positions:
    """Places in the log, in bytes: written by the primary, flushed and replayed by the standby."""

    written: int
    flushed: int
    replayed: int


def positions(primary: _Connection, standby: _Connection, name: str) -> Positions:
    """The primary's is read first: the standby is never said to be further behind than it is. What the
    standby `name` has flushed is what it told the primary last; none is as far as it has replayed.
    """
    row = primary.execute(_WRITTEN, (name,)).fetchone()
    replayed = standby.execute(_REPLAYED).fetchone()
    assert row is not None
    assert replayed is not None
    place = int(replayed[0])
    return Positions(int(row[0]), max(place, int(row[1] or 0)), place)


def conflicts(standby: _Connection, dbname: str) -> dict[str, int]:
    """Queries that replay has cancelled in that database since the standby started, by kind: lock, snapshot,
    bufferpin, ...
    """
    rows = standby.execute(_CONFLICTS, (dbname,)).fetchall()
    return {str(kind).removeprefix("confl_"): int(count) for kind, count in rows}


def conflict_settings(standby: _Connection) -> tuple[tuple[str, str], ...]:
    """The settings that decide which of them gives way, as the server prints them."""
    rows = [standby.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in SETTINGS]
    return tuple((name, str(row[0])) for name, row in zip(SETTINGS, rows, strict=True) if row)
