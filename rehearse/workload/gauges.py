"""What a driver process counts while it runs, and shows on its page."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rehearse.model.workload import Outcome
from rehearse.workload.agenda import NEVER, Agenda
from rehearse.workload.page import SLOT_NS, Field, Page
from rehearse.workload.session import Session
from rehearse.workload.spool import Recorder

_EVERY_NS, _LATEST_NS = 2_000_000, 4_000_000
_PIECE_EVERY_NS = 2_000_000_000
_ASLEEP_NS = 20_000_000  # the loop sleeps no longer than this, whatever is due
PAUSE_NS = 30_000_000  # later than that by more, it was not served
_FINISHED = frozenset({Outcome.OK, Outcome.ERROR})
_FAILED = frozenset({Outcome.ERROR, Outcome.CONNECTION_LOST})


class Gauges:
    """Counters of what is not ordinary; the rest follows from them, the agenda and the recorder."""

    def __init__(self, page: Page, recorder: Recorder, agenda: Agenda, sessions: Sequence[Session]) -> None:
        self._page = page
        self._recorder = recorder
        self._agenda = agenda
        self._sessions = sessions
        self._odd = self._failed = self._skipped = self._retried = 0
        self._reconnects = self._peak_queue = self._next_slot_ns = 0
        self._next_piece_ns = NEVER
        self._shown_ns = self._cpu_ns = 0  # when the page was brought up to date last, from time zero on
        self.next_ns = self.latest_ns = 0  # when `publish` is due again, and when it cannot wait any longer
        recorder.on_chunk = lambda packed: page.add_samples(time.monotonic_ns(), packed)

    def start(self, zero_ns: int) -> None:
        """Time zero has come."""
        self._next_piece_ns = zero_ns + _PIECE_EVERY_NS
        words = self._page.words
        words[Field.CPU_AT_ZERO_NS] = words[Field.CPU_NS] = self._cpu_ns = time.process_time_ns()
        self._shown_ns = time.monotonic_ns()

    def count(self, outcome: Outcome) -> None:
        """A transaction that did not just end well."""
        self._odd += outcome not in _FINISHED
        self._failed += outcome in _FAILED
        self._skipped += outcome is Outcome.SKIPPED
        self._retried += outcome is Outcome.RETRIED

    def count_reconnect(self) -> None:
        """A connection was lost."""
        self._reconnects += 1

    @property
    def in_flight(self) -> int:
        """Transactions that were begun and have not ended."""
        return self._agenda.taken - self._recorder.count + self._retried

    def publish(self, now: int) -> None:
        """Bring the page up to date."""
        queued, taken, ended = self._agenda.queued(now), self._agenda.taken, self._recorder.count
        self._peak_queue = max(self._peak_queue, queued)
        oldest = min([session.started_ns for session in self._sessions])
        self._page.show(
            taken + queued,
            ended - self._odd,
            self._failed,
            taken - ended + self._retried,
            queued,
            0 if oldest == NEVER else oldest,
            self._peak_queue,
            self._skipped,
            self._reconnects,
        )
        self.next_ns, self.latest_ns = now + _EVERY_NS, now + _LATEST_NS
        if self._shown_ns:
            self._note_pause(now)
        if now >= self._next_slot_ns:
            self._next_slot_ns = now + SLOT_NS // 2
            self._publish_more()
        if now >= self._next_piece_ns:
            self._next_piece_ns = now + _PIECE_EVERY_NS
            self._recorder.flush()

    def close(self, now: int) -> None:
        """The last word."""
        self._next_slot_ns = 0
        self.publish(now)

    def _note_pause(self, now: int) -> None:
        """Whether the process had to wait for a processor. What it used of one meanwhile is no pause: then it
        was busy, whatever with.
        """
        cpu_ns = time.process_time_ns()
        since_ns = self._shown_ns + _ASLEEP_NS + cpu_ns - self._cpu_ns
        if now - since_ns > PAUSE_NS:
            self._page.add_pause(since_ns, now)
        self._shown_ns, self._cpu_ns = now, cpu_ns

    def _publish_more(self) -> None:
        self._recorder.look()
        self._page.words[Field.CPU_NS] = time.process_time_ns()
        self._page.pids[:] = [session.server_pid for session in self._sessions]
