"""Rows out of and into a server by COPY in text format, in blocks of whole rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, sql
from psycopg.abc import PQGen
from psycopg.generators import execute, fetch_many
from psycopg.waiting import Wait

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.primary import without_values
from rehearse.errors import DatasetError, EnvironmentFailure, RehearseError, ServerLostError
from rehearse.model.relation import Relation
from rehearse.model.target import Target

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

BLOCK_BYTES = 8 << 20
# Whoever takes the blocks does much once for each of them. The first are small, so that all can begin early.
_FIRST_ROWS, _BLOCK_ROWS = 12_500, 100_000

# How values are printed, and that rows come in one order however often they are asked for.
_READING = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "row_security": "off",  # an error rather than rows left out
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read-only transaction and the name under which others may share what it sees."""

    connection: Connection
    name: str


@contextmanager
def read_snapshot(target: Target) -> Iterator[Snapshot]:
    """One snapshot of a database that is only read: the server refuses every write in it."""
    with connect(target, "rehearse mask") as connection:
        try:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for name, value in _READING.items():
                connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
            exported = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_export_snapshot() END"
            row = connection.execute(exported).fetchone()
        except psycopg.Error as error:
            raise refused(error, "the source") from None
        yield Snapshot(connection, row[0] if row and row[0] else "")
        if not connection.closed and not connection.broken:
            connection.rollback()


def copy_out(connection: Connection, relation: Relation, columns: Sequence[str]) -> Iterator[bytes]:
    """The rows of one table, without those of its children, as blocks of COPY's text format.

    The connection is closed if they are not read to their end.
    """
    command = sql.SQL("COPY {} ({}) TO STDOUT").format(_name(relation), _names(columns))
    try:
        connection.pgconn.send_query(command.as_bytes(connection))
        _expect(connection, connection.wait(execute(connection.pgconn)), pq.ExecStatus.COPY_OUT)
        rows, ended = _FIRST_ROWS, False
        while not ended:
            block, ended = connection.wait(_block(connection.pgconn, rows))
            rows = min(2 * rows, _BLOCK_ROWS)
            if block:
                yield bytes(block)
        _expect(connection, connection.wait(fetch_many(connection.pgconn)), pq.ExecStatus.COMMAND_OK)
    except psycopg.Error as error:
        raise refused(error, relation) from None
    finally:
        if not connection.closed and connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            connection.close()


def _block(pgconn: pq.abc.PGconn, rows: int) -> PQGen[tuple[bytearray, bool]]:
    """The next `rows` at most, and whether they were the last.

    libpq is asked here rather than through a cursor, which takes as long for a row as all of masking does;
    and each row is copied while it is in the processor's cache.
    """
    block = bytearray()
    for _ in range(rows):
        size, row = pgconn.get_copy_data(1)
        while size == 0:  # nothing has come yet
            yield Wait.R
            pgconn.consume_input()
            size, row = pgconn.get_copy_data(1)
        if size < 0:
            return block, True
        block += row
        if len(block) >= BLOCK_BYTES:
            break
    return block, False


def _expect(connection: Connection, results: list[pq.abc.PGresult], status: pq.ExecStatus) -> None:
    """The server's refusal as the driver's error."""
    for result in results:
        if result.status != status:
            raise psycopg.errors.error_from_result(result, connection.info.encoding)


def copy_in(
    connection: Connection, relation: Relation, columns: Sequence[str], blocks: Iterable[bytes]
) -> None:
    """Blocks of COPY's text format into a table. The server's complaint comes without the row."""
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(_name(relation), _names(columns))
    try:
        with connection.cursor().copy(command) as copy:
            for block in blocks:
                copy.write(block)
    except psycopg.Error as error:
        raise refused(error, relation) from None


def is_raised(error: BaseException | None) -> bool:
    """Whether a function of the schema's own raised it: its message may say anything, a row's values too."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("P0")


def refused(error: psycopg.Error, what: object) -> RehearseError:
    """The server's primary message: its DETAIL and CONTEXT quote rows, and are never shown."""
    if isinstance(error, psycopg.errors.DiskFull):
        return EnvironmentFailure(f"disk full: the server has no space left for {what}")
    if error.sqlstate is None or isinstance(
        error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown | psycopg.errors.CannotConnectNow
    ):
        return ServerLostError(f"the server went away at {what}")
    if is_raised(error):
        return DatasetError(f"{what}: a function of the schema raised an error", "give what it reads a rule")
    message = without_values(error.sqlstate, error.diag.message_primary or type(error).__name__)
    named = error.diag.constraint_name or error.diag.column_name
    if named and named not in message:
        message = f"{message} ({named})"
    return DatasetError(f"{what}: {message}", "give the column a rule that fits")


def _name(relation: Relation) -> sql.Identifier:
    return sql.Identifier(relation.schema, relation.name)


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
