"""One session of a migration tool on its way through us: every message goes on as it is, in both
directions, and questions of ours go in between that the tool never sees.

A question stands behind each statement in the same implicit or explicit transaction, so that the shape of
the tool's transactions is its own; more is asked only while the server waits for the tool's next command.
Commands that the tool sends without waiting for answers go on one at a time, so that there is such a moment
between any two of them.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from itertools import islice

from rehearse.engines.postgres.messages import (
    Message,
    Messages,
    asked,
    failure_of,
    first_value,
    query,
    strings,
    sync,
    values_of,
)
from rehearse.engines.postgres.probe import PROBE, SHOW_LOCK_TIMEOUT
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.course import Course, Work
from rehearse.migrate.expected import Expected, nudge, unread
from rehearse.migrate.perform import SEPARATOR
from rehearse.migrate.reading import statements_of, work_of
from rehearse.migrate.sending import changes_settings

_PIECE = 1 << 16
_MOST_BUFFERED = 1 << 20
_POLL_MS = 500
_ALONE_S = 10.0  # for what a tool sent before it said goodbye and did not wait for
_NAME = b"rehearse_probe"
_READABLE = ("UTF8", "SQL_ASCII")
_REPEATED = ("INSERT", "UPDATE", "DELETE", "MERGE")  # of which only the sum counts
_ANY_TIME = b"NSA"  # notices, settings, notifications
_COMPLETE = b"CIs"  # CommandComplete, EmptyQueryResponse, PortalSuspended
# what ends the answer to each message of the extended protocol
_ASKED = (b"3", b"1", b"2", _COMPLETE, b"3", b"3")  # the answers to a question of ours
_FUNCTION = b"(a function, called by the protocol)"
_ELSEWHERE = b"(a statement that SQL has prepared)"
_COPIED = (b"d", b"c", b"f")  # data of a COPY, which belong to the command that is on its way
_MOST_HELD_BACK = 10_000  # messages
_ENDS = {b"P": b"1", b"B": b"2", b"D": b"Tn", b"C": b"3"}


class HungUpError(Exception):
    """One side is gone."""

    def __init__(self, *, by_server: bool) -> None:
        super().__init__(by_server)
        self.by_server = by_server


class Relayed:
    """Between `client` and `server`, both connected sockets, from the first ReadyForQuery on. `settings` are
    those that the server reports, as they are then.
    """

    def __init__(
        self, client: socket.socket, server: socket.socket, course: Course, settings: Mapping[str, str]
    ) -> None:
        self._client, self._server = client, server
        self._course = course
        self._status = b"I"
        self._settings = dict(settings)
        self._expected: deque[Expected] = deque()
        self._texts: dict[bytes, bytes] = {}  # of prepared statements by name
        self._portals: dict[bytes, bytes | None] = {}  # None: prepared by SQL
        self._in_command = False  # something was executed since the tool's last Sync
        self._owed: Work | None = None  # executed, and the question behind it not yet sent
        self._from_client, self._from_server = Messages(), Messages()
        self._arrived: deque[Message] = deque()
        self._held_back: deque[Message] = deque()
        self._to_client, self._to_server = bytearray(), bytearray()
        self._alone_until: float | None = None  # on time.monotonic(); the tool is gone

    def run(self) -> None:
        """Until one side hangs up, which is what HungUpError says."""
        self._course.mark(self._ask)
        while True:
            self._pump(hears=len(self._held_back) < _MOST_HELD_BACK)
            while self._arrived:
                self._of_server(self._arrived.popleft())

    def _listen(self, data: bytes) -> None:
        self._held_back.extend(self._from_client.feed(data))
        self._go_on()

    def _go_on(self) -> None:
        """With what the tool has sent, up to the end of a command."""
        while self._held_back and (not self._is_busy() or self._held_back[0].kind in _COPIED):
            self._of_client(self._held_back.popleft())

    def _is_busy(self) -> bool:
        """Whether a whole command is on its way."""
        return bool(self._expected) and self._expected[-1].ends == b"Z"

    def _pump(self, *, hears: bool) -> None:
        """Waits once: sends what is due, receives what has come; from the tool only if we `hear` it."""
        poll = select.poll()
        if self._alone_until is not None:
            self._to_client.clear()
            if time.monotonic() > self._alone_until:
                raise HungUpError(by_server=False)
        hears = hears and len(self._to_server) < _MOST_BUFFERED
        wanted = select.POLLIN if hears else 0
        if self._alone_until is None:
            poll.register(self._client, wanted | (select.POLLOUT if self._to_client else 0))
        wanted = select.POLLIN if len(self._to_client) < _MOST_BUFFERED else 0
        poll.register(self._server, wanted | (select.POLLOUT if self._to_server else 0))
        for fileno, events in poll.poll(_POLL_MS):
            by_server = fileno == self._server.fileno()
            peer, due = (self._server, self._to_server) if by_server else (self._client, self._to_client)
            try:
                if events & select.POLLOUT and due:
                    del due[: peer.send(due)]
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    self._receive(peer, by_server=by_server, hears=hears)
            except BlockingIOError:
                continue
            except OSError:
                self._hung_up(by_server=by_server)

    def _receive(self, peer: socket.socket, *, by_server: bool, hears: bool) -> None:
        if not by_server and not hears:
            # not its turn, but it must be seen to be gone
            if not peer.recv(1, socket.MSG_PEEK):
                self._hung_up(by_server=False)
            return
        data = peer.recv(_PIECE)
        if not data:
            if by_server:
                self._deliver()
            self._hung_up(by_server=by_server)
            return
        if by_server:
            self._arrived.extend(self._from_server.feed(data))
        else:
            self._listen(data)

    def _hung_up(self, *, by_server: bool) -> None:
        """A server does all that it was sent before a goodbye, whether or not anybody reads its answers."""
        if by_server or all(message.kind != b"X" for message in self._held_back):
            raise HungUpError(by_server=by_server)
        if self._alone_until is None:
            self._alone_until = time.monotonic() + _ALONE_S

    def _deliver(self) -> None:
        """The server's last words, a reason for hanging up among them, still reach the tool."""
        while self._arrived:
            self._of_server(self._arrived.popleft())
        if self._to_client:
            self._client.settimeout(1.0)
            self._client.sendall(self._to_client)
            self._to_client.clear()

    # what the tool says

    def _of_client(self, message: Message) -> None:
        if message.kind == b"X":
            raise HungUpError(by_server=False)
        if message.kind == b"Q":
            self._query(message.body[:-1])
        elif message.kind == b"E":
            self._execute(message)
        else:
            self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        kind, body = message
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self._texts[name] = text
        elif kind == b"B":
            portal, name = body.split(b"\0", 2)[:2]
            self._portals[portal] = self._texts.get(name)
        elif kind in (b"S", b"H"):
            self._question()
        elif kind in (b"c", b"f"):  # a Sync sent before the end of a COPY's data was not heeded
            self._expected = deque(each for each in self._expected if not each.sync)
        if kind == b"F":
            self._expected += [Expected(b"V", self._sent(Work(unread(_FUNCTION)))), Expected(b"Z")]
        elif kind in _ENDS:
            self._expected.append(Expected(_ENDS[kind]))
        elif kind == b"S":
            self._in_command = False
            self._expected.append(Expected(b"Z", sync=True))
        self._to_server += message.data

    def _query(self, text: bytes) -> None:
        """A simple query: each of its statements with a question behind it."""
        sources = self._sources(text)
        if sources is None:  # goes on unread
            work = self._sent(Work(unread(text)))
            self._expected += [Expected(_COMPLETE, work), Expected(b"Z")]
            self._to_server += query(text)
            return
        if not sources:
            self._expected += [Expected(_COMPLETE), Expected(b"Z")]
            self._to_server += query(text)
            return
        several = len(sources) > 1
        status = b"T" if several and self._status == b"I" else self._status
        works = [self._work(source, status, in_query=True) for source in sources]
        self._sent(works[0])
        pieces: list[bytes] = []
        for work in works:
            pieces.append(work.source.text.encode())
            self._expected.append(Expected(_COMPLETE, work))
            sets = several and changes_settings(work.source)
            if work.probed or sets:
                pieces.append((PROBE if work.probed else SHOW_LOCK_TIMEOUT).encode())
                self._expected.append(Expected(_COMPLETE, work, ours=True))
            if work is not works[-1] and (nudging := nudge(work)):
                pieces.append(nudging.encode())
                self._expected.append(Expected(_COMPLETE, ours=True, nudge=True))
        if not several:
            pieces[0] = text
        self._expected.append(Expected(b"Z"))
        self._to_server += query(SEPARATOR.encode().join(pieces))

    def _execute(self, message: Message) -> None:
        """The same text again and again in one command is one statement, as it is to the tool."""
        portal = message.body.split(b"\0", 1)[0]
        text = self._portals.get(portal)
        again = self._owed
        if (
            again
            and text
            and again.source.text.encode() == text.strip()
            and again.source.command in _REPEATED
        ):
            self._expected.append(Expected(_COMPLETE, again))
            self._to_server += message.data
            return
        self._question()
        work = self._sent(self._executed(text))
        self._expected.append(Expected(_COMPLETE, work))
        self._in_command = True
        self._owed = work if work.probed else None
        self._to_server += message.data

    def _executed(self, text: bytes | None) -> Work:
        sources = None if text is None else self._sources(text)
        if sources is None or len(sources) > 1:
            return Work(unread(text or _ELSEWHERE))
        if not sources:
            return Work(unread(b""), quiet=True)
        # what came before in the same command is in one transaction with it
        status = b"T" if self._in_command and self._status == b"I" else self._status
        return self._work(sources[0], status, in_query=False)

    def _question(self) -> None:
        """The one behind the last statement of the extended protocol, if it is still to be asked."""
        work, self._owed = self._owed, None
        if work is None:
            return
        self._expected += [Expected(end, work, ours=True) for end in _ASKED]
        self._to_server += asked(_NAME, PROBE.encode())

    def _sources(self, text: bytes) -> tuple[SqlStatement, ...] | None:
        """None where the text cannot be read as the server reads it."""
        encoding = self._settings.get("client_encoding", "").upper()
        if encoding not in _READABLE or self._settings.get("standard_conforming_strings") == "off":
            return None
        try:
            return statements_of(text.decode())
        except UnicodeDecodeError:
            return None

    def _work(self, source: SqlStatement, status: bytes, *, in_query: bool) -> Work:
        work = work_of(source, status, in_query=in_query)
        if work.alone and source.command == "CALL" and not self._course.commits(source):
            return Work(source, probed=True)
        return work

    def _sent(self, work: Work) -> Work:
        """It begins at once where the server has nothing else to do for the tool before it."""
        return work if any(e.work or e.ends == b"Z" for e in self._expected) else self._begun(work)

    def _begun(self, work: Work) -> Work:
        if not work.started:
            self._course.start(work)
        return work

    # what the server says

    def _of_server(self, message: Message) -> None:
        kind = message.kind
        if kind in _ANY_TIME:
            self._noted(message)
        elif kind == b"E":
            self._refused(message)
        elif kind == b"Z":
            self._ready(message)
        else:
            self._answer(message)

    def _noted(self, message: Message) -> None:
        if message.kind == b"S":
            name, value = strings(message.body, 2)
            self._settings[name] = value
        if message.kind == b"N" and self._expected and self._expected[0].nudge:
            self._begin_behind(1)
        else:
            self._to_client += message.data

    def _answer(self, message: Message) -> None:
        kind, body = message
        head = self._expected[0] if self._expected else None
        if head is None or head.ends == b"Z":
            self._to_client += message.data
            return
        if head.work is not None:
            self._begun(head.work)
        if not head.ours:
            self._to_client += message.data
        elif kind == b"D":
            head.rows.append(body)
        if kind not in head.ends:
            return
        self._expected.popleft()
        if head.work is not None and not head.ours:
            self._course.answered(head.work, strings(body, 1)[0] if kind == b"C" else "")
        elif head.work is not None and head.rows:
            self._told(head.work, first_value(head.rows[0]) or "")
        if head.nudge or head.work is not None:
            self._begin_behind(0)

    def _told(self, work: Work, value: str) -> None:
        """The answer to the question behind `work`."""
        if work.probed:
            self._course.probed(work, value)
        else:
            self._course.lock_timeout_is(value)

    def _begin_behind(self, answers: int) -> None:
        """The statement whose answer comes after so many others has begun."""
        following = next(islice(self._expected, answers, None), None)
        if following is not None and following.work is not None and not following.ours:
            self._begun(following.work)

    def _refused(self, message: Message) -> None:
        head = self._expected[0] if self._expected else None
        self._to_client += message.data
        work = next((e.work for e in self._expected if e.work or e.ends == b"Z"), None) if head else None
        if work is not None:
            self._begun(work)
        self._course.failed(work, failure_of(message.body))
        while self._expected and self._expected[0].ends != b"Z":
            self._expected.popleft()

    def _ready(self, message: Message) -> None:
        while self._expected and self._expected[0].ends != b"Z":
            self._expected.popleft()
        if self._expected:
            self._expected.popleft()
        self._status = message.body
        self._owed = None
        self._course.settled(message.body, self._ask)
        self._to_client += message.data
        self._go_on()

    def _ask(self, text: str) -> list[tuple[str | None, ...]] | None:
        """A question of ours, while the tool's next command is awaited. By the extended protocol: a simple
        query would take away the unnamed statement, which the tool may have parsed to execute it next.
        """
        self._to_server += asked(_NAME, text.encode()) + sync()
        rows: list[tuple[str | None, ...]] = []
        refused = False
        while True:
            while self._arrived:
                kind, body = message = self._arrived.popleft()
                if kind == b"Z":
                    self._status = body
                    return None if refused else rows
                if kind == b"D":
                    rows.append(values_of(body))
                elif kind == b"E":
                    refused = True
                elif kind in _ANY_TIME:
                    self._noted(message)
            self._pump(hears=False)
