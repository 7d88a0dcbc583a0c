"""Samples on their way from a driver process to the record: packed, written in pieces, merged.

A piece is a file of whole records under its final name, so that a run that dies leaves what it had
measured. A record is 34 bytes; ten million transactions take 340 MB on disk and 330 MB merged.
"""

from __future__ import annotations

import queue
import struct
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rehearse.model.workload import Outcome, SampleColumns

RECORD = struct.Struct("@qqqihhbb")  # native packing takes half the time
_TIMES = struct.calcsize("@qqq")
_GOOD = struct.Struct(f"@qqq{RECORD.size - _TIMES}s")
DTYPE = np.dtype(
    [
        ("scheduled_ns", "i8"),
        ("started_ns", "i8"),
        ("ended_ns", "i8"),
        ("sqlstate", "i4"),
        ("script", "i2"),
        ("statement", "i2"),
        ("outcome", "i1"),
        ("prompt", "i1"),  # a connection was free when the transaction was due
    ]
)
NO_SQLSTATE = -1
_CHUNK_RECORDS = 16_384
_SPARE = 4  # chunks; what a disk that stalled has made wait beyond that is given back
_DIGITS = 36


class Recorder:
    """Packs samples into a chunk, and hands full chunks to a thread that writes them.

    The thread is there so that a disk that stalls, as one under a migration may, does not stop the
    traffic. `on_chunk` is shown the packed records before they go.
    """

    def __init__(self, spool: Path, worker: int) -> None:
        self._spool = spool
        self._worker = worker
        self._pieces = 0
        self._limit = _CHUNK_RECORDS * RECORD.size
        self._buffer = bytearray(self._limit)
        # written, to be filled again: memory that is new costs a pause for every page of it
        self._spare = deque([bytearray(self._limit)], maxlen=_SPARE)
        self._used = 0
        self._seen = 0
        self._handed_over = 0
        self._error: OSError | None = None
        self._queue: queue.SimpleQueue[tuple[int, bytearray, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_pieces, name="spool", daemon=True)
        self._thread.start()
        self.on_chunk: Callable[[memoryview], None] = lambda _packed: None

    @property
    def count(self) -> int:
        """How many samples there were so far."""
        return self._handed_over + self._used // RECORD.size

    def add(  # noqa: PLR0913, PLR0917 - the fields of a record, once for each transaction: no object is made for them
        self,
        scheduled_ns: int,
        started_ns: int,
        ended_ns: int,
        sqlstate: int,
        script: int,
        statement: int,
        outcome: int,
        prompt: bool,
        _pack: Callable[..., None] = RECORD.pack_into,
        _size: int = RECORD.size,
    ) -> None:
        """One sample."""
        used = self._used
        _pack(
            self._buffer,
            used,
            scheduled_ns,
            started_ns,
            ended_ns,
            sqlstate,
            script,
            statement,
            outcome,
            prompt,
        )
        self._used = used = used + _size
        if used == self._limit:
            self.flush()

    def add_good(
        self,
        scheduled_ns: int,
        started_ns: int,
        ended_ns: int,
        rest: bytes,
        _pack: Callable[..., None] = _GOOD.pack_into,
        _size: int = RECORD.size,
    ) -> None:
        """One that just ended well, in half the time; `rest` is from `rest_of_good`."""
        used = self._used
        _pack(self._buffer, used, scheduled_ns, started_ns, ended_ns, rest)
        self._used = used = used + _size
        if used == self._limit:
            self.flush()

    def look(self) -> None:
        """Show `on_chunk` what it has not seen yet."""
        if self._used > self._seen:
            seen, self._seen = self._seen, self._used
            self.on_chunk(memoryview(self._buffer)[seen : self._used])

    def flush(self) -> None:
        """Hand over what there is."""
        self.look()
        if self._used:
            self._queue.put((self._pieces, self._buffer, self._used))
            self._pieces += 1
            self._handed_over += self._used // RECORD.size
            self._buffer = self._spare.popleft() if self._spare else bytearray(self._limit)
            self._used = self._seen = 0

    def close(self) -> None:
        """Write everything; raises the OSError that writing met, if it met one."""
        self.flush()
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write_pieces(self) -> None:
        while (item := self._queue.get()) is not None:
            number, buffer, used = item
            path = self._spool / f"worker-{self._worker:03d}-{number:07d}.samples"
            try:
                draft = path.with_suffix(".part")
                draft.write_bytes(memoryview(buffer)[:used])
                draft.replace(path)
            except OSError as error:
                self._error = error
                return
            self._spare.append(buffer)


def rest_of_good(script: int) -> tuple[bytes, bytes]:
    """What follows the times of a transaction that ended well: of one that had to wait for a connection, and
    of one that did not.
    """
    late, prompt = (
        RECORD.pack(0, 0, 0, NO_SQLSTATE, script, -1, Outcome.OK, prompt)[_TIMES:] for prompt in (False, True)
    )
    return late, prompt


def encode_sqlstate(sqlstate: str) -> int:
    """Five characters of 0-9 and A-Z as a number."""
    return int(sqlstate, _DIGITS)


def decode_sqlstate(code: int) -> str:
    """What `encode_sqlstate` was given."""
    return np.base_repr(code, _DIGITS).rjust(5, "0")


def read_spool(spool: Path, scripts: Sequence[str]) -> tuple[SampleColumns, NDArray[np.bool_]]:
    """All samples in `spool`, by the time they were due, and of each whether it found a connection free.

    Reads piece by piece into columns of the final size: at most a piece and one column are held besides.
    """
    pieces = sorted(spool.glob("worker-*.samples"))
    total = sum(path.stat().st_size // RECORD.size for path in pieces)
    columns = {name: np.empty(total, dtype=DTYPE[name]) for name in DTYPE.names or ()}
    place = 0
    for path in pieces:
        records = np.fromfile(path, dtype=DTYPE)
        for name, column in columns.items():
            column[place : place + len(records)] = records[name]
        place += len(records)
    order = np.argsort(columns["scheduled_ns"], kind="stable")
    prompt = columns.pop("prompt")[order].astype(np.bool_)
    codes = np.unique(columns["sqlstate"])
    none = int(codes[:1].tolist() == [NO_SQLSTATE])
    coded = np.searchsorted(codes, columns.pop("sqlstate")).astype(np.int16) - none
    states = tuple(decode_sqlstate(code) for code in codes[none:].tolist())
    return (
        SampleColumns(
            scripts=tuple(scripts),
            sqlstates=states,
            sqlstate=_packed("h", coded, order),
            script=_packed("h", columns.pop("script"), order),
            scheduled_ns=_packed("q", columns.pop("scheduled_ns"), order),
            started_ns=_packed("q", columns.pop("started_ns"), order),
            ended_ns=_packed("q", columns.pop("ended_ns"), order),
            outcome=_packed("h", columns.pop("outcome"), order),
            statement=_packed("h", columns.pop("statement"), order),
        ),
        prompt,
    )


def _packed(code: str, column: NDArray[np.integer], order: NDArray[np.int64]) -> array[int]:
    ordered = column[order].astype(np.dtype(code), copy=False)
    packed = array(code)
    packed.frombytes(ordered.view(np.uint8).data)
    return packed


assert RECORD.size == DTYPE.itemsize
assert max(Outcome) < 128
