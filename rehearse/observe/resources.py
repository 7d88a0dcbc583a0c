"""The server's state over time, a few times a second."""

from __future__ import annotations

import time
from typing import Protocol

import psycopg

from rehearse.engines.postgres.activity import ServerState
from rehearse.model.spans import Spans
from rehearse.model.waits import ResourceSample

EVERY_NS = 250_000_000
SUSPICIOUS_EVERY_NS = 50_000_000  # while somebody may be waiting for the disk
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


class Unflushed:
    """When the disk did not take the log: a session waited for it to, and much later one still did, with not
    a byte written or flushed in between. A flush that ends moves the log on, so it was one and the same.
    """

    def __init__(self) -> None:
        self._stuck: tuple[int, int | None] | None = None
        self._since_ns = 0
        self._spans: list[tuple[int, int]] = []

    def seen(self, state: ServerState, asked_ns: int, answered_ns: int) -> None:
        """The state at some moment from `asked_ns` to `answered_ns`."""
        place = (state.wal_position_bytes, state.flushed_bytes) if state.flushing_sessions else None
        if place is None or place != self._stuck:
            self._stuck, self._since_ns = place, answered_ns
        elif self._spans and self._spans[-1][0] == self._since_ns:
            self._spans[-1] = self._since_ns, asked_ns
        elif asked_ns > self._since_ns:
            self._spans.append((self._since_ns, asked_ns))

    def spans(self) -> Spans:
        """Those so far, in the order of time."""
        return tuple(self._spans)


class ResourceLog:
    """Takes samples when they are due. Of a long trial it keeps every second one, then every fourth, ..."""

    def __init__(self) -> None:
        self._samples: list[ResourceSample] = []
        self._every_ns = EVERY_NS
        self._due_ns = 0
        self._look_due_ns = 0
        self._size_due_ns = 0
        self._calm = False
        self._unflushed = Unflushed()

    def take(
        self,
        source: StateSource,
        now_ns: int,
        *,
        last: bool = False,
        calm: bool = False,
        suspicious: bool = False,
    ) -> None:
        """Ask `source` if a sample is due at `now_ns`, or if it is the `last` one. Where it is `suspicious`
        that nobody is answered, whether the disk takes the log is looked at more often.
        """
        if now_ns < self._due_ns and not last:
            if suspicious and now_ns >= self._look_due_ns:
                self._look_due_ns = now_ns + SUSPICIOUS_EVERY_NS
                self._glance(source)
            return
        self._look_due_ns = now_ns + SUSPICIOUS_EVERY_NS
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

    def unflushed(self) -> Spans:
        """The times in which the log stood still though sessions waited for it to be flushed."""
        return self._unflushed.spans()

    def _sample(self, source: StateSource, at_ns: int, *, last: bool, calm: bool) -> ResourceSample:
        """What a server will not tell (a right that is missing) is not measured, and is no failure."""
        try:
            state = self._look(source, at_ns)
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

    def _glance(self, source: StateSource) -> None:
        try:
            self._look(source, time.monotonic_ns())
        except psycopg.Error:
            if source.closed:
                raise

    def _look(self, source: StateSource, asked_ns: int) -> ServerState:
        state = source.state()
        self._unflushed.seen(state, asked_ns, time.monotonic_ns())
        return state

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
