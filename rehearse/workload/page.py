"""What a driver process says of itself while it runs: a page of memory that its parent reads.

The page has no name in any file system, so that nothing is left behind by a process that is killed.
Every field is one aligned 64-bit word and written at once; the fields among each other may be some
milliseconds apart.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import tempfile
from enum import IntEnum, unique

import numpy as np
from numpy.typing import NDArray

from rehearse.model.workload import Outcome
from rehearse.workload.spool import DTYPE

SLOT_NS = 100_000_000
_SLOTS = 16
_WINDOW = 10  # slots that `rate` and `p99` look back
_PER_OCTAVE = 8
_BUCKETS = 256  # up to 2 ** 32 us
_WORD = 8
_OK = int(Outcome.OK)
_EDGES_NS = (1000 * 2.0 ** (np.arange(1, _BUCKETS) / _PER_OCTAVE)).astype(np.int64)  # between buckets


@unique
class Field(IntEnum):
    """The single words at the page's start."""

    DUE = 0
    FINISHED = 1
    FAILED = 2
    IN_FLIGHT = 3
    QUEUED = 4
    OLDEST_NS = 5  # when the oldest unanswered transaction was sent; 0: none is out
    PEAK_QUEUE = 6
    SKIPPED = 7
    RECONNECTS = 8
    CPU_NS = 9  # of the process, so far
    CPU_AT_ZERO_NS = 10  # of the process, when the traffic began
    PAUSES = 11  # how many there are on the page


_HEADER = 16
_MOST_PAUSES = 512  # those that come later are not told: they excuse nothing
_COUNTS = struct.Struct("@9q")


def make_page_file(clients: int) -> int:
    """A file descriptor of zeroed memory that a page for `clients` connections fits into."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("rehearse-driver")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _size(clients))
    return descriptor


class Page:
    """One process's page. `words` are its fields, `pids` its connections' server processes."""

    def __init__(self, descriptor: int, clients: int) -> None:
        self._map = mmap.mmap(descriptor, _size(clients))
        words = np.frombuffer(self._map, dtype=np.int64)
        self.words: memoryview[int] = memoryview(self._map)[: _HEADER * _WORD].cast("q")
        self.pids: NDArray[np.int64] = words[_HEADER : _HEADER + clients]
        ring = words[_HEADER + clients : _size(clients) // _WORD - 2 * _MOST_PAUSES].reshape(
            _SLOTS, 2 + _BUCKETS
        )
        self._pauses: NDArray[np.int64] = words[-2 * _MOST_PAUSES :].reshape(_MOST_PAUSES, 2)
        self._slots: NDArray[np.int64] = ring[:, 0]
        self._finished: NDArray[np.int64] = ring[:, 1]
        self._histograms: NDArray[np.int64] = ring[:, 2:]

    def show(self, *counts: int) -> None:
        """The fields from DUE to RECONNECTS, in their order."""
        _COUNTS.pack_into(self._map, 0, *counts)

    def add_pause(self, start_ns: int, end_ns: int) -> None:
        """A time in which the process wanted to run, and was not served."""
        place = self.words[Field.PAUSES]
        if place < _MOST_PAUSES:
            self._pauses[place] = start_ns, end_ns
            self.words[Field.PAUSES] = place + 1

    def pauses(self) -> list[tuple[int, int]]:
        """Those so far, in the order of time."""
        return [(start, end) for start, end in self._pauses[: self.words[Field.PAUSES]].tolist()]

    def add_samples(self, now_ns: int, packed: memoryview[int]) -> None:
        """Count packed records among those of the slot that `now_ns` is in."""
        slot = now_ns // SLOT_NS
        place = slot % _SLOTS
        if self._slots[place] != slot:
            self._histograms[place] = 0
            self._finished[place] = 0
            self._slots[place] = slot
        records = np.frombuffer(packed, dtype=DTYPE)
        # as few steps as can be: each is code that the processor has forgotten since the last time
        latency = records["ended_ns"] - records["scheduled_ns"]
        done = latency[records["outcome"] == _OK]
        self._finished[place] += done.size
        self._histograms[place] += np.bincount(_EDGES_NS.searchsorted(done, "right"), minlength=_BUCKETS)

    def recent(self, now_ns: int) -> tuple[int, NDArray[np.int64]]:
        """Of the last second: transactions answered, and their latencies' histogram."""
        newest = now_ns // SLOT_NS
        fresh = (self._slots > newest - _WINDOW) & (self._slots <= newest)
        return int(self._finished[fresh].sum()), self._histograms[fresh].sum(axis=0)


def percentile_ns(histogram: NDArray[np.int64], share: float) -> int | None:
    """The latency that `share` of a histogram lies under, to within 9 %; None where it is empty."""
    total = int(histogram.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(np.cumsum(histogram), share * total))
    edge_us: float = 2.0 ** ((bucket + 1) / _PER_OCTAVE)
    return round(edge_us * 1000)


def window_s() -> float:
    """The seconds that `Page.recent` covers."""
    return _WINDOW * SLOT_NS / 1e9


def _size(clients: int) -> int:
    return (_HEADER + clients + _SLOTS * (2 + _BUCKETS) + 2 * _MOST_PAUSES) * _WORD
