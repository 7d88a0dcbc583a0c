"""A second session beside the migration's: reads the catalog, and polls the locks of a statement that
cannot be asked about its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg

from rehearse.engines.postgres.catalog import Catalog, capture, row_counts
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.probe import Counters
from rehearse.engines.postgres.totals import Marks, marks, shared_counters
from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation
from rehearse.model.target import Target

POLL_S = 0.003

LockRow = tuple[Any, ...]  # oid, mode, virtual transaction id, time; see _LOCKS

# the function and not the view over it, which would open catalogs that the migration may have locked
_LOCKS = """
SELECT relation::bigint, mode, virtualxid, extract(epoch FROM clock_timestamp()) FROM pg_lock_status()
WHERE pid = %s AND granted AND (locktype = 'relation' AND relation >= 16384 OR locktype = 'virtualxid')
"""


_DEAD = """
SELECT oid::bigint, pg_stat_get_dead_tuples(oid) FROM pg_class
WHERE relkind IN ('r', 'm') AND oid >= 16384 AND pg_stat_get_dead_tuples(oid) > 0
"""

_COMMITS = """
SELECT bool_or(prosrc ~* '\\m(commit|rollback|call)\\M' OR lanname NOT IN ('sql', 'plpgsql'))
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE prokind = 'p' AND lower(proname) = lower(%s)
"""

_SOURCE = """
SELECT coalesce(string_agg(prosrc, E'\\n'), '') FROM pg_proc
WHERE prokind = 'p' AND lower(proname) = lower(%s)
"""

# whoever is named in a body may be called by it
_BODIES = """
WITH RECURSIVE own AS (
  SELECT p.oid, lower(proname) AS name, coalesce(pg_get_function_sqlbody(p.oid), prosrc) AS body
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384 AND lanname IN ('sql', 'plpgsql')),
called AS (
  SELECT oid, body FROM own WHERE name = ANY(%(names)s) OR oid IN (
    SELECT tgfoid FROM pg_trigger
    JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE NOT tgisinternal AND tgenabled <> 'D'
      AND (nspname, relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(tables)s::text[])))
  UNION
  SELECT o.oid, o.body FROM called c JOIN own o ON position(o.name IN lower(c.body)) > 0)
