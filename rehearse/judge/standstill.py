"""When the machine stood still, and what would have been measured had it not.

Two kinds of standstill can be proven. The *processor*: all processes of the driver wanted to run and none
was served; where that stretches a lock, the observer must not have been served at the same time, either. The
*disk*: sessions waited for the log to be flushed and not a byte of it was, while the migration writes next to
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rehearse.judge.holds import Hold
from rehearse.judge.metrics import Measures
from rehearse.judge.traffic import Span, Traffic
from rehearse.model.gates import MetricRef
from rehearse.model.record import Trial
from rehearse.model.spans import Spans, common, overlap_ns, united
from rehearse.model.waits import LockWait, Stall
from rehearse.model.workload import Outcome

# A lock of the migration that accounts for this part of what was measured explains it.
EXPLAINS = 0.5
# A migration that writes more, or builds or rewrites anything, can make the disk stand still by itself.
_FEW_BYTES = 16 * 1024**2
MEND = "Give this machine less else to do, or a faster disk, and rehearse again."


@dataclass(frozen=True, slots=True)
class Standstills:
    """When it did: in that of the `traffic`, response times and stalls are worth nothing; in that of the
    `machine`, nor are the times that locks were held.
    """

    traffic: Spans = ()
    machine: Spans = ()

    def held_ns(self, hold: Hold) -> int:
        """How long the lock would have been held. Where work under it grows with a table, that decides, and
        nothing is taken off.
        """
        held_ns = hold.end_ns - hold.start_ns
        return held_ns if hold.growing else held_ns - overlap_ns(self.machine, hold.start_ns, hold.end_ns)

    def stretched(self, hold: Hold, budget_s: float) -> bool:
        """Whether the lock was held beyond `budget_s` only because the machine stood still for most of it."""
        left_s = self.held_ns(hold) / 1e9
        return hold.held_s > budget_s >= left_s and left_s < EXPLAINS * hold.held_s


def standstills_of(trial: Trial | None) -> Standstills:
    """What the trial's own processes say of the machine."""
    observer = trial.observer if trial else None
    if trial is None or observer is None:
        return Standstills()
    pauses = trial.driver.pauses if trial.driver else ()
    disk = observer.unflushed if _writes_little(trial) else ()
    return Standstills(
        traffic=united([*pauses, *disk]),
        machine=united([*common([pauses, observer.lapses]), *disk]),
    )


def without_standstills(measures: Measures, *, counting: bool = False) -> Measures | None:
    """The measures as if the machine had not stood still: each response time, stall, wait and hold is shorter
    by as much of it as the machine stood still, and transactions that were due in a standstill, or while
    what had piled up in it was worked off, are left out unless they are to be counted (`counting`). None
    where it never stood still.
    """
    still = standstills_of(measures.trial)
    if not still.traffic or measures.trial is None:
        return None
    return replace(
        measures,
        trial=replace(measures.trial, waits=tuple(_wait(wait, still) for wait in measures.trial.waits)),
        traffic=None
        if measures.traffic is None
        else _calm(measures.traffic, still.traffic, counting=counting),
        holds=tuple(_hold(hold, still) for hold in measures.holds),
        stalls=tuple(_stall(stall, still) for stall in measures.stalls),
    )


def explained_by_locks(calm: Measures, measures: Measures, observed_s: float | None) -> bool:
    """Whether the migration's locks account for much of what was `observed_s` (None: of the longest stall),
    the standstills left out. Where that is not known, it cannot be ruled out.
    """
    behind = [calm.value(MetricRef(name)) for name in ("blocking.max", "blocking.held")]
    observed_s = measures.value(MetricRef("stall.max")) if observed_s is None else observed_s
    known = [seconds for seconds in behind if seconds is not None]
    return observed_s is None or len(known) < len(behind) or max(known) >= EXPLAINS * observed_s


def stood_still_s(measures: Measures) -> float:
    """The longest standstill from the migration's start on."""
    span = measures.span(None)
    start_ns = span.start_ns if span else 0
    lengths = (end - max(start, start_ns) for start, end in standstills_of(measures.trial).traffic)
    return max(0, max(lengths, default=0)) / 1e9


def _writes_little(trial: Trial) -> bool:
    """Whether the migration cannot have kept the disk busy. What is not known may have been much."""
    run = trial.migration
    if run is None:
        return False
    effects = [statement.effects for statement in run.statements if statement.effects is not None]
    known = [one.wal_bytes for one in effects if one.wal_bytes is not None]
    return (
        len(known) == len(effects)
        and sum(known) <= _FEW_BYTES
        and not any(one.rewritten or one.built for one in effects)
    )


def _calm(traffic: Traffic, spans: Iterable[tuple[int, int]], *, counting: bool) -> Traffic:
    ended, outcome = traffic.ended.copy(), traffic.outcome.copy()
    for start_ns, end_ns in spans:
        late = np.flatnonzero((traffic.ended > start_ns) & (traffic.scheduled < end_ns))
        until = np.minimum(traffic.ended[late], end_ns)
        ended[late] -= until - np.maximum(traffic.scheduled[late], start_ns)
        if not counting:
            piled_up = late[traffic.scheduled[late] >= start_ns]
            last_ns = int(traffic.ended[piled_up].max(initial=0))
            # what takes longer to be worked off than it took to pile up has another cause
            if last_ns - end_ns <= end_ns - start_ns:
                outcome[traffic.within(Span(start_ns, max(end_ns, last_ns)))] = Outcome.SKIPPED
    return replace(traffic, ended=ended, outcome=outcome)


def _hold(hold: Hold, still: Standstills) -> Hold:
    return replace(hold, end_ns=hold.start_ns + still.held_ns(hold))


def _stall(stall: Stall, still: Standstills) -> Stall:
    return replace(stall, end_ns=stall.end_ns - overlap_ns(still.traffic, stall.start_ns, stall.end_ns))


def _wait(wait: LockWait, still: Standstills) -> LockWait:
    lost_ns = overlap_ns(still.machine, wait.first_seen_ns, wait.last_seen_ns)
    return replace(wait, last_seen_ns=wait.last_seen_ns - lost_ns)
