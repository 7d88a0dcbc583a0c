"""A session that ends what others do: cancels their statements, or hangs up on them."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target

_SESSIONS = """
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
  AND (application_name = %s OR pid = %s)
"""
_CANCEL = f"SELECT pg_catalog.pg_cancel_backend(pid) {_SESSIONS}"
_TERMINATE = f"SELECT pg_catalog.pg_terminate_backend(pid) {_SESSIONS}"


class Canceller:
    """Stands ready on `target`. ServerLostError where it cannot connect."""

    def __init__(self, target: Target) -> None:
        self._connection = connect(target, "rehearse")

    def end(self, application_name: str, pid: int | None, *, terminate: bool) -> bool:
        """Cancel what the sessions of that name, and the one of that process, are doing; or end them.

        Whether this session is still of use.
        """
        try:
            self._connection.execute(_TERMINATE if terminate else _CANCEL, (application_name, pid))
        except psycopg.Error:
            self.close()
        return not self._connection.closed

    def close(self) -> None:
        """Hang up."""
        with suppress(psycopg.Error):
            self._connection.close()
