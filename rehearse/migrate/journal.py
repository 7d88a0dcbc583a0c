"""The run as it is written down: statements, and the transactions they ran in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rehearse.engines.postgres.session import Reply
from rehearse.engines.postgres.split import SqlStatement
from rehearse.model.migration import (
    Effects,
    MigrationRun,
    SessionWork,
    Statement,
    StatementOutcome,
    TransactionMode,
    TransactionSpan,
)

LOST = "the server closed the connection"
LOST_SQLSTATE = "08006"  # connection_failure
CANCEL_SQLSTATE = "57014"  # query_canceled
LEFT_OPEN = "the transaction was still open at the end of the file, and was rolled back"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a statement ended."""

    outcome: StatementOutcome
    sqlstate: str | None = None
    message: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the next one may follow."""
        return self.outcome is StatementOutcome.OK


def overdue(timeout_s: float) -> Ending:
    """The migration was stopped because it took too long."""
    message = f"cancelled: the migration took longer than {timeout_s:g} s"
    return Ending(StatementOutcome.CANCELLED, CANCEL_SQLSTATE, message)


def ending_of(reply: Reply, timeout_s: float) -> Ending:
    """How the reply says that it ended."""
    failure = reply.failure
    if failure is None:
        return Ending(StatementOutcome.OK)
    if reply.cancelled and (reply.lost or failure.sqlstate == CANCEL_SQLSTATE):
        return overdue(timeout_s)
    if reply.lost:
        message = f"{LOST}: {failure.message}" if failure.message else LOST
        return Ending(StatementOutcome.FAILED, failure.sqlstate or LOST_SQLSTATE, message)
    return Ending(StatementOutcome.FAILED, failure.sqlstate, failure.message)


class Journal:
    """Statements are numbered over all files, transactions in the order they begin."""

    def __init__(self, mode: TransactionMode, sources: Sequence[SqlStatement], started_ns: int) -> None:
        self._mode = mode
        self._sources = sources
        self._started_ns = started_ns
        self._statements: list[Statement] = []
        self._spans: list[TransactionSpan] = []
        self._open_ns: int | None = None

    @property
    def next(self) -> int:
        """Index of the statement that comes next."""
        return len(self._statements)

    @property
    def in_transaction(self) -> bool:
        """Whether one is open."""
        return self._open_ns is not None

    def begin(self, at_ns: int) -> None:
        """A transaction begins."""
        self._open_ns = at_ns

    def end(self, at_ns: int, *, committed: bool) -> None:
        """The open transaction ends; nothing happens where none is open."""
        if self._open_ns is not None:
            self._spans.append(TransactionSpan(len(self._spans), self._open_ns, at_ns, committed))
        self._open_ns = None

    def account(self, work: SessionWork) -> None:
        """What the last transaction cost; nothing happens where there was none."""
        if self._spans:
            self._spans[-1] = replace(self._spans[-1], work=work)

    def transaction(self) -> int:
        """Index of the transaction that is open, or that begins next."""
        return len(self._spans)

    def add(
        self,
        ending: Ending,
        times_ns: tuple[int, int],
        *,
        transaction: int,
        lock_timeout_ms: int,
        effects: Effects | None,
        statement_timeout_ms: int = 0,
    ) -> None:
        """The next statement was executed between `times_ns`."""
        source = self._sources[self.next]
        self._statements.append(
            Statement(
                index=self.next,
                text=source.text,
                file=source.file,
                line=source.line,
                command=source.command,
                transaction=transaction,
                started_ns=times_ns[0],
                ended_ns=max(times_ns),
                outcome=ending.outcome,
                sqlstate=ending.sqlstate,
                message=ending.message,
                lock_timeout_ms=lock_timeout_ms,
                statement_timeout_ms=statement_timeout_ms,
                effects=effects,
            )
        )

    def amend_last(self, ending: Ending) -> None:
        """What happened after the last statement belongs to it: the COMMIT that was put behind it."""
        self._statements[-1] = replace(
            self._statements[-1],
            outcome=ending.outcome,
            sqlstate=ending.sqlstate,
            message=ending.message,
        )

    def run(self, ended_ns: int) -> MigrationRun:
        """The whole; what never came to be executed is written down as such."""
        self.end(ended_ns, committed=False)
        while self.next < len(self._sources):
            self.add(
                Ending(StatementOutcome.NOT_RUN),
                (ended_ns, ended_ns),
                transaction=self.transaction(),
                lock_timeout_ms=0,
                effects=None,
            )
        return MigrationRun(
            self._mode, self._started_ns, ended_ns, tuple(self._statements), tuple(self._spans)
        )
