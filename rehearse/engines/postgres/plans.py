"""Statements of the application played under EXPLAIN ANALYZE, in transactions that are undone.

What a statement reads is counted by the server, in blocks and rows, for tables and indexes and for what
triggers and foreign keys do on its behalf: it depends on the plan and the data alone, and not on how
busy the machine is.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from rehearse.engines.postgres import wire
from rehearse.engines.postgres.lexer import words
from rehearse.engines.postgres.plan_text import plan_lines
from rehearse.engines.postgres.wire import Execute, Failure, Rows
from rehearse.errors import ServerLostError
from rehearse.model.plans import Execution, Refused, TableReads
from rehearse.model.relation import Relation
from rehearse.model.workload import Pool

Connection = psycopg.Connection[tuple[Any, ...]]

DRAWS = 4
_TIMED_OUT = "57014"
_TIMEOUT_S = 20
_ENOUGH_S = 10.0  # a script whose transactions take that long is not played again
# Workers keep counts of their own, and would make the same plan look cheaper.
_SETTINGS = f"""
SET LOCAL statement_timeout = '{_TIMEOUT_S}s'; SET LOCAL lock_timeout = '10s';
SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off
""".encode()
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
# An INSERT with one of these may find nothing to write.
_DEPENDING = frozenset({"SELECT", "CONFLICT", "TABLE"})
_EXPLAINED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH", "TABLE"})
_COUNTS = b"""
SELECT c.oid, n.nspname, c.relname, tn.nspname, t.relname,
  pg_catalog.pg_stat_get_xact_tuples_returned(c.oid), pg_catalog.pg_stat_get_xact_blocks_fetched(c.oid),
  pg_catalog.pg_stat_get_xact_numscans(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'i') AND n.nspname NOT LIKE 'pg\\_t%'
  AND pg_catalog.pg_stat_get_xact_blocks_fetched(c.oid) > 0
"""


class Playable(Protocol):
    """What is needed of a script: `play` yields transactions, each of which yields its statements and is
    sent the rows of those that want them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - a protocol's member
    def play(  # noqa: D102 - a protocol's member
        self, pools: Sequence[Pool], variables: Iterable[tuple[str, int]], seed: int
    ) -> Iterator[Generator[Execute, Sequence[Rows] | None, None]]: ...


@dataclass(frozen=True, slots=True)
class _Count:
    """Of one relation in this transaction: rows returned, blocks fetched, scans. `table` is that of an
    index, which planning looks into as well, without a scan.
    """

    relation: Relation
    table: Relation | None
    rows: int = 0
    blocks: int = 0
    scans: int = 0


_Counts = Mapping[int, _Count]


@dataclass(slots=True)
class _Tally:
    """One statement over all draws."""

    draws: int = 0
    seconds: list[float] = field(default_factory=list)
    rows: dict[Relation, int] = field(default_factory=lambda: defaultdict(int))
    blocks: dict[Relation, int] = field(default_factory=lambda: defaultdict(int))
    indexes: set[Relation] = field(default_factory=set)
    plan: tuple[str, ...] = ()
    plan_blocks: int = -1
    refusals: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    command: str = ""
    given: bool = False
    written: list[int] = field(default_factory=list)

    def write(self, text: str, status: bytes | None) -> None:
        """Take down the command tag of `text`, if it is of one that writes: `INSERT 0 1`, `UPDATE 3`."""
        command, *_, rows = (status or b"").decode().split() or [""]
        if command in _WRITES and rows.isdecimal():
            self.command = command
            self.given = command == "INSERT" and _DEPENDING.isdisjoint(words(text))
            self.written.append(int(rows))

    def count(self, before: _Counts, after: _Counts) -> int:
        """Add what was read between the two; its blocks."""
        total = 0
        for oid, now in after.items():
            then = before.get(oid) or _Count(now.relation, now.table)
            rows, blocks = now.rows - then.rows, now.blocks - then.blocks
            table = now.table or now.relation
            if blocks > 0:
                self.blocks[table] += blocks
                total += blocks
            if rows > 0 and now.table is None:
                self.rows[table] += rows
            if now.scans > then.scans and now.table is not None:
                self.indexes.add(now.relation)
        return total

    def result(self) -> Execution:
        played = max(1, self.draws)
        tables = sorted(self.blocks.keys() | self.rows.keys())
        return Execution(
            draws=self.draws,
            seconds=tuple(self.seconds),
            reads=tuple(
                TableReads(table, self.rows[table] / played, self.blocks[table] / played) for table in tables
            ),
            indexes=tuple(sorted(self.indexes)),
            plan=self.plan,
            refusals=tuple(Refused(*key, times) for key, times in sorted(self.refusals.items())),
            command=self.command,
            given=self.given,
            written=tuple(self.written),
        )


