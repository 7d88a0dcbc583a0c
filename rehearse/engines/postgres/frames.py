"""The wire itself, for what is sent thousands of times a second: whole messages built ahead, answers judged
by their last bytes.

libpq takes a query apart and builds a result for each answer, of which a load driver wants to know only
that it was good. What is framed here are the very messages that libpq sends (Bind, Describe, Execute, Sync,
after a Parse in the extended protocol; Query in the simple one), and what cannot be seen at a glance is
walked message by message. Only for connections whose bytes nobody encrypts, and only while nothing that
libpq has sent on them is unanswered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from psycopg.pq.abc import PGconn

from rehearse.engines.postgres.primary import without_values
from rehearse.engines.postgres.wire import Failure

_LENGTH: Final = struct.Struct("!i")
_HEADER: Final = struct.Struct("!ci")
_NULL: Final = _LENGTH.pack(-1)
_LENGTHS: Final = tuple(_LENGTH.pack(size) for size in range(256))
# after the parameters: results as text; describe and execute the portal, without a limit; sync
_CLOSING: Final = b"\0\1\0\0" + b"D\0\0\0\x06P\0" + b"E\0\0\0\x09\0\0\0\0\0" + b"S\0\0\0\4"
_LONGEST_ENDING = 64
_EXPECTED: Final = frozenset(b"%c" % kind for kind in b"12TnDCIENSAZ")
_ASKS_FOR_COPY: Final = frozenset((b"G", b"H", b"W"))


class WireError(ConnectionError):
    """What came is nothing that a script's statement can get."""


class Envelope(dict[int, bytes]):
    """What goes before and after one statement's parameters; by the length of what is between them."""

    def __init__(self, opening: bytes, kind: bytes, head: bytes, closing: bytes) -> None:
        super().__init__()
        self._opening, self._kind, self._head = opening, kind, head
        self._own = 4 + len(head) + len(closing if kind == b"Q" else b"\0\1\0\0")
        self.closing = closing

    def __missing__(self, size: int) -> bytes:
        start = self[size] = self._opening + self._kind + _LENGTH.pack(self._own + size) + self._head
        return start

    def sealed(self, bodies: Iterable[bytes]) -> list[bytes]:
        """Whole messages, to be sent as they are. A body is framed parameters, or a text."""
        return list(self.each(bodies))

    def each(self, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """The same, one by one as they are taken."""
        closing = self.closing
        for body in bodies:
            yield self[len(body)] + body + closing


def prepared(name: bytes, parameters: int) -> Envelope:
    """For a statement prepared as `name`."""
    return Envelope(b"", b"B", b"\0" + name + b"\0\0\0" + struct.pack("!h", parameters), _CLOSING)


def extended(text: bytes, parameters: int) -> Envelope:
    """For a statement that is parsed each time."""
    parse = b"P" + _LENGTH.pack(len(text) + 8) + b"\0" + text + b"\0\0\0"
    return Envelope(parse, b"B", b"\0\0\0\0" + struct.pack("!h", parameters), _CLOSING)


def simple() -> Envelope:
    """For texts with their values written into them."""
    return Envelope(b"", b"Q", b"", b"\0")


def framed(value: bytes | None) -> bytes:
    """A parameter as it stands in Bind."""
    if value is None:
        return _NULL
    size = len(value)
    return (_LENGTHS[size] if size < 256 else _LENGTH.pack(size)) + value


def framed_numbers(values: Iterable[int]) -> Iterator[bytes]:
    """The same of many integers, one by one as they are taken."""
    lengths = _LENGTHS
    for value in values:
        text = b"%d" % value
        yield lengths[len(text)] + text


def is_open_to_us(connection: PGconn) -> bool:
    """Whether what is written to the connection's socket is what the server reads."""
    if connection.ssl_in_use:
        return False
    options = {option.keyword: option.val for option in connection.info}
    return options.get(b"gssencmode") == b"disable" or connection.host.startswith((b"/", b"@"))


class Answer:
    """What one answer says, as far as it has come.

    `status` is the server's own word on the transaction (`I` none, `T` open, `E` failed), 0 while the answer
    is incomplete. `ending` is how the whole of a good answer ended, for `bytes.endswith` to know the next
    one by: CommandComplete and ReadyForQuery with nothing between. No other message can hold those bytes
    (texts have no zeros, and no length is of that order). Empty where a look at the end would not do.
    """

    __slots__ = ("_completed", "_farewell", "_rest", "ending", "failure", "status")

    def __init__(self) -> None:
        self.status = 0
        self.failure: Failure | None = None
        self.ending = b""
        self._completed = b""
        self._farewell: Failure | None = None
        self._rest = bytearray()

    @property
    def is_between_messages(self) -> bool:
        """Whether what came were whole messages."""
        return not self._rest

    @property
    def sequel(self) -> Answer | None:
        """What came after the answer's end, None where that is nothing: a server that ends the session says
        so unasked, and that may come in one piece with the answer before it.
        """
        if self._farewell is None and self.is_between_messages:
            return None
        sequel = Answer()
        sequel.failure, sequel._rest = self._farewell, self._rest
        return sequel

    def feed(self, data: bytes) -> None:
        """Some more bytes. WireError where a message is of no kind that may come."""
        rest = self._rest
        rest += data
        place = 0
        while place + _HEADER.size <= len(rest):
            kind, size = _HEADER.unpack_from(rest, place)
            if kind not in _EXPECTED or size < 4:
                what = "COPY with the client" if kind in _ASKS_FOR_COPY else "an answer out of step"
                raise WireError(f"{what}, which a script cannot have")
            end = place + 1 + size
            if end > len(rest):
                break
            self._take(kind, bytes(rest[place:end]))
            place = end
        del rest[:place]

    def _take(self, kind: bytes, message: bytes) -> None:
        if kind == b"E" and self.status:
            self._farewell = _failure(message[_HEADER.size :])
        elif kind == b"E":
            self.failure = self.failure or _failure(message[_HEADER.size :])
        elif kind == b"Z":
            self.status = message[_HEADER.size]
            ending = self._completed + message
            if self._completed and self.failure is None and len(ending) <= _LONGEST_ENDING:
                self.ending = ending
        self._completed = message if kind == b"C" else b""


def _failure(body: bytes) -> Failure:
    fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
    sqlstate = fields.get(b"C", b"08006").decode()
    # the function's name is the same in every language that messages are translated to
    revalidated = fields.get(b"R") == b"RevalidateCachedQuery"
    lines = fields.get(b"M", b"").decode(errors="replace").splitlines() or [""]
    return Failure(
        sqlstate,
        without_values(sqlstate, lines[0]),
        int(fields.get(b"P", b"0")),
        stale_plan=sqlstate == "26000" or (sqlstate == "0A000" and revalidated),
    )
