"""Whatever a session does that is not straight: connect, recover, try again, perform what is interpreted.

Each such thing is a generator that yields what it waits for; it is resumed when that has come.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from psycopg import OperationalError, pq

from rehearse.engines.postgres.frames import Envelope
from rehearse.model.workload import Outcome
from rehearse.workload.again import Retries
from rehearse.workload.agenda import NEVER, Agenda
from rehearse.workload.bulk import Blocks
from rehearse.workload.gauges import Gauges
from rehearse.workload.interpret import Interpreter
from rehearse.workload.poller import IN, Poller
from rehearse.workload.pools import Pools
from rehearse.workload.session import Ending, Session, Task
from rehearse.workload.spool import NO_SQLSTATE, Recorder, encode_sqlstate

_IDLE_CLIENT_NS: Final = 10_000_000  # a client of a closed loop that had nothing to send
_LOST: Final = "08006"
_RESEND: Final = Ending(Outcome.RETRIED)  # what a task returns that leaves the rest to the fast path

clock = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class Program:
    """A script made ready for one process.

    `blocks` are what the fast path sends, None where the script needs the interpreter. `heads` go before
    each load that libpq sends: the prepared name, or the text; `envelopes` around each that we send.
    """

    interpreter: Interpreter
    heads: tuple[bytes, ...]
    envelopes: tuple[Envelope, ...]
    blocks: Blocks | None
    settings: bytes = b""  # SQL for its time-outs, where scripts differ in theirs


class Detours(ABC):
    """All sessions of one process, and what they wait in. Whose task has ended is given what is due next."""

    def __init__(
        self,
        sessions: Sequence[Session],
        programs: Sequence[Program],
        agenda: Agenda,
        pools: Pools,
        recorder: Recorder,
        gauges: Gauges,
        conninfo: bytes,
    ) -> None:
        self.retries = Retries(None)  # or whatever else the application does
        self._sessions = sessions
        self._programs = programs
        self._agenda = agenda
        self._pools = pools
        self._recorder = recorder
        self._gauges = gauges
        self._conninfo = conninfo
        self._poller = Poller()
        self._free: deque[Session] = deque()
        self._starting = False

    @abstractmethod
    def _next(self, session: Session, now: int) -> None:
        """Give a free session what is due, or leave it free."""

    @abstractmethod
    def _resend(self, session: Session) -> None:
        """Send the row that was refused, on the fast path."""

    def _begin_slowly(self, session: Session, script: int) -> bool:
        """Begin what the fast path cannot, or has no row for; False where it has ended already."""
        program = self._programs[script]
        if session.answer is not None:  # the server's last words, most likely; libpq would not know of them
            self._lose(session)
            return True
        if program.blocks is None or session.unfit:
            session.row = ()
            return self._follow(session, self._perform(session))
        return self._follow(session, self._settle(session, Ending(Outcome.SKIPPED)))

    def _perform(self, session: Session, *, again: bool = False) -> Task:
        """A transaction by the interpreter; `again` with the values that it drew before."""
        program = self._programs[session.script]
        if program.settings:
            yield from session.have(program.settings)
        if again and session.tape is not None:
            session.tape.rewind()
        else:
            session.tape = program.interpreter.tape() if self.retries.are_wanted else None
            session.draw = self._pools.transaction()
        performance = program.interpreter.perform(session.variables, session.draw, session.tape)
        return (yield from session.perform(performance))

    def _again(self, session: Session, ending: Ending, pause_ns: int) -> Task:
        """Whatever has to be done before a refused transaction is sent again, and that, if it is not for the
        fast path.
        """
        session.fast = False
        yield from session.recover(ending)
        yield clock() + pause_ns
        if session.row and not session.unfit:
            return _RESEND
        return (yield from self._perform(session, again=not session.row))

    def _lose(self, session: Session) -> None:
        """The connection broke, on the fast path or while it was idle."""
        ending = Ending(Outcome.CONNECTION_LOST, statement=session.step if session.fast else -1)
        failure = session.failure or (session.answer and session.answer.failure)
        session.failure = session.answer = None
        if failure:
            ending = replace(ending, sqlstate=failure.sqlstate)
        if session in self._free:
            self._free.remove(session)
        self._follow(session, self._settle(session, ending, lost=True))

    def _settle(self, session: Session, ending: Ending, *, lost: bool = False) -> Task | None:
        """Record how a transaction ended, if one was out; what has to be done before the next one."""
        now = clock()
        lost = lost or session.pg.status != pq.ConnStatus.OK
        if lost:
            ending = replace(ending, outcome=Outcome.CONNECTION_LOST, sqlstate=ending.sqlstate or _LOST)
        if session.started_ns != NEVER:
            pause_ns = self.retries.pause_ns(session, ending)
            if pause_ns is not None:
                self._record(session, now, replace(ending, outcome=Outcome.RETRIED), out=True)
                return self._again(session, ending, pause_ns)
            self._record(session, now, ending)
        if lost:
            self._gauges.count_reconnect()
            self._poller.close(session)
            return session.reopen(self._conninfo)
        if session.needs_rollback or ending.stale:
            return session.recover(ending)
        if ending.outcome is Outcome.SKIPPED and self._agenda.is_closed_loop:
            return _pause(now + _IDLE_CLIENT_NS)
        return None

    def _record(self, session: Session, now: int, ending: Ending, *, out: bool = False) -> None:
        """What became of a transaction, or of an attempt at one that is still `out`."""
        self._recorder.add(
            session.scheduled_ns,
            session.started_ns,
            now,
            NO_SQLSTATE if ending.sqlstate is None else encode_sqlstate(ending.sqlstate),
            session.script,
            ending.statement,
            ending.outcome,
            session.free_since_ns <= session.scheduled_ns,
        )
        self._gauges.count(ending.outcome)
        session.fast = False
        if not out:
            session.started_ns = NEVER

    def _follow(self, session: Session, task: Task | None) -> bool:
        """Go on with `task`, if there is one; False where the session is free."""
        session.task = task
        return task is not None and self._advance(session)

    def _go_on(self, session: Session, error: Exception | None = None) -> None:
        """Resume a session's task, and find it something else to do once it is free."""
        session.alarm = 0
        if not self._advance(session, error):
            self._release(session)

    def _advance(self, session: Session, error: Exception | None = None) -> bool:
        """Resume what a session is waiting in, until it waits again (True) or is free (False)."""
        while session.task is not None:
            try:
                wait = session.task.throw(error) if error else next(session.task)
            except StopIteration as stop:
                session.task, error = None, None
                if stop.value is _RESEND:
                    self._resend(session)
                    return True
                if session.started_ns != NEVER:
                    session.task = self._settle(session, stop.value or Ending())
            except (ConnectionError, OperationalError) as problem:
                if self._starting:
                    raise ConnectionError(first_line(problem)) from None
                session.task, error = self._settle(session, Ending(), lost=True), None
            else:
                self._poller.put_off(session, wait)
                return True
        return False

    def _release(self, session: Session) -> None:
        """A session has become free."""
        self._poller.watch(session, IN)
        if self._starting:
            self._free.append(session)
            return
        session.free_since_ns = clock()
        self._next(session, session.free_since_ns)


def _pause(until_ns: int) -> Task:
    yield until_ns
    return None


def first_line(error: Exception) -> str:
    """What libpq says first."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else "the connection broke"
