"""One connection of a driver process, and all it does that is not the fast path.

Whatever waits is a generator, as `engines.postgres.wire` describes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import OperationalError, pq
from psycopg.pq.abc import PGconn, PGresult

from rehearse.engines.postgres import frames, wire
from rehearse.engines.postgres.wire import Execute, Failure, Rows, Value, Wait
from rehearse.model.workload import Outcome, PoolKey, Protocol
from rehearse.workload.bulk import Row
from rehearse.workload.commands import PipelineStep
from rehearse.workload.evaluate import Tape
from rehearse.workload.interpret import CaptureError, Pause, Performance, UnsendableError

NEVER: Final = 2**62
_FIRST_RETRY_NS, _LAST_RETRY_NS = 10_000_000, 1_000_000_000
_NO_TRANSACTION: Final = ord("I")
_IN_TRANSACTION = frozenset({pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR})


@dataclass(frozen=True, slots=True)
class Ending:
    """How a transaction ended. `stale` says that the failed statement has to be prepared again."""

    outcome: Outcome = Outcome.OK
    sqlstate: str | None = None
    statement: int = -1
    stale: bool = False


class PrepareError(Exception):
    """The server refuses a statement of a script."""

    def __init__(self, script: int, statement: int, failure: Failure) -> None:
        super().__init__(script, statement, failure)
        self.script = script
        self.statement = statement
        self.failure = failure


Task = Generator[int, None, Ending | None]
Statements = Sequence[Sequence[bytes]]
"""The text of every statement of every script."""


def statement_name(script: int, statement: int) -> bytes:
    """What a statement is prepared as."""
    return b"r%d_%d" % (script, statement)


class Session:
    """A connection and the transaction on it.

    `task` is what it is waiting in, None on the fast path and while idle; `fast` says that the fast path
    is waiting for an answer; `alarm` is the number of the timer it sleeps until, 0 while it does not sleep.
    `started_ns` is NEVER while no transaction is out; `unfit`, where not 0, keeps it off the fast path.

    Where it is `direct`, the fast path writes to the socket itself: `unsent` is what did not fit into it,
    `answer` what has come of an answer that takes more than a look (None: nothing), `status` the
    transaction's status by the last such answer (0: libpq knows), `endings` the good ones of each statement.
    """

    __slots__ = (
        "alarm", "answer", "connecting", "consume_input", "direct", "draw", "endings", "failure", "fast",
        "fd", "flush", "free_since_ns", "get_result", "has_settings", "heads", "is_busy", "last_step",
        "number", "open_to_us", "pg", "pipe", "prepared", "protocol", "rest", "retried_ns", "retries", "row",
        "scheduled_ns", "script", "send", "settings", "started_ns", "statements", "status", "step",
        "syncs", "tape", "task", "unfit", "unsent", "variables", "watching",
    )  # fmt: skip

    pg: PGconn
    consume_input: Callable[[], None]
    is_busy: Callable[[], int]
    get_result: Callable[[], PGresult | None]
    flush: Callable[[], int]
    send: Callable[..., None]
    draw: Callable[[PoolKey], bytes | None]  # the rows of the interpreter's transaction

    def __init__(
        self, number: int, protocol: Protocol, statements: Statements, variables: dict[str, Value]
    ) -> None:
        self.number = number
        self.protocol = protocol
        self.statements = statements
        self.variables = variables
        self.tape: Tape | None = None  # the interpreter's draws, where it may be tried again
        self.unfit = 0
        self.retries = self.retried_ns = 0  # how often the transaction that was due then was sent again
        self.settings = b""  # the SQL that set the time-outs in force
        self.has_settings = False  # scripts differ in theirs
        self.direct = self.open_to_us = False
        self.prepared: set[tuple[int, int]] = set()
        self.fd = -1
        self.watching = 0
        self.task: Task | None = None
        self.pipe: list[int] | None = None  # the statements sent in the open pipeline
        self.syncs = 0
        self.alarm = 0
        self.connecting = self.fast = False
        self.failure: Failure | None = None
        self.answer: frames.Answer | None = None
        self.unsent = b""
        self.status = 0
        self.endings: list[tuple[bytes, ...]] = []
        self.rest: tuple[bytes, bytes] = (b"", b"")  # of a sample, as `spool.rest_of_good` has it
        self.row: Row = ()
        self.heads: Sequence[bytes] = ()
        self.step = self.last_step = self.script = 0
        self.scheduled_ns = self.free_since_ns = 0
        self.started_ns = NEVER

    @property
    def server_pid(self) -> int:
        """The process that serves the connection, 0 while there is none."""
        return self.pg.backend_pid if self.fd >= 0 and not self.connecting else 0

    def open(self, conninfo: bytes, *, strict: bool) -> Task:
        """Connect and prepare every statement. ConnectionError where that cannot be.

        A statement that the server refuses raises PrepareError if `strict`; otherwise it is prepared when
        its turn comes, and fails then.
        """
        self.connecting = True
        pg = self.pg = pq.PGconn.connect_start(conninfo)
        yield from wire.connecting(pg)
        self.connecting = False
        self.consume_input, self.is_busy = pg.consume_input, pg.is_busy
        self.get_result, self.flush = pg.get_result, pg.flush
        self.send = self._sender(pg)
        self.answer, self.unsent, self.status = None, b"", 0
        self.open_to_us = frames.is_open_to_us(pg)
        self.prepared.clear()
        self.settings = b""
        self.count_unfit()
        if self.protocol is Protocol.PREPARED:
            for script, texts in enumerate(self.statements):
                for statement in range(len(texts)):
                    failure = yield from self._prepare(script, statement)
                    if failure is not None and strict:
                        raise PrepareError(script, statement, failure)
        return None

    def learn(self, statements: Statements) -> Task:
        """Prepare what did not exist when the connection was opened; what the server refuses fails when its
        turn comes.
        """
        self.statements = statements
        if self.protocol is Protocol.PREPARED:
            for script, texts in enumerate(statements):
                for statement in range(len(texts)):
                    yield from self._prepare(script, statement)
        return None

    def reopen(self, conninfo: bytes) -> Task:
        """Connect anew, however often it takes."""
        delay_ns = _FIRST_RETRY_NS
        while True:
            # spread out, so that the clients do not all come at once
            yield time.monotonic_ns() + delay_ns + delay_ns * (self.number % 7) // 14
            try:
                yield from self.open(conninfo, strict=False)
            except (ConnectionError, OperationalError):
                self.close()
                delay_ns = min(2 * delay_ns, _LAST_RETRY_NS)
            else:
                return None

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if hasattr(self, "pg"):
            self.pg.finish()
        self.connecting = False
        self.watching = 0
        self.fd = -1

    def count_unfit(self) -> None:
        """How much there is that the fast path cannot do without."""
        self.unfit = int(self.direct and not self.open_to_us) + int(self.has_settings)
        if self.protocol is Protocol.PREPARED:
            self.unfit += sum(map(len, self.statements)) - len(self.prepared)

    def perform(self, performance: Performance) -> Generator[int, None, Ending]:
        """One transaction by the interpreter."""
        rows: Sequence[Rows] | None = None
        self.pipe = None
        self.status = 0
        try:
            while True:
                action = performance.send(rows)
                rows = ending = None
                if not isinstance(action, Execute):
                    ending = yield from self._aside(action)
                elif self.pipe is not None:
                    self._send_piped(action, self.pipe)
                else:
                    ending, rows = yield from self._execute(action)
                if ending is not None:
                    return ending
        except StopIteration:
            return Ending()
        except CaptureError as error:
            return Ending(Outcome.ERROR, error.sqlstate, error.statement)
        except UnsendableError:
            if self.pipe is not None:
                yield from self._aside(PipelineStep.END)
            return Ending(Outcome.SKIPPED)

    def have(self, settings: bytes) -> Wait:
        """See to it that these time-outs are in force."""
        if settings != self.settings:
            self.pg.send_query(settings)
            if wire.failed((yield from wire.answer(self.pg))) is None:
                self.settings = settings

    def recover(self, ending: Ending) -> Task:
        """Whatever has to be done after a transaction before the next one can be sent."""
        if self.needs_rollback:
            self.status = 0
            self.pg.send_query(b"ROLLBACK")
            yield from wire.answer(self.pg)
        if ending.stale:
            yield from self._prepare_again(self.script, ending.statement)
        return None

    @property
    def needs_rollback(self) -> bool:
        """Whether a transaction is still open on the connection."""
        if self.status:
            return self.status != _NO_TRANSACTION
        return self.pg.transaction_status in _IN_TRANSACTION

    def _sender(self, pg: PGconn) -> Callable[..., None]:
        if self.protocol is Protocol.PREPARED:
            return pg.send_query_prepared
        if self.protocol is Protocol.EXTENDED:
            return pg.send_query_params
        return lambda _head, text: pg.send_query(text)

    def _prepare(self, script: int, statement: int) -> Generator[int, None, Failure | None]:
        self.pg.send_prepare(statement_name(script, statement), self.statements[script][statement])
        failure = wire.failed((yield from wire.answer(self.pg)))
        if failure is None:
            self.prepared.add((script, statement))
        self.count_unfit()
        return failure

    def _prepare_again(self, script: int, statement: int) -> Wait:
        """As an ordinary driver does when a plan has gone stale; if it cannot be, the next use will tell."""
        self.prepared.discard((script, statement))
        self.count_unfit()
        self.pg.send_query(b"DEALLOCATE " + statement_name(script, statement))
        yield from wire.answer(self.pg)
        yield from self._prepare(script, statement)

    def _aside(self, action: Pause | PipelineStep) -> Generator[int, None, Ending | None]:
        """What is not a statement; how the transaction ended, if it did."""
        if isinstance(action, Pause):
            yield time.monotonic_ns() + action.length_ns
            return None
        if action is PipelineStep.START:
            self.pg.enter_pipeline_mode()
            self.pipe, self.syncs = [], 0
            return None
        self.pg.pipeline_sync()
        self.syncs += 1
        if action is PipelineStep.SYNC or self.pipe is None:
            return None
        sent, self.pipe = self.pipe, None
        return (yield from self._end_pipeline(sent, self.syncs))

    def _execute(self, action: Execute) -> Generator[int, None, tuple[Ending | None, Sequence[Rows] | None]]:
        failure: Failure | None = None
        if self.protocol is Protocol.PREPARED and (self.script, action.index) not in self.prepared:
            failure = yield from self._prepare(self.script, action.index)
        if failure is None:
            self._send(action)
            results = yield from wire.answer(self.pg)
            failure = wire.failed(results)
        if failure is not None:
            return _error(failure, action.index), None
        return None, [wire.rows_of(result) for result in results] if action.wants_rows else None

    def _send(self, action: Execute) -> None:
        if self.protocol is Protocol.SIMPLE:
            self.pg.send_query(action.literal)
        elif self.protocol is Protocol.EXTENDED:
            self.pg.send_query_params(action.text.encode(), action.parameters)
        else:
            self.pg.send_query_prepared(statement_name(self.script, action.index), action.parameters)

    def _send_piped(self, action: Execute, sent: list[int]) -> None:
        """Add a statement to the pipeline; `sent` notes whose answers will come."""
        if self.protocol is Protocol.PREPARED and (self.script, action.index) not in self.prepared:
            self.pg.send_query_params(action.text.encode(), action.parameters)
        else:
            self._send(action)
        sent.append(action.index)

    def _end_pipeline(self, sent: Sequence[int], syncs: int) -> Generator[int, None, Ending | None]:
        """Take all answers; the first refusal is the transaction's."""
        yield from wire.flushed(self.pg)
        ending: Ending | None = None
        place = 0
        while syncs:
            while self.pg.is_busy():
                yield wire.READ
            result = self.pg.get_result()
            if result is None:
                place += 1
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                syncs -= 1
            elif result.status == pq.ExecStatus.FATAL_ERROR and ending is None:
                if self.pg.status == pq.ConnStatus.BAD:
                    raise ConnectionError("the connection broke in a pipeline")
                ending = _error(wire.failure_of(result), sent[min(place, len(sent) - 1)])
        self.pg.exit_pipeline_mode()
        return ending


def _error(failure: Failure, statement: int) -> Ending:
    return Ending(Outcome.ERROR, failure.sqlstate, statement, failure.stale_plan)
