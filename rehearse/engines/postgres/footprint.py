"""Which tables a script locks, and how: read from `pg_locks` inside its own transaction."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from rehearse.engines.postgres import wire
from rehearse.engines.postgres.wire import Execute, Failure, Rows
from rehearse.errors import ServerLostError, SqlFileError
from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation
from rehearse.model.workload import Footprint, Pool

_TIMES = 5  # with other values each: a branch may not be taken, a row may not be there
_FIRST_USER_OID = 16384
_LOCKS = f"""
SELECT n.nspname, c.relname, l.mode
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
  AND l.relation >= {_FIRST_USER_OID} AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp\\_%'
""".encode()  # noqa: S608 - a constant of ours
# nothing else runs at this time: what waits longer waits for itself
_SETTINGS = b"SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '10s'"

_Locks = set[tuple[Relation, LockMode]]


class Playable(Protocol):
    """What a footprint needs of a script: a name, and statements with values drawn for them.

    `play` yields transactions; each yields its statements, and is sent the rows of those that want them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said of the class
    @property
    def file(self) -> str: ...  # noqa: D102 - said of the class
    def play(  # noqa: D102 - said of the class
        self, pools: Sequence[Pool], variables: Iterable[tuple[str, int]], seed: int
    ) -> Iterator[Generator[Execute, Sequence[Rows] | None, None]]: ...


def footprint(
    connection: psycopg.Connection[tuple[Any, ...]],
    script: Playable,
    pools: Sequence[Pool],
    variables: Iterable[tuple[str, int]] = (),
    seed: int = 0,
) -> Footprint:
    """Run `script` a few times, each time in a transaction that is rolled back, and note its locks.

    A statement that fails because of its values is only parsed, which still tells the tables it names.
    Raises SqlFileError where a statement itself is wrong, ServerLostError where the connection broke.
    """
    locks: _Locks = set()
    for transaction in islice(script.play(pools, tuple(variables), seed), _TIMES):
        _Probe(connection.pgconn, script, locks).run(transaction)
    ordered = sorted(locks, key=lambda lock: (lock[0], lock[1].strength))
    return Footprint(script.name, tuple(ordered))


class _Probe:
    """One transaction, undone at its end."""

    def __init__(self, connection: PGconn, script: Playable, locks: _Locks) -> None:
        self._connection = connection
        self._script = script
        self._locks = locks

    def run(self, transaction: Generator[Execute, Sequence[Rows] | None, None]) -> None:
        self._do(b"BEGIN")
        self._do(_SETTINGS)
        try:
            rows: Sequence[Rows] | None = None
            while True:
                try:
                    statement = transaction.send(rows)
                except StopIteration:
                    return
                # the script's own BEGIN and COMMIT would end ours
                rows = self._statement(statement) if statement.control is None else None
        finally:
            self._connection.exec_(b"ROLLBACK")

    def _statement(self, statement: Execute) -> Sequence[Rows] | None:
        self._do(b"SAVEPOINT footprint")
        text = statement.text.encode()
        result = self._connection.exec_params(text, statement.parameters)
        failure = self._refusal(result)
        if failure is not None and failure.is_mistake:
            # as the simple protocol sends it: types may be told from literals, and it may be several
            self._do(b"ROLLBACK TO footprint")
            result = self._connection.exec_(statement.literal)
            if self._refusal(result) is not None:
                raise self._error(statement, failure)
            failure = None
        if failure is not None:
            self._do(b"ROLLBACK TO footprint")
            self._connection.prepare(b"", text)
        elif statement.wants_rows:
            rows = [wire.rows_of(result)]
            self._read_locks()
            return rows
        self._read_locks()
        return None

    def _refusal(self, result: PGresult) -> Failure | None:
        if self._connection.status != pq.ConnStatus.OK:
            raise ServerLostError(f"the connection broke while {self._script.file} was tried")
        return None if wire.is_good(result) else wire.failure_of(result)

    def _read_locks(self) -> None:
        if self._connection.transaction_status == pq.TransactionStatus.INERROR:
            self._do(b"ROLLBACK TO footprint")
            return
        result = self._connection.exec_(_LOCKS)
        for row in range(result.ntuples):
            schema, name, mode = ((result.get_value(row, column) or b"").decode() for column in range(3))
            self._locks.add((Relation(schema, name), LockMode(mode)))

    def _do(self, command: bytes) -> None:
        failure = self._refusal(self._connection.exec_(command))
        if failure is not None:
            raise ServerLostError(f"{self._script.file} cannot be tried: {failure.message}")

    def _error(self, statement: Execute, failure: Failure) -> SqlFileError:
        before = statement.text[: max(failure.position - 1, 0)]
        return SqlFileError(self._script.file, statement.line + before.count("\n"), failure.message)
