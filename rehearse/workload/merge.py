"""The samples of several drivers as one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rehearse.model.workload import LiveTraffic, SampleColumns


def merged_samples(parts: Sequence[SampleColumns]) -> SampleColumns:
    """All samples by the time they were due, their scripts those of the parts one after the other."""
    if len(parts) == 1:
        return parts[0]
    sqlstates = tuple(sorted({state for part in parts for state in part.sqlstates}))
    scripts, states, offset = [], [], 0
    for part in parts:
        scripts.append(np.frombuffer(part.script, dtype=np.int16) + np.int16(offset))
        offset += len(part.scripts)
        # one longer, so that -1 (none) stays what it is
        places = np.array([*(sqlstates.index(state) for state in part.sqlstates), -1], dtype=np.int16)
        states.append(places[np.frombuffer(part.sqlstate, dtype=np.int16)])
    scheduled = np.concatenate([np.frombuffer(part.scheduled_ns, dtype=np.int64) for part in parts])
    order = np.argsort(scheduled, kind="stable")

    def longs(columns: Sequence[array[int]]) -> array[int]:
        return _packed("q", np.concatenate([np.frombuffer(c, dtype=np.int64) for c in columns])[order])

    def shorts(columns: Sequence[array[int] | NDArray[np.int16]]) -> array[int]:
        return _packed("h", np.concatenate([np.frombuffer(c, dtype=np.int16) for c in columns])[order])

    return SampleColumns(
        scripts=tuple(name for part in parts for name in part.scripts),
        sqlstates=sqlstates,
        script=shorts(scripts),
        scheduled_ns=longs([part.scheduled_ns for part in parts]),
        started_ns=longs([part.started_ns for part in parts]),
        ended_ns=longs([part.ended_ns for part in parts]),
        outcome=shorts([part.outcome for part in parts]),
        sqlstate=shorts(states),
        statement=shorts([part.statement for part in parts]),
    )


def merged_live(first: LiveTraffic, second: LiveTraffic) -> LiveTraffic:
    """Two drivers as one, seen from outside: of the two p99, the larger."""
    oldest = [at for at in (first.oldest_in_flight_ns, second.oldest_in_flight_ns) if at is not None]
    p99 = [at for at in (first.p99_ns, second.p99_ns) if at is not None]
    return LiveTraffic(
        due=first.due + second.due,
        finished=first.finished + second.finished,
        failed=first.failed + second.failed,
        in_flight=first.in_flight + second.in_flight,
        queued=first.queued + second.queued,
        oldest_in_flight_ns=min(oldest, default=None),
        rate=first.rate + second.rate,
        p99_ns=max(p99, default=None),
    )


def _packed(code: str, column: NDArray[np.integer]) -> array[int]:
    packed = array(code)
    packed.frombytes(np.ascontiguousarray(column).view(np.uint8).data)
    return packed
