"""One session that sends SQL text as psql does (the simple protocol), with a deadline and a way out."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.primary import without_values
from rehearse.model.target import Target

CANCEL_GRACE_S = 10.0
_POLL_MS = 200  # how long a Ctrl-C may have to wait
_COPY_CHUNK = 1 << 16
_BAD = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.NONFATAL_ERROR)


@dataclass(frozen=True, slots=True)
class Failure:
    """What the server refused. `message` is its primary message alone: DETAIL may quote rows."""

    sqlstate: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers to one query string.

    `answers` has one list of rows for each of its statements that succeeded, `failure` is what stopped
    it. `cancelled` says that the deadline passed and the server was told to stop; `lost` that the
    connection is gone.
    """

    answers: tuple[tuple[tuple[str | None, ...], ...], ...]
    tags: tuple[str, ...]
    ended_ns: int
    failure: Failure | None = None
    cancelled: bool = False
    lost: bool = False


class _LostError(Exception):
    """The connection broke; what libpq says about it is of no more use."""


class Session:
    """A connection of its own. Leaving it by an exception cancels what is still running on the server."""

    def __init__(self, target: Target, application_name: str) -> None:
        self._connection = connect(target, application_name)
        self._pgconn = self._connection.pgconn
        self._pgconn.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket)
        self._deadline_ns: int | None = None
        self._cancelled = False
        self.pid = self._pgconn.backend_pid
        self.server_version = self._pgconn.server_version

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cancel()
        self._connection.close()

    @property
    def idle(self) -> bool:
        """Whether no transaction is open (a lost connection has none)."""
        return self._pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._pgconn.status == ConnStatus.BAD

    def query(
        self,
        text: str,
        *,
        copy_data: Sequence[str] = (),
        deadline_ns: int | None = None,
        on_answer: Callable[[int], None] = lambda _: None,
    ) -> Reply:
        """Sends `text` as one simple query and waits for all its answers.

        `copy_data` feeds its COPY ... FROM stdin in order. After `deadline_ns` (monotonic) the server is
        told to cancel. `on_answer` is called with the number of statements answered so far. A failure is
        part of the reply, not an exception.
        """
        self._deadline_ns = deadline_ns
        self._cancelled = False
        answers: list[tuple[tuple[str | None, ...], ...]] = []
        tags: list[str] = []
        failure: Failure | None = None
        feeds = iter(copy_data)
        try:
            self._pgconn.send_query(self._encode(text))
            self._flush()
            for result in self._results(feeds):
                if result.status in _BAD:
                    failure = self._failure(result)
                    continue
                answers.append(self._rows(result))
                tags.append((result.command_status or b"").decode())
                on_answer(len(answers))
        except (_LostError, psycopg.OperationalError):
            self._pgconn.finish()
            failure = failure or Failure(None, "")
        ended_ns = time.monotonic_ns()
        return Reply(tuple(answers), tuple(tags), ended_ns, failure, self._cancelled, self.lost)

    def query_with(self, text: str, question: str, *, deadline_ns: int | None = None) -> Reply:
        """Sends the one statement `text`, and `question` right behind it, in one pipeline of the extended
        protocol: a statement that ends transactions may do so as by hand, and the server is not idle in
        between.
        """
        self._deadline_ns = deadline_ns
        self._cancelled = False
        answers: list[tuple[tuple[str | None, ...], ...]] = []
        tags: list[str] = []
        failure: Failure | None = None
        try:
            self._pgconn.enter_pipeline_mode()
            for each in (text, question):
                self._pgconn.send_query_params(self._encode(each), None)
            self._pgconn.pipeline_sync()
            self._flush()
            for result in self._pipelined():
                if result.status in _BAD:
                    failure = self._failure(result)
                elif result.status != ExecStatus.PIPELINE_ABORTED:
                    answers.append(self._rows(result))
                    tags.append((result.command_status or b"").decode())
            self._pgconn.exit_pipeline_mode()
        except (_LostError, psycopg.OperationalError):
            self._pgconn.finish()
            failure = failure or Failure(None, "")
        ended_ns = time.monotonic_ns()
        return Reply(tuple(answers), tuple(tags), ended_ns, failure, self._cancelled, self.lost)

    def _pipelined(self) -> Iterator[PGresult]:
        """Up to the end of the pipeline; the results of each of its statements end with a None."""
        while True:
            result = self._next_result()
            if result is None and self.lost:
                raise _LostError
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                return
            if result is not None:
                yield result

    def _results(self, feeds: Iterator[str]) -> Iterator[PGresult]:
        while (result := self._next_result()) is not None:
            if result.status == ExecStatus.COPY_IN:
                self._feed(next(feeds, ""))
            elif result.status == ExecStatus.COPY_OUT:
                self._drain()
            else:
                yield result

    def _next_result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
            self._pgconn.consume_input()
        return self._pgconn.get_result()

    def _feed(self, data: str) -> None:
        encoded = self._encode(data)
        for start in range(0, len(encoded), _COPY_CHUNK):
            while self._pgconn.put_copy_data(encoded[start : start + _COPY_CHUNK]) == 0:
                self._wait(select.POLLOUT)
            self._flush()
        while self._pgconn.put_copy_end() == 0:
            self._wait(select.POLLOUT)
        self._flush()

    def _drain(self) -> None:
        """What COPY ... TO stdout prints is of no use here."""
        while (size := self._pgconn.get_copy_data(1)[0]) >= 0:
            if size == 0:
                self._wait(select.POLLIN)
                self._pgconn.consume_input()

    def _flush(self) -> None:
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)
            self._pgconn.consume_input()

    def _wait(self, events: int) -> None:
        """Until the socket is ready; keeps the deadline meanwhile."""
        self._poll.modify(self._pgconn.socket, events)
        while not self._poll.poll(_POLL_MS):
            if self._deadline_ns is None:
                continue
            late_ns = time.monotonic_ns() - self._deadline_ns
            if late_ns > 0 and not self._cancelled:
                self._cancel()
            elif late_ns > CANCEL_GRACE_S * 1e9:
                raise _LostError  # it does not listen: only hanging up is left

    def _cancel(self) -> None:
        self._cancelled = True
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_GRACE_S / 2)

    def _rows(self, result: PGresult) -> tuple[tuple[str | None, ...], ...]:
        return tuple(
            tuple(self._decode(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        )

    def _failure(self, result: PGresult) -> Failure:
        primary = self._decode(result.error_field(DiagnosticField.MESSAGE_PRIMARY))
        sqlstate = self._decode(result.error_field(DiagnosticField.SQLSTATE))
        return Failure(sqlstate, without_values(sqlstate, primary or ""))

    def _encode(self, text: str) -> bytes:
        return text.encode(self._connection.info.encoding)

    def _decode(self, value: bytes | None) -> str | None:
        return None if value is None else value.decode(self._connection.info.encoding, "replace")
