"""Sessions taken apart into transactions, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from rehearse.engines.postgres.command import Control
from rehearse.workload.evidence.entry import Item, LogEntry, Tally, Tear
from rehearse.workload.evidence.logged import (
    DurationOnly,
    Ending,
    LoggedStatement,
    LoggedTransaction,
    controls_of,
    message_of,
)

_MOST_STATEMENTS = 20_000
_MOST_HELD = 200
_MOST_SESSIONS = 20_000
_ERRORS = frozenset({"ERROR", "FATAL", "PANIC"})
_CLOSING = frozenset({Control.COMMIT, Control.ROLLBACK})

TORN = "transactions that are not whole: lines are missing or damaged"
UNFINISHED = "transactions that the log begins or ends in the middle of"
FAILED = "statements that the server refused"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions count; empty: all."""

    database: str = ""
    user: str = ""

    def takes(self, entry: LogEntry) -> bool:
        """Whether an entry is of such a session. Our own sessions never are."""
        return (
            (not self.database or entry.database == self.database)
            and (not self.user or entry.user == self.user)
            and not entry.application.startswith("rehearse")
        )


@dataclass(slots=True)
class _Session:
    """Where a session stands. `pending` is a statement of which it is not known yet how it ended;
    `held` were sent when nobody knew whether a transaction was open (None: it is known).
    """

    key: str
    pending: LoggedStatement | None = None
    open: list[LoggedStatement] | None = None
    failures: int = 0
    aborted: bool = False
    held: list[LoggedStatement] | None = field(default_factory=list)
    number: int | None = None


class Sessions:
    """All sessions of a log."""

    def __init__(self, wanted: Wanted, tally: Tally) -> None:
        self._wanted = wanted
        self._tally = tally
        self._sessions: dict[str, _Session] = {}
        self.databases: set[str] = set()
        self.statements = 0

    def transactions(self, items: Iterable[Item]) -> Iterator[LoggedTransaction]:
        """The transactions in `items`, each as soon as it is known to be whole."""
        for item in items:
            if isinstance(item, Tear):
                self._tear(item.session)
            elif self._wanted.takes(item):
                yield from self._take(item)
        for session in list(self._sessions.values()):
            yield from self._close(session)

    def _take(self, entry: LogEntry) -> Iterator[LoggedTransaction]:
        session = self._session(entry)
        self._count(session, entry)
        if entry.level in _ERRORS:
            self._fail(session, entry)
        if entry.level != "LOG":
            return
        if entry.message.startswith("disconnection:"):
            yield from self._close(session)
            return
        message = message_of(entry)
        if isinstance(message, DurationOnly):
            if session.pending is not None:
                done, session.pending = session.pending, None
                yield from self._accept(session, replace(done, duration_ns=message.duration_ns))
            return
        yield from self._settle(session)
        if message is None:
            return
        if entry.database:
            self.databases.add(entry.database)
        if message.duration_ns is None:
            session.pending = message
        else:
            yield from self._accept(session, message, entry)
        if len(self._sessions) > _MOST_SESSIONS:
            yield from self._evict()

    def _session(self, entry: LogEntry) -> _Session:
        found = self._sessions.get(entry.session)
        if found is None:
            found = self._sessions[entry.session] = _Session(entry.session)
            if entry.number == 1:
                found.held = None
        return found

    def _count(self, session: _Session, entry: LogEntry) -> None:
        if entry.number is None:
            return
        if session.number is not None and entry.number != session.number + 1:
            self._tear(session.key)
        session.number = entry.number + entry.parts - 1

    def _fail(self, session: _Session, entry: LogEntry) -> None:
        self._tally.left_out[FAILED] += 1
        session.pending = None
        session.failures += 1
        if session.open is not None:
            session.aborted = True
        if entry.level != "ERROR":
            session.open = None

    def _settle(self, session: _Session) -> Iterator[LoggedTransaction]:
        if session.pending is not None:
            done, session.pending = session.pending, None
            yield from self._accept(session, done)

    def _accept(
        self, session: _Session, statement: LoggedStatement, entry: LogEntry | None = None
    ) -> Iterator[LoggedTransaction]:
        """A statement that went well."""
        found = controls_of(statement.text)
        if found is None:
            if entry is not None:
                self._tally.refuse(entry.file, entry.line, "the statement is not whole")
            self._tear(session.key)
            return
        self.statements += 1
        _count, controls = found
        if session.held is not None:
            yield from self._place(session, session.held, statement, controls)
            return
        was_open = session.open is not None
        if session.open is None:
            session.open, session.failures, session.aborted = [], 0, False
        session.open.append(statement)
        if len(session.open) > _MOST_STATEMENTS:
            self._tally.left_out[f"transactions of more than {_MOST_STATEMENTS} statements"] += 1
            session.open, session.held = None, []
            return
        ending = _ending(controls, is_open=was_open)
        if Control.ROLLBACK_TO in controls:
            session.aborted = False
        if ending is not None:
            yield self._finished(session, ending)

    def _place(
        self,
        session: _Session,
        held: list[LoggedStatement],
        statement: LoggedStatement,
        controls: list[Control],
    ) -> Iterator[LoggedTransaction]:
        """A statement of a session that may be in the middle of a transaction."""
        first = controls[0] if controls else None
        if first in _CLOSING:
            self._tally.left_out[UNFINISHED] += 1
            session.held = None
            return
        if first is Control.BEGIN or (first is None and len(held) >= _MOST_HELD):
            session.held = None
            yield from (LoggedTransaction(session.key, (one,)) for one in held)
            self.statements -= 1
            yield from self._accept(session, statement)
            return
        held.append(statement)
        if len(held) > _MOST_HELD:  # savepoints without end: surely inside of one
            held.clear()

    def _finished(self, session: _Session, ending: Ending) -> LoggedTransaction:
        statements, failures = tuple(session.open or ()), session.failures
        if session.aborted:
            ending = Ending.ROLLED_BACK
        session.open, session.failures, session.aborted = None, 0, False
        return LoggedTransaction(session.key, statements, ending, failures)

    def _tear(self, key: str | None) -> None:
        """Something is missing: what is open can no longer be known to be whole."""
        sessions = self._sessions.values() if key is None else [self._sessions.get(key)]
        for session in sessions:
            if session is None or (key is None and session.number is not None):
                continue  # its messages are numbered: a gap will show
            if session.open is not None or session.pending is not None:
                self._tally.left_out[TORN] += 1
            if session.held:
                self._tally.left_out["statements next to missing lines, maybe inside of a transaction"] += (
                    len(session.held)
                )
            session.open, session.pending, session.held = None, None, []

    def _close(self, session: _Session) -> Iterator[LoggedTransaction]:
        yield from self._settle(session)
        if session.open is not None:
            self._tally.left_out[UNFINISHED] += 1
        yield from (LoggedTransaction(session.key, (one,)) for one in session.held or ())
        self._sessions.pop(session.key, None)

    def _evict(self) -> Iterator[LoggedTransaction]:
        """Forget the older half of the sessions that have nothing open."""
        idle = [one for one in self._sessions.values() if one.open is None]
        for session in idle[: _MOST_SESSIONS // 2]:
            yield from self._close(session)


def _ending(controls: list[Control], *, is_open: bool) -> Ending | None:
    """How a message with these commands leaves a transaction; None: open."""
    ending = None if is_open else Ending.COMMITTED
    for control in controls:
        if control is Control.BEGIN:
            ending = None
        elif control is Control.COMMIT:
            ending = Ending.COMMITTED
        elif control is Control.ROLLBACK:
            ending = Ending.ROLLED_BACK
    return ending
