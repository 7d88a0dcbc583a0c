"""The event loop of one driver process.

Straight scripts run on the fast path: a row drawn ahead is sent, an answer taken, a sample packed, with as
few steps of Python as that takes. Everything else (connecting, recovering, scripts with conditions) waits
in generators that the loop resumes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from psycopg import OperationalError, pq
from psycopg.pq.abc import PGresult

from rehearse.engines.postgres import wire
from rehearse.model.workload import Outcome
from rehearse.workload.agenda import NEVER, Agenda
from rehearse.workload.bulk import Row
from rehearse.workload.gauges import Gauges
from rehearse.workload.interpret import Interpreter
from rehearse.workload.poller import IN, OUT, Poller
from rehearse.workload.pools import Pools
from rehearse.workload.session import Ending, Session, Task
from rehearse.workload.spool import NO_SQLSTATE, Recorder, encode_sqlstate

_TUPLES_OK, _FATAL = int(pq.ExecStatus.TUPLES_OK), int(pq.ExecStatus.FATAL_ERROR)
_IDLE_CLIENT_NS = 10_000_000  # a client of a closed loop that had nothing to send
_LOST = "08006"

clock = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class Program:
    """A script made ready for one process.

    `rows` yields what the fast path sends, None where the script needs the interpreter. `heads` go before
    each load: the prepared name, or the text.
    """

    interpreter: Interpreter
    heads: tuple[bytes, ...]
    rows: Iterator[Row | None] | None


class Loop:
    """All sessions of one process, and the clock."""

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
        self._sessions = sessions
        self._programs = programs
        self._agenda = agenda
        self._pools = pools
        self._recorder = recorder
        self._add = recorder.add
        self._gauges = gauges
        self._conninfo = conninfo
        self._poller = Poller()
        self._free: deque[Session] = deque()
        self._starting = False
        self._deadline_ns = NEVER

    def connect(self) -> None:
        """Open every connection. ConnectionError or PrepareError where one cannot be."""
        self._starting = True
        for session in self._sessions:
            session.task = session.open(self._conninfo, strict=True)
            self._go_on(session)
        while len(self._free) < len(self._sessions):
            for fd, mask in self._poller.wait(0, NEVER, len(self._sessions)):
                self._other_event(self._poller.by_fd[fd], mask)
        self._starting = False
        self._gauges.publish(clock())

    def start(self, zero_ns: int) -> None:
        """Time zero has come."""
        self._agenda.start(zero_ns)
        self._gauges.start(zero_ns)

    def end(self, at_ns: int, deadline_ns: int) -> None:
        """Nothing is due after `at_ns`, and nothing is waited for after `deadline_ns`."""
        self._agenda.end(at_ns)
        self._deadline_ns = deadline_ns

    def run(self, control: int, on_control: Callable[[int], None]) -> None:
        """Serve until the end that `end` has set.

        `on_control` is called with `control` when that can be read, or with the number of a socket that
        was closed meanwhile.
        """
        poller, agenda, free, gauges = self._poller, self._agenda, self._free, self._gauges
        poller.add(control)
        by_fd, wait, ready, most = poller.by_fd, poller.wait, self._ready, len(self._sessions) + 1
        while True:
            now = clock()
            while free and agenda.due_ns <= now:
                self._next(free.popleft(), now)
            if now >= gauges.next_ns:
                gauges.publish(now)
            if now >= poller.alarm_ns:
                for sleeper in poller.awake(now):
                    self._go_on(sleeper)
            if self._is_over(now):
                return
            for fd, mask in wait(now, agenda.due_ns if free else NEVER, most):
                session = by_fd.get(fd)
                if session is None:
                    on_control(fd)
                elif session.fast and mask == IN:
                    ready(session)
                else:
                    self._other_event(session, mask)

    def finish(self) -> None:
        """Whatever is still out, or due and not even sent, is unfinished."""
        now, agenda = clock(), self._agenda
        for session in self._sessions:
            if session.started_ns != NEVER:
                self._record(session, now, Ending(Outcome.UNFINISHED))
                self._cancel(session)
        while agenda.due_ns <= now:
            self._recorder.add(
                agenda.due_ns, 0, now, NO_SQLSTATE, agenda.script, -1, Outcome.UNFINISHED, False
            )
            self._gauges.count(Outcome.UNFINISHED)
            agenda.take()
        self._gauges.close(now)
        for session in self._sessions:
            session.close()

    # -- the fast path: every statement here is paid for once a transaction --------------------------

    def _ready(self, session: Session) -> None:
        """An answer on the fast path, or a part of one."""
        try:
            session.consume_input()
            is_busy, get_result = session.is_busy, session.get_result
            while not is_busy():
                result = get_result()
                if result is None:
                    break
                if result.status > _TUPLES_OK:
                    self._note(session, result)
            else:
                return
            if session.failure is not None:
                self._fail(session)
                return
            step = session.step
            if step < session.last_step:
                session.step = step = step + 1
                session.send(session.heads[step], session.row[step])
                if session.flush():
                    self._poller.watch(session, IN | OUT)
                return
        except OperationalError:
            self._lose(session)
            return
        now = clock()
        scheduled_ns = session.scheduled_ns
        self._add(
            scheduled_ns,
            session.started_ns,
            now,
            NO_SQLSTATE,
            session.script,
            -1,
            0,
            session.free_since_ns <= scheduled_ns,
        )
        session.free_since_ns = now
        self._next(session, now)

    def _next(self, session: Session, now: int) -> None:
        """Give a free session what is due, or leave it free."""
        agenda = self._agenda
        while agenda.due_ns <= now:
            session.scheduled_ns = agenda.due_ns or now  # in a closed loop, due as soon as free
            session.script = script = agenda.script
            session.started_ns = now
            agenda.take()
            program = self._programs[script]
            rows = program.rows
            row = None if rows is None or session.unprepared else next(rows)
            if row is None:
                session.fast = False
                if self._begin_slowly(session, program):
                    return
                continue
            heads = program.heads
            if session.heads is not heads:
                session.heads = heads
                session.last_step = len(heads) - 1
            if session.last_step:
                session.row = row
            session.step = 0
            session.fast = True
            try:
                session.send(heads[0], row[0])
                if session.flush():
                    self._poller.watch(session, IN | OUT)
            except OperationalError:
                self._lose(session)
            return
        session.fast = False
        session.started_ns = NEVER
        self._free.append(session)

    # -- everything else -----------------------------------------------------------------------------

    def _begin_slowly(self, session: Session, program: Program) -> bool:
        """Begin what the fast path cannot, or has no row for; False where it has ended already."""
        if program.rows is None or session.unprepared:
            performance = program.interpreter.perform(session.variables, self._pools.transaction())
            return self._follow(session, session.perform(performance))
        return self._follow(session, self._settle(session, Ending(Outcome.SKIPPED)))

    def _is_over(self, now: int) -> bool:
        if self._deadline_ns == NEVER:
            return False
        drained = self._agenda.due_ns == NEVER and not self._gauges.in_flight
        return drained or now >= self._deadline_ns

    def _note(self, session: Session, result: PGresult) -> None:
        session.failure = session.failure or result
        if result.status != _FATAL:
            raise OperationalError("an answer that a script cannot get")

    def _fail(self, session: Session) -> None:
        """The server refused a statement on the fast path."""
        assert session.failure is not None
        failure = wire.failure_of(session.failure)
        session.failure = None
        ending = Ending(Outcome.ERROR, failure.sqlstate, session.step, failure.stale_plan)
        if not self._follow(session, self._settle(session, ending)):
            self._release(session)

    def _lose(self, session: Session) -> None:
        """The connection broke, on the fast path or while it was idle."""
        ending = Ending(Outcome.CONNECTION_LOST, statement=session.step if session.fast else -1)
        if session.failure is not None:
            ending = replace(ending, sqlstate=wire.failure_of(session.failure).sqlstate)
            session.failure = None
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

    def _record(self, session: Session, now: int, ending: Ending) -> None:
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
                if session.started_ns != NEVER:
                    session.task = self._settle(session, stop.value or Ending())
            except (ConnectionError, OperationalError) as problem:
                if self._starting:
                    raise ConnectionError(_first_line(problem)) from None
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

    def _other_event(self, session: Session, mask: int) -> None:
        """Whatever is not just an answer on the fast path."""
        if session.fast:
            self._flush(session, mask)
            return
        error: Exception | None = None
        if not session.connecting and mask & ~OUT:
            try:
                session.consume_input()
            except OperationalError as problem:
                error = ConnectionError(_first_line(problem))
        if session.task is None:  # idle: the server said something, or went away
            if error is not None:
                self._lose(session)
        elif error is not None or not session.alarm:
            self._go_on(session, error)

    def _flush(self, session: Session, mask: int) -> None:
        """On the fast path, the socket was full."""
        try:
            if mask & OUT and not session.flush():
                self._poller.watch(session, IN)
        except OperationalError:
            self._lose(session)
            return
        if mask & ~OUT:
            self._ready(session)

    def _cancel(self, session: Session) -> None:
        """Ask the server to give up what we no longer wait for, so that it holds no locks."""
        with suppress(OperationalError):
            if session.fd >= 0 and not session.connecting:
                session.pg.get_cancel().cancel()


def _pause(until_ns: int) -> Task:
    yield until_ns
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else "the connection broke"
