"""What a driver process is told, and what it answers, over its two pipes."""

from __future__ import annotations

import os
import pickle
import select
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rehearse.model.workload import STEADY, Pacing, Pool, Protocol, RateStep, RetryPolicy
from rehearse.workload.script import Script

_LENGTH = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Job:
    """All that one driver process needs. `conninfo` holds the password: it goes through a pipe only.

    `rate` is this process's own share, None for a closed loop or where `pacing` says it; `clients` are the
    numbers of its clients among all; `worker` of `workers` says which process it is.
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
    pacing: Pacing = STEADY  # its share of it
    retry: RetryPolicy | None = None
    late: bool = False  # what the scripts need comes with Go: nothing is prepared before

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
    """Time zero, on the monotonic clock, and for a late one what its scripts draw from."""

    zero_ns: int
    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_ns` on, arrivals come by `steps`, whose times count from then."""

    at_ns: int
    steps: tuple[RateStep, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """What is due up to `stop_ns` is still sent, and waited for until `end_ns`."""

    stop_ns: int
    end_ns: int


Message = Job | Ready | Refused | Go | Change | Stop


def send(pipe: IO[bytes], message: Message) -> None:
    """Write one message."""
    payload = pickle.dumps(message)
    pipe.write(_LENGTH.pack(len(payload)) + payload)
    pipe.flush()


def receive(descriptor: int, deadline_ns: int | None = None) -> Message | None:
    """Read one message, None where the other side is gone. Reads not a byte more than that. TimeoutError
    where it has not come by `deadline_ns` (monotonic).
    """
    head = _read(descriptor, _LENGTH.size, deadline_ns)
    if head is None:
        return None
    payload = _read(descriptor, _LENGTH.unpack(head)[0], deadline_ns)
    if payload is None:
        return None
    message: Message = pickle.loads(payload)  # noqa: S301 - from our own parent or child
    return message


def _read(descriptor: int, size: int, deadline_ns: int | None) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < size:
        if deadline_ns is not None:
            left_s = max(deadline_ns - time.monotonic_ns(), 0) / 1e9
            if not select.select((descriptor,), (), (), left_s)[0]:
                raise TimeoutError
        piece = os.read(descriptor, size - len(pieces))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)
