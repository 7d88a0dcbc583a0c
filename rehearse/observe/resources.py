"""The server's state over time, a few times a second."""

from __future__ import annotations

import time
from typing import Protocol

import psycopg

from rehearse.engines.postgres.activity import ServerState
from rehearse.model.waits import ResourceSample

EVERY_NS = 250_000_000
SIZE_EVERY_NS = 1_000_000_000
CALM_SIZE_EVERY_NS = 5_000_000_000  # while no migration is at work
SIZE_COSTS_APART = 50  # the size looks at every file; a large cluster has many
MOST_KEPT = 8_000


class StateSource(Protocol):
    """Where the server's state is read."""

    @property
    def closed(self) -> bool:
        """Whether nothing more will be answered."""

    def state(self) -> ServerState:
        """The state at this moment."""

    def disk_bytes(self) -> tuple[int, int | None]:
        """The database's size and that of temporary files; dear."""


class ResourceLog:
    """Takes samples when they are due. Of a long trial it keeps every second one, then every fourth, ..."""

    def __init__(self) -> None:
        self._samples: list[ResourceSample] = []
        self._every_ns = EVERY_NS
        self._due_ns = 0
        self._size_due_ns = 0
        self._calm = False

    def take(self, source: StateSource, now_ns: int, *, last: bool = False, calm: bool = False) -> None:
        """Ask `source` if a sample is due at `now_ns`, or if it is the `last` one."""
        if now_ns < self._due_ns and not last:
            return
        self._due_ns = now_ns + self._every_ns
        sample = self._sample(source, time.monotonic_ns(), last=last or (self._calm and not calm), calm=calm)
        self._samples.append(sample)
        self._calm = calm
        if len(self._samples) > MOST_KEPT:
            self._samples = self._samples[::2]
            self._every_ns *= 2

    def samples(self) -> tuple[ResourceSample, ...]:
        """Those taken, in the order of time."""
        return tuple(self._samples)

    def _sample(self, source: StateSource, at_ns: int, *, last: bool, calm: bool) -> ResourceSample:
        """What a server will not tell (a right that is missing) is not measured, and is no failure."""
        try:
            state = source.state()
            size, temporary = self._size(source, at_ns, last=last, calm=calm)
        except psycopg.Error:
            if source.closed:
                raise
            return ResourceSample(at_ns)
        return ResourceSample(
            at_ns=at_ns,
            wal_position_bytes=state.wal_position_bytes,
            database_bytes=size,
            active_sessions=state.active_sessions,
            blocked_sessions=state.blocked_sessions,
            temporary_bytes=temporary,
            retained_bytes=state.retained_bytes,
        )

    def _size(
        self, source: StateSource, now_ns: int, *, last: bool, calm: bool
    ) -> tuple[int | None, int | None]:
        if now_ns < self._size_due_ns and not last:
            return None, None
        sizes = source.disk_bytes()
        cost_ns = time.monotonic_ns() - now_ns
        every_ns = CALM_SIZE_EVERY_NS if calm else SIZE_EVERY_NS
        self._size_due_ns = now_ns + max(every_ns, SIZE_COSTS_APART * cost_ns)
        return sizes