SELECT coalesce(string_agg(body, E';\\n'), '') FROM called
"""

TableLock = tuple[int, LockMode]  # of the relation with this oid
Span = tuple[int, int]  # monotonic ns


@dataclass(slots=True)
class Seen:
    """What was seen of a session: every lock on a relation, and by the virtual id of each of its
    transactions when it was first and last there, in seconds of the server's clock.

    `spans` says of each lock the longest time that it can have been held in one transaction. A lock that
    was not seen can have been held for `longest_blink`, the longest time without a look, and no longer.
    """

    locks: set[TableLock] = field(default_factory=set)
    transactions: dict[str, tuple[float, float]] = field(default_factory=dict)
    spans: dict[TableLock, Span] = field(default_factory=dict)
    longest_blink: Span = (0, 0)
    _before_ns: int = 0  # when the last look was begun
    _held_since: dict[tuple[str | None, TableLock], int] = field(default_factory=dict)

    @property
    def longest_transaction_ns(self) -> int:
        """How long the longest of its transactions lasted, at least; 0 where none was seen twice."""
        return max((round((last - first) * 1e9) for first, last in self.transactions.values()), default=0)

    def begin(self, at_ns: int) -> None:
        """The statement is about to be sent."""
        self._before_ns = at_ns
        self.longest_blink = (at_ns, at_ns)

    def look(self, rows: Iterable[LockRow], asked_ns: int, answered_ns: int) -> None:
        """All rows of `pg_locks` at one moment between the two."""
        taken: set[TableLock] = set()
        current = None
        for oid, mode, virtual_id, at_s in rows:
            if oid is not None:
                taken.add((oid, LockMode(mode)))
            elif virtual_id is not None:
                current = virtual_id
                first, _ = self.transactions.get(virtual_id, (float(at_s), 0.0))
                self.transactions[virtual_id] = (first, float(at_s))
        self.locks |= taken
        held = {(current, lock): since for lock in taken if (since := self._since(current, lock))}
        for key, since_ns in self._held_since.items():
            if key not in held:
                self._was_held(key[1], (since_ns, answered_ns))
        self._held_since = held
        self._blinked(answered_ns)
        self._before_ns = asked_ns

    def end(self, at_ns: int) -> None:
        """The statement has ended."""
        for (_, lock), since_ns in self._held_since.items():
            self._was_held(lock, (since_ns, at_ns))
        self._held_since = {}
        self._blinked(at_ns)

    def _since(self, transaction: str | None, lock: TableLock) -> int:
        return self._held_since.get((transaction, lock), self._before_ns)

    def _was_held(self, lock: TableLock, span: Span) -> None:
        known = self.spans.get(lock)
        if known is None or span[1] - span[0] > known[1] - known[0]:
            self.spans[lock] = span

    def _blinked(self, until_ns: int) -> None:
        if until_ns - self._before_ns > self.longest_blink[1] - self.longest_blink[0]:
            self.longest_blink = (self._before_ns, until_ns)


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

    def catalog(self, *, patience_s: float = 0.0) -> Catalog | None:
        """The catalog now, None where the server no longer answers. The size of a table waits for who has it
        all for himself: no longer than `patience_s` (0: however long), and then it is None, too.
        """
        with suppress(psycopg.Error):
            self._connection.execute(f"SET lock_timeout = {round(patience_s * 1000)}")
            return capture(self._connection)
        return None

    def procedure_commits(self, name: str) -> bool:
        """Whether one of that name may end transactions, by itself or by another that it calls; so may one
        that cannot be found.
        """
        with suppress(psycopg.Error):
            row = self._connection.execute(_COMMITS, (name,)).fetchone()
            return row is None or row[0] is not False
        return True

    def source(self, name: str) -> str:
        """The bodies of the procedures of that name, as far as they are in a language the server keeps."""
        with suppress(psycopg.Error):
            row = self._connection.execute(_SOURCE, (name,)).fetchone()
            return str(row[0]) if row else ""
        return ""

    def bodies(self, names: frozenset[str], changed: Iterable[Relation] = ()) -> str:
        """The bodies of the functions of those names, in lower case, of those that triggers on the tables
        `changed` call, and of those that these name in turn.
        """
        tables = list(changed)
        asked = {
            "names": list(names),
            "schemas": [table.schema for table in tables],
            "tables": [table.name for table in tables],
        }
        with suppress(psycopg.Error):
            row = self._connection.execute(_BODIES, asked).fetchone()
            return str(row[0]) if row else ""
        return ""

    def dead_rows(self) -> dict[int, int]:
        """Dead rows of tables by oid, as far as sessions have reported them; none if the server is gone."""
        with suppress(psycopg.Error):
            return dict(self._connection.execute(_DEAD).fetchall())
        return {}

    def marks(self) -> dict[int, Marks]:
        """The definition of every table as the catalog has it now; none if the server is gone."""
        with suppress(psycopg.Error):
            return marks(self._connection)
        return {}

    def shared_counters(self) -> dict[int, Counters] | None:
        """What all sessions have been counted to do to each table and index; None if the server is gone."""
        with suppress(psycopg.Error):
            return shared_counters(self._connection)
        return None

    @contextmanager
    def watching(self, pid: int) -> Iterator[Seen]:
        """While open, collects the locks and transactions that it sees `pid` have."""
        seen = Seen()
        seen.begin(time.monotonic_ns())
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
            seen.end(time.monotonic_ns())

    def _poll(self, pid: int, seen: Seen, stop: threading.Event) -> None:
        with suppress(psycopg.Error):  # the server went away: the migration's own session says so
            while not stop.wait(POLL_S):
                asked_ns = time.monotonic_ns()
                rows = self._connection.execute(_LOCKS, (pid,), prepare=True).fetchall()
                seen.look(rows, asked_ns, time.monotonic_ns())