def play(
    connection: Connection,
    script: Playable,
    pools: Sequence[Pool],
    variables: Iterable[tuple[str, int]] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> Mapping[int, Execution]:
    """Play `script` a few times, each time in a transaction that is undone: what became of each statement
    that was reached, by its place in the script. The same seed draws the same values, on any schema.

    A statement that is refused is undone by itself, and those after it are tried all the same. Constraints
    that wait for COMMIT are tried at the end, and charged to the last statement. Raises ServerLostError.
    """
    tallies: dict[int, _Tally] = defaultdict(_Tally)
    until = time.monotonic() + _ENOUGH_S
    for transaction in islice(script.play(pools, tuple(variables), seed), draws):
        _Player(connection.pgconn, script.name, tallies).run(transaction)
        if any(_TIMED_OUT in state for tally in tallies.values() for state, _ in tally.refusals):
            break  # the others would take as long, and are known by then
        if time.monotonic() > until:
            break
    return {index: tally.result() for index, tally in tallies.items()}


class _Player:
    """One transaction, undone at its end."""

    def __init__(self, connection: PGconn, script: str, tallies: dict[int, _Tally]) -> None:
        self._connection = connection
        self._script = script
        self._tallies = tallies
        self._counts: _Counts = {}
        self._last: _Tally | None = None

    def run(self, transaction: Generator[Execute, Sequence[Rows] | None, None]) -> None:
        self._do(b"BEGIN")
        try:
            self._do(_SETTINGS)
            self._counts = self._read_counts()
            rows: Sequence[Rows] | None = None
            while True:
                try:
                    statement = transaction.send(rows)
                except StopIteration:
                    self._finish()
                    return
                # the script's own BEGIN and COMMIT would end ours
                rows = self._statement(statement) if statement.control is None else None
        finally:
            self._connection.exec_(b"ROLLBACK")

    def _statement(self, statement: Execute) -> Sequence[Rows] | None:
        tally = self._last = self._tallies[statement.index]
        tally.draws += 1
        self._do(b"SAVEPOINT play")
        explained = _is_explained(statement.text)
        result, failure = self._send(statement, _EXPLAIN if explained else "")
        if failure is not None:
            self._refused(tally, failure)
            return None
        self._read(tally, result if explained else None)
        if not statement.wants_rows and not _writes(statement.text):
            return None
        if explained:  # its rows or its command tag are wanted as well, and it must not have been done twice
            self._do(b"ROLLBACK TO play")
            result, failure = self._send(statement, "")
            if failure is not None:
                self._refused(tally, failure)
                return None
            self._counts = self._read_counts()
            tally.write(statement.text, result.command_status)
        return [wire.rows_of(result)] if statement.wants_rows else None

    def _send(self, statement: Execute, prefix: str) -> tuple[PGresult, Failure | None]:
        """With parameters; where that is refused as a mistake, as the simple protocol sends it, which tells
        types from literals. The refusal is the first one.
        """
        result = self._connection.exec_params((prefix + statement.text).encode(), statement.parameters)
        failure = self._refusal(result)
        if failure is None or not failure.is_mistake:
            return result, failure
        self._do(b"ROLLBACK TO play")
        result = self._connection.exec_(prefix.encode() + statement.literal)
        return result, failure if self._refusal(result) is not None else None

    def _refused(self, tally: _Tally, failure: Failure) -> None:
        tally.refusals[failure.sqlstate, failure.message] += 1
        self._do(b"ROLLBACK TO play")
        self._counts = self._read_counts()

    def _read(self, tally: _Tally, explained: PGresult | None) -> None:
        before, self._counts = self._counts, self._read_counts()
        blocks = tally.count(before, self._counts)
        if explained is None:
            return
        documents = _documents(explained)
        times = (one.get(key, 0.0) for one in documents for key in ("Planning Time", "Execution Time"))
        tally.seconds.append(sum(times) / 1000)
        if blocks > tally.plan_blocks:
            tally.plan = tuple(line for one in documents for line in plan_lines(one))
            tally.plan_blocks = blocks

    def _finish(self) -> None:
        """What else the transaction would do at its COMMIT."""
        if self._last is None:
            return
        self._do(b"SAVEPOINT play")
        failure = self._refusal(self._connection.exec_(b"SET CONSTRAINTS ALL IMMEDIATE"))
        if failure is not None:
            self._refused(self._last, failure)
        else:
            self._last.count(self._counts, self._read_counts())

    def _read_counts(self) -> _Counts:
        result = self._connection.exec_(_COUNTS)
        if not wire.is_good(result):
            raise self._lost(wire.failure_of(result))
        found = {}
        for row in range(result.ntuples):
            oid, schema, name, table_schema, table, *numbers = (
                (result.get_value(row, column) or b"").decode() for column in range(8)
            )
            parent = Relation(table_schema, table) if table else None
            counts = (int(number or 0) for number in numbers)
            found[int(oid)] = _Count(Relation(schema, name), parent, *counts)
        return found

    def _refusal(self, result: PGresult) -> Failure | None:
        if self._connection.status != pq.ConnStatus.OK:
            raise ServerLostError(f"the connection broke while the plans of {self._script} were read")
        return None if wire.is_good(result) else wire.failure_of(result)

    def _do(self, command: bytes) -> None:
        failure = self._refusal(self._connection.exec_(command))
        if failure is not None:
            raise self._lost(failure)

    def _lost(self, failure: Failure) -> ServerLostError:
        return ServerLostError(f"the plans of {self._script} cannot be read: {failure.message}")


def _is_explained(text: str) -> bool:
    """Whether EXPLAIN takes the statement."""
    return next(iter(words(text)), "") in _EXPLAINED


def _writes(text: str) -> bool:
    """Whether the statement's command tag may say how many rows it wrote."""
    first, *others = [*words(text)] or [""]
    return first in _WRITES or (first == "WITH" and not _WRITES.isdisjoint(others))


def _documents(explained: PGresult) -> list[dict[str, Any]]:
    """The plans of one statement: none or several where rules rewrite it, and a bare word for a NOTIFY."""
    found = json.loads((explained.get_value(0, 0) or b"[]").decode())
    return [one for one in found if isinstance(one, dict)]
