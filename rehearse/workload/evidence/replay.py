"""Sends a trace again: the same sessions, statements and pauses, at the same or another speed."""

from __future__ import annotations

import heapq
import select
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from psycopg import OperationalError, pq
from psycopg.pq.abc import PGconn

from rehearse.engines.postgres.connect import conninfo
from rehearse.engines.postgres.wire import READ, Answer, Wait, answer, connecting, failed
from rehearse.errors import InputError, ServerLostError
from rehearse.model.target import Target
from rehearse.workload.evidence.trace import Event, TraceFacts, read_trace
from rehearse.workload.punctual import punctual

_AHEAD_NS: Final = 1_000_000_000  # how long before its first statement a session connects
_LEAD_NS: Final = 20_000_000
_LONGEST_S: Final = 0.05
_PARKED: Final = 2**62
_HANDSHAKE_NS: Final = 3_000_000  # that a step of connecting may take: a password is hashed 4096 times
_URGENT_NS: Final = 300_000_000  # so long before its first statement, a session connects come what may
_LOST = (ConnectionError, OperationalError)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of the statements. Lag is how much later than in the trace one was sent, in milliseconds.
    `own_lag_ms` is how late the replay turned to a statement whose session was free in time: what it added
    itself. `lag_ms` counts all, and waiting for a server that answers later than production's did as well.
    """

    statements: int
    sent: int
    ok: int
    errors: dict[str, int]  # by SQLSTATE
    lost: int  # not sent, or not answered, as the connection broke
    transactions: int
    sessions: int
    seconds: float
    speed: float
    lag_ms: dict[str, float]
    own_lag_ms: dict[str, float]


@dataclass(slots=True)
class _Score:
    ok: int = 0
    lost: int = 0
    sent: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lags_ns: array[int] = field(default_factory=lambda: array("q"))
    own_lags_ns: array[int] = field(default_factory=lambda: array("q"))


def replay(target: Target, path: Path, *, speed: float = 1.0, served_first: bool = True) -> ReplayReport:
    """Send the trace `path` to `target`; pauses are divided by `speed`. Raises InputError for a bad trace or
    speed, ServerLostError where no connection can be made. `served_first`: by real-time priority, where that
    can be had.
    """
    if not speed > 0:
        raise InputError(f"a speed of {speed:g} is no speed", "1 is as it happened, 2 twice as fast")
    facts, events = read_trace(path)
    words = conninfo(target, "rehearse-traffic").encode()
    with closing(_Player(words, events, speed)) as player, punctual(served_first=served_first):
        begun_ns = time.monotonic_ns()
        player.run()
        return _report(facts, player.score, speed, (time.monotonic_ns() - begun_ns) / 1e9)


def _report(facts: TraceFacts, score: _Score, speed: float, seconds: float) -> ReplayReport:
    return ReplayReport(
        facts.statements,
        score.sent,
        score.ok,
        dict(score.errors.most_common()),
        score.lost,
        facts.transactions,
        facts.sessions,
        seconds,
        speed,
        _spread_ms(score.lags_ns),
        _spread_ms(score.own_lags_ns),
    )


def _spread_ms(lags_ns: array[int]) -> dict[str, float]:
    lags = sorted(lags_ns)
    places = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: lags[min(len(lags) - 1, int(share * len(lags)))] / 1e6 if lags else 0.0
        for name, share in places.items()
    }


class _Session:
    """One session: a generator of what it waits for, and the events that it has still to send."""

    def __init__(self, words: bytes, score: _Score) -> None:
        self._words, self._score = words, score
        self.queue: deque[tuple[int, Event]] = deque()  # with the offset at which each is due
        self.start_ns = 0
        self.pg: PGconn | None = None
        self.fd = -1
        self.connecting = False
        self.error = ""
        self.is_ahead = True  # nothing of it is due yet
        self._prepared: dict[str, str] = {}
        self._broken = -1  # the transaction that the connection broke in
        self.task = self._life()

    def _life(self) -> Wait:
        try:
            yield from self._connect()
            yield from self._prepare_ahead()
        except _LOST:
            self.hang_up()  # the first statement tries again
        self.is_ahead = False
        while True:
            while not self.queue or not self.start_ns:
                yield _PARKED
            offset_ns, event = self.queue.popleft()
            due_ns = self.start_ns + offset_ns
            free = False
            while (now := time.monotonic_ns()) < due_ns:
                free = True
                yield due_ns
            if free:
                self._score.own_lags_ns.append(now - due_ns)
            yield from self._send(event, due_ns)
            if event.is_last and not self.queue:
                self.hang_up()

    def _connect(self) -> Wait:
        self._prepared.clear()
        self.connecting = True
        self.pg = pq.PGconn.connect_start(self._words)
        try:
            yield from connecting(self.pg)
        except ConnectionError as error:
            self.error = str(error)
            raise
        finally:
            self.connecting = False
        self.error = ""

    def _prepare_ahead(self) -> Wait:
        """What it executes first, before that is due: otherwise it would come late by a round trip each."""
        assert self.pg is not None
        named = {event.name: event for _, event in reversed(self.queue) if event.name}
        for event in named.values():
            yield from self._prepare(self.pg, event)

    def _send(self, event: Event, due_ns: int) -> Wait:
        if event.transaction == self._broken:
            self._score.lost += 1
            return
        try:
            if self.pg is None or self.pg.status != pq.ConnStatus.OK:
                yield from self._connect()
            assert self.pg is not None
            if event.name and self._prepared.get(event.name) != event.text:
                yield from self._prepare(self.pg, event)
            self._score.lags_ns.append(max(0, time.monotonic_ns() - due_ns))
            self._score.sent += 1
            results = yield from self._ask(self.pg, event)
        except _LOST:
            self._broken = event.transaction
            self._score.lost += 1
            self.hang_up()
            return
        failure = failed(results)
        if failure is None:
            self._score.ok += 1
        else:
            self._score.errors[failure.sqlstate] += 1

    def _prepare(self, pg: PGconn, event: Event) -> Wait:
        """As the application did. Where it is refused, executing it tries again, and says so."""
        if event.name in self._prepared:
            pg.send_query(b"DEALLOCATE " + pq.Escaping(pg).escape_identifier(event.name.encode()))
            yield from answer(pg)
            del self._prepared[event.name]
        pg.send_prepare(event.name.encode(), event.text.encode())
        if failed((yield from answer(pg))) is None:
            self._prepared[event.name] = event.text

    def _ask(self, pg: PGconn, event: Event) -> Answer:
        if event.parameters is None:
            pg.send_query(event.text.encode())
        else:
            values = [None if value is None else value.encode() for value in event.parameters]
            if event.name:
                pg.send_query_prepared(event.name.encode(), values)
            else:
                pg.send_query_params(event.text.encode(), values)
        return (yield from answer(pg))

    def hang_up(self) -> None:
        """End the connection."""
        if self.pg is not None:
            self.pg.finish()
            self.pg = None


class _Player:
    """All sessions, in one loop."""

    def __init__(self, words: bytes, events: Iterator[Event], speed: float) -> None:
        self._words, self._events, self._speed = words, events, speed
        self.score = _Score()
        self._sessions: dict[int, _Session] = {}
        self._next: Event | None = next(events, None)
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Session] = {}
        self._timers: list[tuple[int, int, _Session]] = []
        self._parked: set[_Session] = set()
        self._handshakes: deque[_Session] = deque()  # that can go on connecting, when there is time for it
        self._order = 0
        self._start_ns = 0

    def run(self) -> None:
        """To the end of the trace."""
        self._read(-_LEAD_NS)
        while self._by_fd:  # everyone who is needed in the first second connects before it begins
            self._poll(_LONGEST_S)
        self._require_connection()
        self._start_ns = time.monotonic_ns() + _LEAD_NS
        for session in self._sessions.values():
            session.start_ns = self._start_ns
        self._wake_parked()
        while self._next is not None or self._busy():
            now = time.monotonic_ns()
            self._read(now - self._start_ns)
            while self._timers and self._timers[0][0] <= now:
                self._step(heapq.heappop(self._timers)[2])
            if self._shake_hands():
                self._poll(0.0)
                continue
            due_ns = self._timers[0][0] if self._timers else now + int(_LONGEST_S * 1e9)
            self._poll(min(_LONGEST_S, max(0, due_ns - time.monotonic_ns()) / 1e9))

    def close(self) -> None:
        """Hang up everywhere."""
        for session in self._sessions.values():
            session.hang_up()
        self._epoll.close()

    def _busy(self) -> bool:
        return bool(
            self._timers
            or self._by_fd
            or self._handshakes
            or any(session.queue for session in self._sessions.values())
        )

    def _require_connection(self) -> None:
        errors = [session.error for session in self._sessions.values() if session.error]
        if errors:
            raise ServerLostError(f"the replay cannot connect: {errors[0]}")

    def _read(self, elapsed_ns: int) -> None:
        """Hand out what is due within the next second."""
        while (event := self._next) is not None:
            offset_ns = int(event.offset_ns / self._speed)
            if offset_ns > elapsed_ns + _AHEAD_NS:
                return
            session = self._sessions.get(event.session)
            if session is None:
                session = self._sessions[event.session] = _Session(self._words, self.score)
                session.start_ns = self._start_ns
                if not self._start_ns:
                    self._step(session)  # it connects, and then waits to be woken
                else:
                    self._handshakes.append(session)
            session.queue.append((offset_ns, event))
            if self._start_ns and session in self._parked:
                self._parked.discard(session)
                self._step(session)
            self._next = next(self._events, None)

    def _shake_hands(self) -> bool:
        """Let one session go on connecting, if nobody else's statement has to wait for that."""
        if not self._handshakes:
            return False
        now, session = time.monotonic_ns(), self._handshakes[0]
        has_time = not self._timers or self._timers[0][0] > now + _HANDSHAKE_NS
        if has_time or self._start_ns + session.queue[0][0] < now + _URGENT_NS:
            self._step(self._handshakes.popleft())
            return True
        return False

    def _wake_parked(self) -> None:
        parked, self._parked = self._parked, set()
        for session in parked:
            self._step(session)

    def _step(self, session: _Session) -> None:
        wait = next(session.task)
        if not self._start_ns and wait >= 0:
            wait = _PARKED
        if wait >= 0:
            self._unwatch(session)
            if wait == _PARKED:
                self._parked.add(session)
                return
            self._order += 1
            heapq.heappush(self._timers, (wait, self._order, session))
            return
        self._watch(session, select.EPOLLIN if wait == READ else select.EPOLLOUT)

    def _watch(self, session: _Session, mask: int) -> None:
        assert session.pg is not None
        fd = session.pg.socket
        if fd != session.fd:
            self._unwatch(session)
        session.fd = fd
        if not session.connecting and mask == select.EPOLLOUT:
            mask |= select.EPOLLIN
        self._by_fd[fd] = session
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def _unwatch(self, session: _Session) -> None:
        if self._by_fd.get(session.fd) is session:
            del self._by_fd[session.fd]
            with suppress(OSError, ValueError):  # closed already
                self._epoll.unregister(session.fd)
        session.fd = -1

    def _poll(self, timeout_s: float) -> None:
        # epoll rounds to milliseconds; select does not, and takes the epoll as its one descriptor
        if timeout_s > 0 and not select.select((self._epoll,), (), (), timeout_s)[0]:
            return
        for fd, _ in self._epoll.poll(0):
            session = self._by_fd.get(fd)
            if session is None:
                continue
            if session.connecting and session.is_ahead and self._start_ns:
                self._unwatch(session)
                self._handshakes.append(session)
                continue
            if not session.connecting and session.pg is not None:
                with suppress(OperationalError):  # what was read of the answer will say it again
                    session.pg.consume_input()
            self._step(session)
