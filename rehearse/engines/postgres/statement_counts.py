"""What pg_stat_statements has counted for the statements of one database, where it is loaded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

_WHERE = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_COUNTS = """
SELECT query, sum(calls)::bigint, sum(total_exec_time), sum(shared_blks_hit + shared_blks_read)::bigint
FROM {view} WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = %s)
GROUP BY query
"""
# Parameters, and what the extension makes of constants.
_VALUE = re.compile(r"'(?:[^']|'')*'|\$\d+|\b\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls, milliseconds of execution and blocks, in sum."""

    calls: int = 0
    ms: float = 0.0
    blocks: int = 0

    def since(self, before: Counted) -> Counted:
        """What was added; what is less than before was counted anew from nothing."""
        if self.calls < before.calls:
            return self
        return Counted(self.calls - before.calls, self.ms - before.ms, self.blocks - before.blocks)


def shape(text: str) -> str:
    """A statement's text without what its values are, or where its lines break."""
    return _VALUE.sub("?", " ".join(text.strip().rstrip(";").split()))


def counted(connection: Connection, dbname: str, *, install: bool = False) -> Mapping[str, Counted] | None:
    """The counts of that database by `shape`; None where the extension is not in the session's database, or
    not loaded. `install`: it is made in the session's database, where it is not.
    """
    try:
        if install:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        found = connection.execute(_WHERE).fetchone()
        if found is None:
            return None
        view = sql.Identifier(found[0], "pg_stat_statements")
        rows = connection.execute(sql.SQL(_COUNTS).format(view=view), (dbname,)).fetchall()
    except psycopg.Error:  # there, and the library is not: it says so; or we may not look
        return None
    sums: dict[str, Counted] = defaultdict(Counted)
    for query, calls, ms, blocks in rows:
        key, then = shape(query or ""), sums[shape(query or "")]
        sums[key] = Counted(then.calls + calls, then.ms + ms, then.blocks + blocks)
    return sums
