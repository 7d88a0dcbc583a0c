"""A second session beside the migration's: reads the catalog, and polls the locks of a statement that
cannot be asked about its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

import psycopg

from rehearse.engines.postgres.catalog import Catalog, capture, row_counts
from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.target import Target

POLL_S = 0.003

# the function and not the view over it, which would open catalogs that the migration may have locked
_LOCKS = """
SELECT relation::bigint, mode, virtualxid, extract(epoch FROM clock_timestamp()) FROM pg_lock_status()
WHERE pid = %s AND granted AND (locktype = 'relation' AND relation >= 16384 OR locktype = 'virtualxid')
"""


@dataclass(slots=True)
class Seen:
    """What was seen of a session: every lock on a relation (oid, mode), and by the virtual id of each of
    its transactions when it was first and last there, in seconds of the server's clock.
    """

    locks: set[tuple[int, LockMode]] = field(default_factory=set)
    transactions: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def longest_transaction_ns(self) -> int:
        """How long the longest of its transactions lasted, at least; 0 where none was seen twice."""
        return max((round((last - first) * 1e9) for first, last in self.transactions.values()), default=0)

    def add(self, oid: int | None, mode: str, virtual_id: str | None, at_s: float) -> None:
        """One row of `pg_locks`."""
        if oid is not None:
            self.locks.add((oid, LockMode(mode)))
        elif virtual_id is not None:
            first, _ = self.transactions.get(virtual_id, (at_s, at_s))
            self.transactions[virtual_id] = (first, at_s)


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
    def watching(self, pid: int) -> Iterator[Seen]:
        """While open, collects the locks and transactions that it sees `pid` have."""
        seen = Seen()
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

    def _poll(self, pid: int, seen: Seen, stop: threading.Event) -> None:
        with suppress(psycopg.Error):  # the server went away: the migration's own session says so
            while not stop.wait(POLL_S):
                for oid, mode, virtual_id, at_s in self._connection.execute(_LOCKS, (pid,), prepare=True):
                    seen.add(oid, mode, virtual_id, float(at_s))
