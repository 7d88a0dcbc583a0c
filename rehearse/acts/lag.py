"""How far a standby is behind, over time."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from rehearse.engines.postgres.standby_state import Positions
from rehearse.errors import EnvironmentFailure
from rehearse.model.replica import ReplicaSample

_EVERY_S = 0.02
_LOOK_EVERY_S = 0.02


@dataclass(slots=True)
class Course:
    """What was read so far, in the order of time. Pure: it is told the time."""

    samples: list[ReplicaSample] = field(default_factory=list)
    _at: list[int] = field(default_factory=list)
    _written: list[int] = field(default_factory=list)

    def add(self, at_ns: int, now: Positions) -> None:
        """The lag is since when the primary has been seen to be ahead of what the standby has replayed now;
        that it was ahead a moment earlier nobody has seen.
        """
        self._at.append(at_ns)
        self._written.append(now.written)
        first = bisect.bisect_right(self._written, now.replayed)
        behind = first < len(self._at)
        self.samples.append(
            ReplicaSample(
                at_ns=at_ns,
                lag_ns=at_ns - self._at[first] if behind else 0,
                unflushed_bytes=max(0, now.written - now.flushed),
                unreplayed_bytes=max(0, now.written - now.replayed),
            )
        )

    def since(self, start_ns: int) -> tuple[ReplicaSample, ...]:
        """The samples from then on."""
        return tuple(self.samples[bisect.bisect_left(self._at, start_ns) :])

    def written(self, start_ns: int, end_ns: int) -> int:
        """Bytes of log that the primary wrote between the two times, as far as was seen."""
        before = max(0, bisect.bisect_right(self._at, start_ns) - 1)
        after = min(len(self._at) - 1, bisect.bisect_left(self._at, end_ns))
        return self._written[after] - self._written[before] if self._at else 0


class LagLog:
    """Reads the positions some fifty times a second, in a thread of its own, until it is stopped."""

    def __init__(self, read: Callable[[], Positions], last_words: Callable[[], str]) -> None:
        self.course = Course()
        self._read = read
        self._last_words = last_words
        self._latest: tuple[int, Positions] | None = None
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="lag", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; does nothing the second time."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait_caught_up(self, since_ns: int, patience_s: float) -> int | None:
        """When (monotonic ns) the standby was first seen to have replayed all that the primary had written by
        the first look after `since_ns`; None if it has not in `patience_s`. EnvironmentFailure if it ended.
        """
        wanted: int | None = None
        deadline_ns = time.monotonic_ns() + round(patience_s * 1e9)
        while time.monotonic_ns() < deadline_ns:
            if self._failure is not None:
                raise EnvironmentFailure(f"the standby could not be watched: {self._said()}")
            latest = self._latest
            if latest is not None and latest[0] >= since_ns:
                wanted = latest[1].written if wanted is None else wanted
                if latest[1].replayed >= wanted:
                    return latest[0]
            time.sleep(_LOOK_EVERY_S)
        return None

    def _said(self) -> str:
        return self._last_words() or type(self._failure).__name__

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                now = self._read()
                at_ns = time.monotonic_ns()
                self.course.add(at_ns, now)
                self._latest = (at_ns, now)
                self._over.wait(_EVERY_S)
        except psycopg.Error as error:  # told to whoever waits
            self._failure = error
