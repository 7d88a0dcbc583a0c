"""Stalls: times in which work of one script was due and none of it finished."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rehearse.judge.traffic import Longs, Span, Traffic
from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.waits import Stall

SHORTEST_STALL_NS = 100_000_000


def find_stalls(traffic: Traffic, span: Span, run: MigrationRun | None = None) -> tuple[Stall, ...]:
    """The stalls of 100 ms and more in `span`, cut to it, in order of time.

    A script stalls between two of its completions as long as at least one of its transactions is due
    and has no answer. The server's refusal is an answer, as is a lost connection; a transaction that
    never finished holds the stall open to the end of the run. Each stall is given to the statement of
    `run` that ran for most of it.
    """
    found: list[Stall] = []
    for number, name in enumerate(traffic.scripts):
        mine = traffic.due & np.equal(traffic.script, number)
        found += _of_script(name, traffic.scheduled[mine], traffic.ended[mine], span)
    if run is not None:
        found = [_attributed(stall, run) for stall in found]
    return tuple(sorted(found, key=lambda stall: (stall.start_ns, stall.end_ns, stall.script)))


def total_ns(stalls: Iterable[Stall]) -> int:
    """The time in which any script was stalled: overlapping stalls count once."""
    total, covered = 0, 0
    for stall in sorted(stalls, key=lambda stall: stall.start_ns):
        total += max(0, stall.end_ns - max(stall.start_ns, covered))
        covered = max(covered, stall.end_ns)
    return total


def _of_script(name: str, scheduled: Longs, ended: Longs, span: Span) -> list[Stall]:
    """Of those still unanswered after each completion, the one due first decides when the stall begins:
    a running minimum from the end over the order of completion.
    """
    if not len(ended):
        return []
    order = np.argsort(ended, kind="stable")
    ends = ended[order]
    first_due = np.minimum.accumulate(scheduled[order][::-1])[::-1]
    previous = np.concatenate((np.array([np.iinfo(np.int64).min]), ends[:-1]))
    starts = np.maximum(np.maximum(previous, first_due), span.start_ns)
    ends = np.minimum(ends, span.end_ns)
    long = np.flatnonzero(ends - starts >= SHORTEST_STALL_NS)
    if not len(long):
        return []
    due_by = np.searchsorted(np.sort(scheduled), ends[long], side="left")
    done_by = np.searchsorted(ended[order], ends[long], side="left")
    return [
        Stall(name, int(starts[place]), int(ends[place]), int(due))
        for place, due in zip(long, due_by - done_by, strict=True)
    ]


def _attributed(stall: Stall, run: MigrationRun) -> Stall:
    statement = blamed(Span(stall.start_ns, stall.end_ns), run)
    if statement is None:
        return stall
    return Stall(stall.script, stall.start_ns, stall.end_ns, stall.due, statement.index)


def blamed(span: Span, run: MigrationRun) -> Statement | None:
    """The statement that ran for most of `span`; failing that, the last one before it in a transaction
    that was open then, whose locks were still held.
    """
    executed = [s for s in run.statements if s.outcome is not StatementOutcome.NOT_RUN]
    most = max(executed, key=lambda s: span.overlap_ns(s.started_ns, s.ended_ns), default=None)
    if most is not None and span.overlap_ns(most.started_ns, most.ended_ns):
        return most
    held = [t.index for t in run.transactions if span.overlap_ns(t.started_ns, t.ended_ns)]
    open_then = [s for s in executed if s.transaction in held and s.started_ns <= span.start_ns]
    return open_then[-1] if open_then else None
