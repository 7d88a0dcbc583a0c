"""What is due next: the schedule and the choice of scripts, drawn ahead for ever."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from rehearse.workload.schedule import arrivals, choices

NEVER = 2**62


class Agenda:
    """Transactions in the order they are due, in monotonic nanoseconds.

    `due_ns` and `script` are those of the next one; `due_ns` is NEVER before the start, and where no more
    will come. In a closed loop (`rate` None) one is always due (at 0), for whoever is free, until the end.
    """

    __slots__ = (
        "_arrivals",
        "_choices",
        "_chunks",
        "_end_ns",
        "_feed",
        "_zero_ns",
        "due_ns",
        "script",
        "taken",
    )

    def __init__(self, rate: float | None, weights: Sequence[float], seed: np.random.SeedSequence) -> None:
        due, chosen = seed.spawn(2)
        self._arrivals = None if rate is None else arrivals(rate, due)
        self._choices = choices(np.asarray(weights, dtype=np.float64), chosen)
        self._chunks: deque[tuple[Sequence[int], list[int]]] = deque()  # drawn; the first is being taken
        self._feed = self._take_from_chunks()
        self._end_ns = NEVER
        self._zero_ns = 0
        self.taken = 0
        self.due_ns = NEVER
        self.script = 0

    @property
    def is_closed_loop(self) -> bool:
        """Whether there is no schedule."""
        return self._arrivals is None

    def start(self, zero_ns: int) -> None:
        """Time zero has come."""
        self._zero_ns = zero_ns
        self.take()
        self.taken = 0

    def take(self) -> None:
        """The next one has been started: on to the one after it."""
        self.taken += 1
        due_ns, self.script = next(self._feed)
        self.due_ns = due_ns if due_ns <= self._end_ns else NEVER

    def end(self, at_ns: int) -> None:
        """What is due after `at_ns` will not be."""
        self._end_ns = -1 if self.is_closed_loop else at_ns
        if self.due_ns > self._end_ns:
            self.due_ns = NEVER

    def queued(self, now_ns: int) -> int:
        """How many are due and not taken; none in a closed loop."""
        until_ns = min(now_ns, self._end_ns)
        if self.is_closed_loop or self.due_ns > until_ns:
            return 0
        while self._chunks[-1][0][-1] <= until_ns:
            self._draw()
        due = 0
        for times, _ in self._chunks:
            due += bisect_right(times, until_ns)
        return due - bisect_right(self._chunks[0][0], self.due_ns - 1)

    def _take_from_chunks(self) -> Iterator[tuple[int, int]]:
        while True:
            if not self._chunks:
                self._draw()
            yield from zip(*self._chunks[0], strict=False)
            self._chunks.popleft()

    def _draw(self) -> None:
        scripts = next(self._choices)
        if self._arrivals is None:
            self._chunks.append((list(repeat(0, len(scripts))), scripts))
        else:
            self._chunks.append(((next(self._arrivals) + self._zero_ns).tolist(), scripts))
