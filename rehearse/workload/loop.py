"""The event loop of one driver process.

Straight scripts run on the fast path: a row drawn ahead is sent, an answer taken, a sample packed, with as
few steps of Python as that takes. Where nobody encrypts the connections, it writes whole messages to their
sockets and looks at the last bytes of the answers (`engines.postgres.frames`); elsewhere libpq does it, and
the meaning is the same. Everything else (connecting, recovering, scripts with conditions) is a detour
(`workload.detours`): it waits in generators that the loop resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import read, write

from psycopg import OperationalError, pq
from psycopg.pq.abc import PGresult

from rehearse.engines.postgres import wire
from rehearse.engines.postgres.cancel import cancel_all
from rehearse.engines.postgres.frames import Answer, WireError
from rehearse.model.workload import Outcome, RateStep
from rehearse.workload.agenda import NEVER
from rehearse.workload.bulk import Row
from rehearse.workload.detours import Detours, clock, first_line
from rehearse.workload.poller import IN, OUT
from rehearse.workload.session import Ending, Session, Statements
from rehearse.workload.spool import NO_SQLSTATE, rest_of_good

_TUPLES_OK, _FATAL = int(pq.ExecStatus.TUPLES_OK), int(pq.ExecStatus.FATAL_ERROR)
_READ_BYTES = 16_384
_ROOM_NS = 150_000  # drawing a block takes about as long, from code that the processor has forgotten
_CANCEL_PATIENCE_S = 2.0
_ENDINGS = 4  # known of each statement; one that has more of them is read whole


class Loop(Detours):
    """All sessions of one process, and the clock."""

    _rows: list[Iterator[Row | None] | None]  # of each program
    _endings: list[list[tuple[bytes, ...]]]
    _deadline_ns = NEVER

    def connect(self) -> None:
        """Open every connection. ConnectionError or PrepareError where one cannot be."""
        self._starting = True
        for session in self._sessions:
            session.task = session.open(self._conninfo, strict=True)
            self._go_on(session)
        while len(self._free) < len(self._sessions):
            for fd, mask in self._poller.wait(NEVER, len(self._sessions)):
                self._other_event(self._poller.by_fd[fd], mask)
        self._starting = False
        self._choose_path()
        self._gauges.publish(clock())

    def _choose_path(self) -> None:
        direct = all(session.open_to_us for session in self._sessions)
        for session in self._sessions:
            session.direct = direct
        self._rows = [
            None if program.blocks is None else program.blocks.rows(program.envelopes if direct else None)
            for program in self._programs
        ]
        self._endings = [[()] * len(program.heads) for program in self._programs]
        self._rests = [rest_of_good(script) for script in range(len(self._programs))]
        self._add_good = self._recorder.add_good

    def prepare(self, statements: Statements) -> None:
        """Before time zero: learn statements that were not possible when the connections were opened."""
        sessions, poller = list(self._free), self._poller
        self._free.clear()
        for session in sessions:
            session.task = session.learn(statements)
            self._go_on(session)
        while len(self._free) < len(self._sessions):
            for fd, mask in poller.wait(NEVER, len(self._sessions)):
                self._other_event(poller.by_fd[fd], mask)
            for sleeper in poller.awake(clock()):
                self._go_on(sleeper)

    def change(self, at_ns: int, steps: Sequence[RateStep]) -> None:
        """From `at_ns` on, transactions come by other rates."""
        self._agenda.change(at_ns, steps)

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
        by_fd, wait, most = poller.by_fd, poller.wait, len(self._sessions) + 1
        ready = self._read if self._sessions[0].direct else self._ready
        while True:
            now = clock()
            while free and agenda.due_ns <= now:
                self._next(free.popleft(), now)
                now = clock()
            if now >= gauges.next_ns:
                self._do_chores(now)
            if now >= poller.alarm_ns:
                for sleeper in poller.awake(now):
                    self._go_on(sleeper)
            if self._is_over(now):
                return
            for fd, mask in wait(agenda.due_ns if free else NEVER, most):
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
        waiting: list[Session] = []
        for session in self._sessions:
            if session.started_ns != NEVER:
                self._record(session, now, Ending(Outcome.UNFINISHED))
                waiting.append(session)
        while agenda.due_ns <= now:
            self._recorder.add(
                agenda.due_ns, 0, now, NO_SQLSTATE, agenda.script, -1, Outcome.UNFINISHED, False
            )
            self._gauges.count(Outcome.UNFINISHED)
            agenda.take()
        self._gauges.close(now)
        # so that nothing holds locks on behalf of whom we no longer wait for
        standing = (session.pg for session in waiting if session.fd >= 0 and not session.connecting)
        cancel_all(standing, _CANCEL_PATIENCE_S)
        for session in self._sessions:
            session.close()

    # -- the fast path: every statement here is paid for once a transaction --------------------------

    def _read(self, session: Session) -> None:
        """An answer on the fast path, or a part of one."""
        try:
            data = read(session.fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        step = session.step
        known = session.answer is None and data.endswith(session.endings[step])
        if not known and not self._understand(session, data):
            return
        if step < session.last_step:
            session.step = step = step + 1
            self._write(session, session.row[step])  # type: ignore[arg-type]  # in its envelope
            return
        now = clock()
        scheduled_ns = session.scheduled_ns
        rest = session.rest[session.free_since_ns <= scheduled_ns]
        self._add_good(scheduled_ns, session.started_ns, now, rest)
        session.free_since_ns = now
        self._next(session, now)

    def _ready(self, session: Session) -> None:
        """The same where libpq reads."""
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
        rest = session.rest[session.free_since_ns <= scheduled_ns]
        self._add_good(scheduled_ns, session.started_ns, now, rest)
        session.free_since_ns = now
        self._next(session, now)

    def _next(self, session: Session, now: int) -> None:
        """Give a free session what is due, or leave it free."""
        agenda = self._agenda
        while agenda.due_ns <= now:
            session.scheduled_ns = agenda.due_ns or now  # in a closed loop, due as soon as free
            session.script = script = agenda.script
            session.started_ns = now
            rows = self._rows[script]
            row = None if rows is None or session.unfit else next(rows)
            if row is None:
                session.fast = False
                agenda.take()
                if self._begin_slowly(session, script):
                    return
                continue
            heads = self._programs[script].heads
            if session.heads is not heads:
                session.heads = heads
                session.endings = self._endings[script]
                session.rest = self._rests[script]
                session.last_step = len(heads) - 1
            session.row = row
            session.step = 0
            session.fast = True
            if session.direct:
                self._write(session, row[0])  # type: ignore[arg-type]  # in its envelope
                agenda.take()  # only now: it may have to draw more
                return
            agenda.take()
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

    def _write(self, session: Session, message: bytes) -> None:
        """Send a whole message. What breaks here is found out in reading, with the server's last words."""
        try:
            sent = write(session.fd, message)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        if sent != len(message):
            session.unsent = message[sent:]
            self._poller.watch(session, IN | OUT)

    def _do_chores(self, now: int) -> None:
        """Whatever can wait, while nobody is due for a while; the page, in any case before it is too old."""
        if self._agenda.due_ns - now <= _ROOM_NS:
            if now >= self._gauges.latest_ns:
                self._gauges.publish(now)
            return
        self._gauges.publish(now)
        self._agenda.draw_ahead()
        for program in self._programs:
            if program.blocks is not None:
                program.blocks.draw_ahead()

    # -- everything else -----------------------------------------------------------------------------

    def _understand(self, session: Session, data: bytes) -> bool:
        """Whether an answer is complete and good, with `data` at its end; what it is else, is dealt with."""
        answer = session.answer = session.answer or Answer()
        try:
            answer.feed(data)
            if not data:
                raise WireError("the server has gone")
        except WireError:
            self._lose(session)
            return False
        if not answer.status:
            return False
        session.answer = answer.sequel
        if answer.failure is not None:
            session.failure, session.status = answer.failure, answer.status
            self._fail(session)
            return False
        endings = session.endings[session.step]
        if answer.ending and len(endings) < _ENDINGS:
            session.endings[session.step] = (*endings, answer.ending)
        return True

    def _overhear(self, session: Session) -> None:
        """An idle connection: the server says something, or goes away."""
        answer = session.answer = session.answer or Answer()
        try:
            data = read(session.fd, _READ_BYTES)
            answer.feed(data)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(session)
        elif answer.failure is None and answer.is_between_messages:
            session.answer = None

    def _resend(self, session: Session) -> None:
        """The row that was refused, on the fast path."""
        self._poller.watch(session, IN)
        session.step = 0
        session.fast = True
        if session.direct:
            self._write(session, session.row[0])  # type: ignore[arg-type]  # in its envelope
            return
        try:
            session.send(session.heads[0], session.row[0])
            if session.flush():
                self._poller.watch(session, IN | OUT)
        except OperationalError:
            self._lose(session)

    def _is_over(self, now: int) -> bool:
        if self._deadline_ns == NEVER:
            return False
        drained = self._agenda.due_ns == NEVER and not self._gauges.in_flight
        return drained or now >= self._deadline_ns

    def _note(self, session: Session, result: PGresult) -> None:
        session.failure = session.failure or wire.failure_of(result)
        if result.status != _FATAL:
            raise OperationalError("an answer that a script cannot get")

    def _fail(self, session: Session) -> None:
        """The server refused a statement on the fast path."""
        assert session.failure is not None
        failure, session.failure = session.failure, None
        ending = Ending(Outcome.ERROR, failure.sqlstate, session.step, failure.stale_plan)
        if not self._follow(session, self._settle(session, ending)):
            self._release(session)

    def _other_event(self, session: Session, mask: int) -> None:
        """Whatever is not just an answer on the fast path."""
        if session.fast:
            self._flush(session, mask)
            return
        if session.direct and session.task is None:
            self._overhear(session)
            return
        error: Exception | None = None
        if not session.connecting and mask & ~OUT:
            try:
                session.consume_input()
            except OperationalError as problem:
                error = ConnectionError(first_line(problem))
        if session.task is None:  # idle: the server said something, or went away
            if error is not None:
                self._lose(session)
        elif error is not None or not session.alarm:
            self._go_on(session, error)

    def _flush(self, session: Session, mask: int) -> None:
        """On the fast path, the socket was full."""
        if session.direct:
            if mask & OUT:
                self._poller.watch(session, IN)
                unsent, session.unsent = session.unsent, b""
                self._write(session, unsent)
            if mask & ~OUT:
                self._read(session)
            return
        try:
            if mask & OUT and not session.flush():
                self._poller.watch(session, IN)
        except OperationalError:
            self._lose(session)
            return
        if mask & ~OUT:
            self._ready(session)
