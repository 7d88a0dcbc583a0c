"""A transaction on a standby that has read some tables and stays open, as a report does."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

import psycopg
from psycopg import sql

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.standby_state import CONFLICT_SQLSTATES
from rehearse.model.relation import Relation
from rehearse.model.replica import Cancelled
from rehearse.model.target import Target

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ENDS_S = 10.0


class StandbyReader:
    """Holds its snapshot, and ACCESS SHARE on `tables`, for `length_s` from when it was made."""

    def __init__(self, target: Target, tables: Iterable[Relation], length_s: float) -> None:
        self._connection = connect(target, "rehearse-adversary")
        self._sqlstate: str | None = None
        self._connection.execute(_BEGIN)
        for table in sorted(tables):
            read = sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table.schema, table.name))
            self._connection.execute(read)
        self._thread = threading.Thread(target=self._hold, args=(length_s,), name="reader", daemon=True)
        self._thread.start()

    def end(self) -> tuple[Cancelled, ...]:
        """End it, if it still reads; says whether replay has done so before."""
        if self._thread.is_alive():
            with suppress(psycopg.Error):
                self._connection.cancel()
            self._thread.join(_ENDS_S)
        self.close()
        return (Cancelled("", self._sqlstate, 1),) if self._sqlstate in CONFLICT_SQLSTATES else ()

    def close(self) -> None:
        """Leave no session behind."""
        self._connection.close()

    def _hold(self, length_s: float) -> None:
        try:
            self._connection.execute("SELECT pg_catalog.pg_sleep(%s)", (length_s,))
            self._connection.execute("COMMIT")
        except psycopg.Error as error:
            self._sqlstate = error.sqlstate
