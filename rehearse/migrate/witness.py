"""A second session beside the migration's: reads the catalog, and polls the locks of a statement that
cannot be asked about its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import psycopg

from rehearse.engines.postgres.catalog import Catalog, capture, row_counts
from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.target import Target

POLL_S = 0.003

# the function and not the view over it, which would open catalogs that the migration may have locked
_LOCKS = """
SELECT relation::bigint, mode FROM pg_lock_status()
WHERE pid = %s AND locktype = 'relation' AND granted AND relation >= 16384
"""


class Witness:
    """Must not be asked for anything else while it watches."""

    def __init__(self, target: Target) -> None:
        self._connection = connect(target, "rehearse")

    def __enter__(self) -> Witness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def base(self) -> tuple[Catalog, dict[int, int]]:
        """The catalog, and the rows of each table by oid."""
        catalog = capture(self._connection)
        return catalog, row_counts(self._connection, catalog)

    def catalog(self) -> Catalog | None:
        """The catalog now, None where the server no longer answers."""
        with suppress(psycopg.Error):
            return capture(self._connection)
        return None

    @contextmanager
    def watching(self, pid: int) -> Iterator[set[tuple[int, LockMode]]]:
        """While open, collects every lock on a relation (oid, mode) that it sees `pid` hold."""
        seen: set[tuple[int, LockMode]] = set()
        stop = threading.Event()
        thread = threading.Thread(
            target=self._poll, args=(pid, seen, stop), name="rehearse-locks", daemon=True
        )
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()

    def _poll(self, pid: int, seen: set[tuple[int, LockMode]], stop: threading.Event) -> None:
        with suppress(psycopg.Error):  # the server went away: the migration's own session says so
            while not stop.wait(POLL_S):
                rows = self._connection.execute(_LOCKS, (pid,), prepare=True)
                seen.update((oid, LockMode(mode)) for oid, mode in rows)
