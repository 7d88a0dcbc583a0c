"""The samples as numpy columns, read in place, with the spans of time they are judged over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rehearse.errors import RecordError
from rehearse.model.migration import MigrationRun
from rehearse.model.record import Phase, Trial
from rehearse.model.workload import NOT_DUE, Outcome, SampleColumns

Longs: TypeAlias = npt.NDArray[np.int64]
Shorts: TypeAlias = npt.NDArray[np.int16]
Mask: TypeAlias = npt.NDArray[np.bool_]

FOREVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Span:
    """`start_ns <= t < end_ns`."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9

    def overlap_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of `start_ns` to `end_ns` lies in it; 0 if nothing does."""
        return max(0, min(self.end_ns, end_ns) - max(self.start_ns, start_ns))

    def halves(self) -> tuple[Span, Span]:
        """The same cut in the middle, for comparing it with itself."""
        middle = (self.start_ns + self.end_ns) // 2
        return Span(self.start_ns, middle), Span(middle, self.end_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """All samples as columns of one length; see `SampleColumns` for what they hold."""

    scripts: tuple[str, ...]
    sqlstates: tuple[str, ...]
    script: Shorts
    scheduled: Longs
    ended: Longs
    started: Longs
    outcome: Shorts
    sqlstate: Shorts
    statement: Shorts

    @classmethod
    def of(cls, samples: SampleColumns) -> Traffic:
        """Views into `samples`, without a copy. Raises RecordError if its columns differ in length."""
        traffic = cls(
            scripts=samples.scripts,
            sqlstates=samples.sqlstates,
            script=np.frombuffer(samples.script, dtype=np.int16),
            scheduled=np.frombuffer(samples.scheduled_ns, dtype=np.int64),
            ended=np.frombuffer(samples.ended_ns, dtype=np.int64),
            started=np.frombuffer(samples.started_ns, dtype=np.int64),
            outcome=np.frombuffer(samples.outcome, dtype=np.int16),
            sqlstate=np.frombuffer(samples.sqlstate, dtype=np.int16),
            statement=np.frombuffer(samples.statement, dtype=np.int16),
        )
        lengths = {
            len(traffic.script),
            len(traffic.scheduled),
            len(traffic.ended),
            len(traffic.started),
            len(traffic.outcome),
            len(traffic.sqlstate),
            len(traffic.statement),
        }
        if len(lengths) > 1:
            raise RecordError("the columns of the samples differ in length")
        return traffic

    @property
    def due(self) -> Mask:
        """Transactions that were to be sent: all but those for which the client had nothing to send, and
        the earlier attempts at those that were retried.
        """
        return ~np.isin(self.outcome, NOT_DUE)

    @property
    def retried(self) -> Mask:
        """Attempts that were refused and made again."""
        return np.equal(self.outcome, Outcome.RETRIED)

    @property
    def failed(self) -> Mask:
        """Transactions that were refused, lost, or never finished."""
        return self.due & np.not_equal(self.outcome, Outcome.OK)

    def within(self, span: Span) -> Mask:
        """Transactions that were scheduled in `span`."""
        return np.greater_equal(self.scheduled, span.start_ns) & np.less(self.scheduled, span.end_ns)

    def of_script(self, name: str) -> Mask:
        """Transactions of one script; none where it does not exist."""
        if name not in self.scripts:
            return np.zeros(len(self.script), dtype=np.bool_)
        return np.equal(self.script, self.scripts.index(name))


def span_of(trial: Trial | None, phase: Phase) -> Span | None:
    """The span of `phase`, None where the trial never came to it or it has no length."""
    found = trial.phase(phase) if trial else None
    return Span(found.start_ns, found.end_ns) if found and found.end_ns > found.start_ns else None


def after_start(trial: Trial | None, run: MigrationRun | None) -> Span | None:
    """From the migration's start on, without an end; None where it never started."""
    phase = span_of(trial, Phase.MIGRATION)
    starts = [*([phase.start_ns] if phase else []), *([run.started_ns] if run else [])]
    return Span(min(starts), FOREVER) if starts else None
