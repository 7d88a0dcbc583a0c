"""Waits for sockets and for times at once, to the microsecond."""

from __future__ import annotations

import heapq
import select
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Final

from rehearse.engines.postgres import wire
from rehearse.workload.session import NEVER, Session

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
_LONGEST_S = 0.02  # so that whoever asks between two waits is never asked later
_LONGEST_NS = 20_000_000
_SHORTEST_NS = 5_000  # falling asleep and waking up take longer
_SLACK = Path("/proc/self/timerslack_ns")


def sharpen_timers() -> None:
    """Have this thread, the process's first, woken up when its time has come, and not the up to 50 us later
    that the kernel allows itself in order to serve several timers at once. Does nothing where it cannot.
    """
    with suppress(OSError):
        _SLACK.write_text("1")


class Poller:
    """The sockets and timers of all sessions of a process.

    `by_fd` finds a session by its socket; `alarm_ns` is when the next of them has slept enough.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._timers: list[tuple[int, int, Session]] = []
        self._alarms = 0
        self.alarm_ns = NEVER
        self.by_fd: dict[int, Session] = {}

    def add(self, descriptor: int) -> None:
        """Watch a descriptor that is no session's."""
        self._epoll.register(descriptor, IN)

    def wait(self, due_ns: int, most: int) -> list[tuple[int, int]]:
        """What comes in until `due_ns`, the next timer, or 20 ms are over; at most `most` events."""
        left = min(due_ns, self.alarm_ns) - monotonic_ns()
        if left > _LONGEST_NS:
            return self._epoll.poll(_LONGEST_S, most)
        came = self._epoll.poll(0, most)
        # epoll rounds to milliseconds; select does not, and serves one descriptor of any number
        if came or left < _SHORTEST_NS or not select.select((self._epoll,), (), (), left / 1e9)[0]:
            return came
        return self._epoll.poll(0, most)

    def awake(self, now: int) -> list[Session]:
        """The sessions that have slept long enough."""
        awake = []
        while self._timers and self._timers[0][0] <= now:
            _, alarm, session = heapq.heappop(self._timers)
            if session.alarm == alarm:
                awake.append(session)
        self.alarm_ns = self._timers[0][0] if self._timers else NEVER
        return awake

    def put_off(self, session: Session, wait: int) -> None:
        """Wait for what a task of `session` has yielded."""
        if wait >= 0:
            self._alarms += 1
            session.alarm = self._alarms
            heapq.heappush(self._timers, (wait, self._alarms, session))
            self.alarm_ns = self._timers[0][0]
        elif session.connecting:
            self.watch(session, IN if wait == wire.READ else OUT)
        else:
            self.watch(session, IN if wait == wire.READ else IN | OUT)

    def watch(self, session: Session, mask: int) -> None:
        """Wait for `mask` on the session's socket, which may change while it connects."""
        fd = session.pg.socket if session.connecting or session.fd < 0 else session.fd
        if fd != session.fd:
            self.by_fd.pop(session.fd, None)
            session.fd = fd
        elif mask == session.watching and not session.connecting:
            return
        self.by_fd[fd] = session
        session.watching = mask
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def close(self, session: Session) -> None:
        """Close a session's connection, which also takes its socket out of epoll."""
        self.by_fd.pop(session.fd, None)
        session.close()
