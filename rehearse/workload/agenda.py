"""What is due next: the schedule and the choice of scripts, drawn ahead for ever."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from rehearse.model.workload import STEADY, Pacing, RateStep
from rehearse.workload.schedule import CHUNK, arrivals, choices, repeated

NEVER = 2**62
_Chunk = tuple[Sequence[int], list[int]]


class Agenda:
    """Transactions in the order they are due, in monotonic nanoseconds.

    `due_ns` and `script` are those of the next one; `due_ns` is NEVER before the start, and where no more
    will come. In a closed loop (`rate` None, no trace) one is always due (at 0), for whoever is free, until
    the end. `offset` (0 to 1, in gaps) sets evenly spaced streams of several processes apart.
    """

    __slots__ = (
        "_choices",
        "_chunks",
        "_closed",
        "_draws",
        "_end_ns",
        "_feed",
        "_offset",
        "_pacing",
        "_seed",
        "_weights",
        "_zero_ns",
        "due_ns",
        "script",
        "taken",
    )

    def __init__(
        self,
        rate: float | None,
        weights: Sequence[float],
        seed: np.random.SeedSequence,
        pacing: Pacing = STEADY,
        offset: float = 0.0,
    ) -> None:
        due, chosen, self._seed = seed.spawn(3)
        self._closed = rate is None and not pacing.steps and pacing.trace is None
        self._pacing = pacing
        self._offset = offset
        self._weights = np.asarray(weights, dtype=np.float64)
        self._choices = choices(self._weights, chosen)
        self._draws = self._drawn(rate, due)
        self._chunks: deque[_Chunk] = deque()  # drawn; the first is being taken
        self._feed = self._take_from_chunks()
        self._end_ns = NEVER
        self._zero_ns = 0
        self.taken = 0
        self.due_ns = NEVER
        self.script = 0

    @property
    def is_closed_loop(self) -> bool:
        """Whether there is no schedule."""
        return self._closed

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

    def change(self, at_ns: int, steps: Sequence[RateStep]) -> None:
        """From `at_ns` on, the arrivals come by `steps` (whose times count from then). What was drawn for
        later is forgotten: arrivals have no memory.
        """
        kept: _Chunk = ([], [])
        for times, scripts in self._chunks:
            first = bisect_right(times, self.due_ns - 1)
            last = max(first, bisect_right(times, at_ns))
            kept = ([*kept[0], *times[first:last]], [*kept[1], *scripts[first:last]])
        # from seeds of its own: how much of the old was drawn ahead by now is a matter of time
        due, chosen = self._seed.spawn(2)
        self._choices = choices(self._weights, chosen)
        self._draws = self._arriving(steps, due, at_ns)
        self._chunks = deque([kept] if kept[0] else [])
        self._feed = self._take_from_chunks()
        taken = self.taken
        self.take()  # the next one again, which is the first of what is kept; or the first of the new
        self.taken = taken

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

    def draw_ahead(self) -> None:
        """Draw the next chunk now, when there is time."""
        if len(self._chunks) < 2:
            self._draw()

    def _take_from_chunks(self) -> Iterator[tuple[int, int]]:
        while True:
            if not self._chunks:
                self._draw()
            yield from zip(*self._chunks[0], strict=False)
            self._chunks.popleft()

    def _draw(self) -> None:
        self._chunks.append(next(self._draws, ([NEVER], [0])))

    def _drawn(self, rate: float | None, seed: np.random.SeedSequence) -> Iterator[_Chunk]:
        """Chunks of due times and scripts; it ends where the schedule does."""
        if self._pacing.trace is not None:
            for due, scripts in repeated(self._pacing.trace):
                for first in range(0, len(scripts), CHUNK):
                    piece = slice(first, first + CHUNK)
                    yield (due[piece] + self._zero_ns).tolist(), scripts[piece]
        elif self._pacing.steps or rate is not None:
            steps = self._pacing.steps or (RateStep(rate or 0.0),)
            yield from self._arriving(steps, seed, None)
        else:
            zeros = list(repeat(0, CHUNK))
            for scripts in self._choices:
                yield zeros, scripts

    def _arriving(
        self, steps: Sequence[RateStep], seed: np.random.SeedSequence, from_ns: int | None
    ) -> Iterator[_Chunk]:
        stream = arrivals(steps, seed, pattern=self._pacing.arrivals, offset=self._offset)
        for due in stream:
            zero_ns = self._zero_ns if from_ns is None else from_ns
            yield (due + zero_ns).tolist(), next(self._choices)
