"""PostgreSQL's messages (protocol 3.0) as bytes: taken apart as they come, and made."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rehearse.engines.postgres.primary import without_values
from rehearse.engines.postgres.session import Failure

PROTOCOL = 3 << 16
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104

_HEAD = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")


class Message(NamedTuple):
    """One message after the start-up: its type byte, and what follows its length."""

    kind: bytes
    body: bytes

    @property
    def data(self) -> bytes:
        """As it goes over the wire."""
        return _HEAD.pack(self.kind, len(self.body) + 4) + self.body


class Messages:
    """Takes a stream apart: bytes go in as they arrive, whole messages come out."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest, start)
            end = start + 1 + length
            if len(self._rest) < end:
                break
            yield Message(kind, bytes(self._rest[start + _HEAD.size : end]))
            start = end
        del self._rest[:start]


def query(text: bytes) -> bytes:
    """A simple query."""
    return Message(b"Q", text + b"\0").data


def asked(name: bytes, text: bytes) -> bytes:
    """`text` parsed, executed and forgotten by the extended protocol, without a Sync. It has six answers:
    CloseComplete, ParseComplete, BindComplete, the rows with CommandComplete, and twice CloseComplete. The
    first makes room where one before it was refused halfway.
    """
    return b"".join(
        [
            Message(b"C", b"S" + name + b"\0").data,
            Message(b"P", name + b"\0" + text + b"\0\0\0").data,
            Message(b"B", name + b"\0" + name + b"\0" + bytes(6)).data,
            Message(b"E", name + bytes(5)).data,
            Message(b"C", b"P" + name + b"\0").data,
            Message(b"C", b"S" + name + b"\0").data,
        ]
    )


def sync() -> bytes:
    """The end of a command of the extended protocol."""
    return Message(b"S", b"").data


def refusal(sqlstate: str, text: str) -> bytes:
    """A FATAL error, as the server would send it."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text}
    return Message(b"E", b"".join(f"{k}{v}".encode() + b"\0" for k, v in fields.items()) + b"\0").data


def welcome(parameters: Mapping[str, str], pid: int, key: int) -> bytes:
    """What a client is told once it may come in, up to the first ReadyForQuery."""
    told = [Message(b"R", bytes(4))]
    told += [Message(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items()]
    told += [Message(b"K", struct.pack("!II", pid, key)), Message(b"Z", b"I")]
    return b"".join(message.data for message in told)


def password_request() -> bytes:
    """The server wants the password in clear."""
    return Message(b"R", _LENGTH.pack(3)).data


def older_protocol() -> bytes:
    """The client asked for a later minor version: it gets 3.0 and none of its options."""
    return Message(b"v", struct.pack("!II", PROTOCOL, 0)).data


def strings(body: bytes, count: int = -1) -> list[str]:
    """The first `count` zero-terminated texts of a message; all that it has if -1."""
    parts = body.split(b"\0", count)[: count if count >= 0 else None]
    return [part.decode("utf-8", "replace") for part in parts]


def parameters_of(body: bytes) -> dict[str, str]:
    """The names and values of a start-up packet, after its protocol version."""
    words = strings(body)
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name: value for name, value in pairs if name}


def failure_of(body: bytes) -> Failure:
    """What an ErrorResponse says, without the values that it quotes."""
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    sqlstate = fields.get(b"C")
    return Failure(sqlstate, without_values(sqlstate, fields.get(b"M", "")))


def first_value(body: bytes) -> str | None:
    """The first column of a DataRow."""
    return values_of(body)[0]


def values_of(body: bytes) -> tuple[str | None, ...]:
    """The columns of a DataRow, which came as text."""
    (count,) = struct.unpack_from("!H", body)
    found: list[str | None] = []
    place = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, place)
        place += 4
        if length < 0:
            found.append(None)
            continue
        found.append(body[place : place + length].decode("utf-8", "replace"))
        place += length
    return tuple(found)
