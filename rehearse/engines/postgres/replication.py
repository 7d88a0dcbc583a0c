"""Streaming replication: whether a server can feed a standby, and whether one follows it."""

from __future__ import annotations

from typing import Any

import psycopg

_ROOM = """
SELECT current_setting('wal_level'),
  current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_catalog.pg_stat_replication),
  current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_catalog.pg_replication_slots)
"""

# A backup streams the log beside the files, so that it takes two senders; the standby later takes one.
_SENDERS = 2

_DROP_SLOT = """
SELECT pg_catalog.pg_drop_replication_slot(slot_name)
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND NOT active
"""

_Connection = psycopg.Connection[Any]


def no_room_for_a_standby(connection: _Connection) -> str:
    """Which setting keeps the server from feeding one more standby, with its value; empty if none does."""
    row = connection.execute(_ROOM).fetchone()
    assert row is not None
    wal_level, senders, slots = row
    if wal_level == "minimal":
        return "wal_level is minimal, and replica is needed"
    if senders < _SENDERS:
        return f"max_wal_senders leaves {max(senders, 0)} free, and {_SENDERS} are needed"
    if slots < 1:
        return "max_replication_slots leaves none free"
    return ""


def streams(connection: _Connection, name: str) -> bool:
    """Whether the standby of that `application_name` has caught up and is sent the log as it is written."""
    row = connection.execute(
        "SELECT FROM pg_catalog.pg_stat_replication WHERE application_name = %s AND state = 'streaming'",
        (name,),
    ).fetchone()
    return row is not None


def drop_slot(connection: _Connection, name: str) -> bool:
    """Drop the slot, and with it the log kept for its standby; False while the standby still uses it."""
    try:
        connection.execute(_DROP_SLOT, (name,))
    except psycopg.errors.ObjectInUse:  # taken again since the statement looked
        return False
    left = connection.execute(
        "SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s", (name,)
    ).fetchone()
    return left is None
