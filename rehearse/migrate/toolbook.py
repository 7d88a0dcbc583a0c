"""What a migration tool's sessions did, written down together: they may be several at once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from rehearse.migrate.journal import CANCEL_SQLSTATE
from rehearse.migrate.telling import repeats, telling_line
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    MigrationRun,
    MigrationState,
    SessionWork,
    Statement,
    StatementOutcome,
    ToolRun,
    TransactionMode,
    TransactionSpan,
)

HUNG_UP = "the tool hung up while it ran"
LONGEST_TEXT = 20_000  # characters kept of a statement: what follows is values
_PASSWORD = re.compile(r"(\b(?:PASSWORD|CONNECTION)\s+)E?'(?:[^']|'')*'", re.IGNORECASE)
_UNDOING = frozenset({"ROLLBACK", "ABORT", "RESET", "DISCARD"})
_ASKING = frozenset(
    {
        *("ABORT", "BEGIN", "COMMIT", "DEALLOCATE", "DISCARD", "END", "EXPLAIN", "FETCH", "RELEASE", "RESET"),
        *("ROLLBACK", "SAVEPOINT", "SELECT", "SET", "SHOW", "START", "VALUES", ""),
    }
)


def shown(text: str) -> str:
    """The text of a statement as it is kept."""
    text = _PASSWORD.sub(r"\1'***'", text)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ..."


class ToolBook:
    """Statements are numbered over all sessions in the order they begin, and so are transactions.

    `on_state` is told of every statement before it is sent, in the thread of its session.
    """

    def __init__(self, name: str, on_state: Callable[[MigrationState], None]) -> None:
        self.name = name
        self.sessions = 0
        self._on_state = on_state
        self._lock = threading.Lock()
        self._announced = 0
        self._begun = 0
        self._committed = 0
        self._pids: frozenset[int] = frozenset()
        self._statements: list[Statement] = []
        self._spans: list[TransactionSpan] = []

    @property
    def committed(self) -> int:
        """How many transactions have been committed that may have changed something."""
        return self._committed

    def joined(self, pid: int) -> None:
        """A session has been opened; its server process is `pid`."""
        with self._lock:
            self.sessions += 1
            self._pids |= {pid}

    def announce(self, pid: int, text: str) -> tuple[int, int]:
        """A statement is about to be sent: its index, and the time."""
        with self._lock:
            index, self._announced = self._announced, self._announced + 1
            pids = self._pids
        started_ns = time.monotonic_ns()
        self._on_state(MigrationState(pid, index, text, started_ns, pids))
        return index, time.monotonic_ns()

    def begin(self) -> int:
        """A transaction begins: its number."""
        with self._lock:
            number, self._begun = self._begun, self._begun + 1
        return number

    def end(self, span: TransactionSpan, *, changed: bool) -> None:
        """It has ended."""
        with self._lock:
            self._spans.append(span)
            self._committed += span.committed and changed

    def account(self, number: int, work: SessionWork) -> None:
        """What the transaction `number` cost."""
        with self._lock:
            self._spans = [replace(s, work=work) if s.index == number else s for s in self._spans]

    def add(self, statement: Statement) -> None:
        """A statement has ended."""
        with self._lock:
            self._statements.append(statement)

    def run(self, started_ns: int, ended: ToolRun, *, overdue_s: float | None) -> MigrationRun:
        """The whole. `overdue_s`: it was ended by us after that many seconds."""
        now_ns = time.monotonic_ns()
        with self._lock:
            statements = sorted(self._statements, key=lambda s: s.index)
            spans = tuple(sorted(self._spans, key=lambda s: s.index))
        # what a session that never told its end had announced leaves no hole
        statements = [replace(s, index=place) for place, s in enumerate(statements)]
        if ended.exit_status != 0:
            statements = _stopped(statements, ended, now_ns, overdue_s, self._begun)
        else:
            statements = [_not_seen_to_end(s) for s in statements]
        return MigrationRun(
            TransactionMode.AS_WRITTEN, started_ns, now_ns, tuple(statements), spans, tool=ended
        )


def _not_seen_to_end(statement: Statement) -> Statement:
    """One whose end a tool did not wait for and yet ended well: elsewhere the server would have done it, so
    that it counts as done, and as unread.
    """
    if statement.message != HUNG_UP:
        return statement
    return replace(statement, outcome=StatementOutcome.OK, effects=None)


def _stopped(
    statements: list[Statement], ended: ToolRun, now_ns: int, overdue_s: float | None, transaction: int
) -> list[Statement]:
    """The statement at which the tool gave up; the command itself, where all of them had succeeded."""
    last = _refused(statements, ended)
    how, outcome, sqlstate = _how(ended, overdue_s)
    if last is not None:
        how = _once(last.message or "", how)
        message = how if overdue_s is not None or not last.message else f"{last.message}; {how}"
        failed = replace(last, outcome=outcome, message=message, sqlstate=last.sqlstate or sqlstate)
        return [failed if s.index == last.index else s for s in statements]
    began_ns = max((s.ended_ns for s in statements), default=now_ns)
    text = ended.command
    command = text.split(" ")[0].rpartition("/")[2]
    return [
        *statements,
        Statement(
            index=len(statements),
            text=text,
            file=ended.command,
            line=len(statements) + 1,
            command=command,
            transaction=transaction,
            started_ns=began_ns,
            ended_ns=now_ns,
            outcome=outcome,
            sqlstate=sqlstate,
            message=how,
            effects=Effects(),
        ),
    ]


def _refused(statements: list[Statement], ended: ToolRun) -> Statement | None:
    """What the server refused and the tool gave up for: it did nothing after it but clean up, or it says the
    same itself.
    """
    last = next((s for s in reversed(statements) if s.command not in _UNDOING), None)
    refused = next((s for s in reversed(statements) if s.outcome is StatementOutcome.REFUSED), None)
    if refused is None or refused is last:
        return refused
    return refused if repeats(ended.output, refused.message or "") else None


def _how(ended: ToolRun, overdue_s: float | None) -> tuple[str, StatementOutcome, str | None]:
    if overdue_s is not None:
        message = f"cancelled: the migration took longer than {overdue_s:g} s"
        return message, StatementOutcome.CANCELLED, CANCEL_SQLSTATE
    line = telling_line(ended.output)
    said = f": {line}" if line else ""
    if ended.exit_status is None:
        return "the tool was ended with the rehearsal", StatementOutcome.FAILED, None
    if ended.exit_status < 0:
        return f"the tool was ended by signal {-ended.exit_status}{said}", StatementOutcome.FAILED, None
    return f"the tool ended with exit status {ended.exit_status}{said}", StatementOutcome.FAILED, None


def _once(message: str, how: str) -> str:
    """How the tool ended, without what it said where that is the server's message again."""
    ended, _, said = how.partition(": ")
    return ended if repeats([said], message) else how


def changed_nothing(statements: Iterable[Statement]) -> bool:
    """Whether they did nothing but ask: none that succeeded is of another kind, or locked or wrote."""
    return not any(
        s.command.split(" ")[0] not in _ASKING or (s.effects is not None and _wrote(s.effects))
        for s in statements
        if s.outcome is StatementOutcome.OK
    )


def _wrote(effects: Effects) -> bool:
    locked = any(lock.mode is not LockMode.ACCESS_SHARE for lock in effects.locks)
    return locked or bool(effects.rows_changed or effects.columns or effects.relations)
