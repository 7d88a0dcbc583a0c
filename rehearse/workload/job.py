"""What a driver process is told, and what it answers, over its two pipes."""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rehearse.model.workload import Pool, Protocol
from rehearse.workload.script import Script

_LENGTH = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Job:
    """All that one driver process needs. `conninfo` holds the password: it goes through a pipe only.

    `rate` is this process's own share, None for a closed loop; `clients` are the numbers of its clients
    among all; `worker` of `workers` says which process it is.
    """

    worker: int
    workers: int
    conninfo: str
    scripts: tuple[Script, ...]
    pools: tuple[Pool, ...]
    variables: tuple[tuple[str, int], ...]
    protocol: Protocol
    rate: float | None
    clients: tuple[int, ...]
    seed: int
    spool: Path
    page: int  # the descriptor of its page

    def __repr__(self) -> str:
        return f"Job(worker={self.worker})"


@dataclass(frozen=True, slots=True)
class Ready:
    """Connections are open, statements are ready."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It could not start. `file` and `line` where a script is to blame."""

    what: str
    mend: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Go:
    """Time zero, on the monotonic clock."""

    zero_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """What is due up to `stop_ns` is still sent, and waited for until `end_ns`."""

    stop_ns: int
    end_ns: int


Message = Job | Ready | Refused | Go | Stop


def send(pipe: IO[bytes], message: Message) -> None:
    """Write one message."""
    payload = pickle.dumps(message)
    pipe.write(_LENGTH.pack(len(payload)) + payload)
    pipe.flush()


def receive(descriptor: int) -> Message | None:
    """Read one message, None where the other side is gone. Reads not a byte more than that."""
    head = _read(descriptor, _LENGTH.size)
    if head is None:
        return None
    payload = _read(descriptor, _LENGTH.unpack(head)[0])
    if payload is None:
        return None
    message: Message = pickle.loads(payload)  # noqa: S301 - from our own parent or child
    return message


def _read(descriptor: int, size: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < size:
        piece = os.read(descriptor, size - len(pieces))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)
