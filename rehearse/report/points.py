"""The samples of the traffic as arrays, and what is counted from them: by bucket, by script and phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rehearse.model.record import PhaseSpan
from rehearse.model.workload import NOT_DUE, Outcome, SampleColumns
from rehearse.report import sqlstates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int16]  # a run may be ten million transactions


@dataclass(frozen=True, slots=True)
class Points:
    """Transactions that were the server's to answer (skipped ones are left out), as columns.

    `due` and `ended` are seconds from the migration's start, `latency` seconds from the scheduled start
    (for unfinished ones a lower bound), `outcome` an `Outcome`, `kind` an index into `kinds`, -1 for OK.
    """

    due: Floats
    ended: Floats
    latency: Floats
    script: Shorts
    outcome: Shorts
    kind: Shorts
    scripts: tuple[str, ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.due)


def points(samples: SampleColumns, zero_ns: int) -> Points:
    """`samples` against the migration's start `zero_ns`."""
    outcome = np.asarray(samples.outcome, dtype=np.int16)
    due = ~np.isin(outcome, NOT_DUE)
    keep = slice(None) if due.all() else due  # a slice copies nothing
    scheduled = np.asarray(samples.scheduled_ns, dtype=np.int64)[keep]
    ended = np.asarray(samples.ended_ns, dtype=np.int64)[keep]
    outcome = outcome[keep]
    kind, kinds = _kinds(outcome, np.asarray(samples.sqlstate, dtype=np.int16)[keep], samples.sqlstates)
    return Points(
        due=(scheduled - zero_ns) / 1e9,
        ended=(ended - zero_ns) / 1e9,
        latency=np.maximum((ended - scheduled) / 1e9, 1e-6),
        script=np.asarray(samples.script, dtype=np.int16)[keep],
        outcome=outcome,
        kind=kind,
        scripts=samples.scripts,
        kinds=kinds,
    )


def _kinds(outcome: Shorts, sqlstate: Shorts, names: Sequence[str]) -> tuple[Shorts, tuple[str, ...]]:
    """What went wrong with each transaction, most frequent kind first."""
    texts = {
        (int(Outcome.UNFINISHED), -1): "unfinished",
        (int(Outcome.CONNECTION_LOST), -1): "connection lost",
        (int(Outcome.ERROR), -1): "error",
    }
    texts |= {(int(Outcome.ERROR), i): sqlstates.describe(name) for i, name in enumerate(names)}
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for (what, code), text in texts.items():
        mask = outcome == what
        if what == Outcome.ERROR:
            mask = mask & (sqlstate == code)
        if mask.any():
            masks[text] = masks[text] | mask if text in masks else mask
    ranked = sorted(masks, key=lambda text: -int(masks[text].sum()))
    kind = np.full(len(outcome), -1, dtype=np.int16)
    for place, text in enumerate(ranked):
        kind[masks[text]] = place
    return kind, tuple(ranked)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Counts and latency quantiles over equal stretches of time.

    `edges` has one more element than the rest; `p50` and `p99` are nan where nothing was due. `failed`
    is kinds x buckets, by scheduled time. The last stretch may be cut by the end: `lengths` are seconds.
    """

    edges: Floats
    lengths: Floats
    due: Ints
    finished: Ints
    p50: Floats
    p99: Floats
    failed: Ints


def bucket_length(seconds: float) -> float:
    """100 ms to 250 ms for runs of up to a minute; longer for longer ones, some 240 buckets at most, and
    shorter for a run of a second or two.
    """
    if seconds < 2:
        return next((length for length in (0.001, 0.005, 0.01, 0.02) if seconds / length <= 50), 0.05)
    if seconds <= 12:
        return 0.1
    nice = (0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
    return next((length for length in nice if seconds / length <= 240), 600.0)


def buckets(pts: Points, start: float, end: float, length: float) -> Buckets:
    """`pts` between `start` and `end`, in stretches of `length` seconds laid out from zero both ways."""
    low = np.floor(start / length + 1e-9)
    high = max(np.ceil(end / length - 1e-9), low + 1)
    edges = np.arange(low, high + 1) * length
    size = len(edges) - 1
    place = np.clip(np.floor((pts.due - edges[0]) / length).astype(np.int32), 0, size - 1)
    answered = (pts.outcome == Outcome.OK) & (pts.ended >= edges[0]) & (pts.ended <= edges[-1])
    done = np.clip(np.floor((pts.ended[answered] - edges[0]) / length).astype(np.int64), 0, size - 1)
    failed = np.zeros((len(pts.kinds), size), dtype=np.int64)
    bad = pts.kind >= 0
    np.add.at(failed, (pts.kind[bad], place[bad]), 1)
    p50, p99 = _quantiles(place, pts.latency, size)
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return Buckets(
        edges=np.clip(edges, start, end),
        lengths=np.maximum(inside, length * 0.02),
        due=np.bincount(place, minlength=size),
        finished=np.bincount(done, minlength=size),
        p50=p50,
        p99=p99,
        failed=failed,
    )


def _quantiles(place: npt.NDArray[np.int32], latency: Floats, size: int) -> tuple[Floats, Floats]:
    """Median and 99th percentile of each bucket."""
    p50, p99 = np.full(size, np.nan), np.full(size, np.nan)
    if not (place[1:] >= place[:-1]).all():  # samples mostly come by the time due
        order = np.argsort(place, kind="stable")
        place, latency = place[order], latency[order]
    borders = np.searchsorted(place, np.arange(size + 1, dtype=np.int32))
    for i in range(size):
        part = latency[borders[i] : borders[i + 1]]
        if len(part):
            p50[i], p99[i] = np.quantile(part, (0.5, 0.99), method="inverted_cdf")
    return p50, p99


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One script in one phase (`script` None: all of them). Seconds; None where nothing was due."""

    script: str | None
    phase: str
    count: int
    errors: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    error_kinds: tuple[tuple[str, int], ...] = ()


def latency_table(pts: Points, phases: Sequence[PhaseSpan], zero_ns: int) -> tuple[LatencyRow, ...]:
    """Response times by script and phase, all scripts together first; percentiles by nearest rank.

    Unfinished transactions count with the time they had waited when the run ended.
    """
    scripts: list[int | None] = [None, *range(len(pts.scripts))]
    if len(pts.scripts) == 1:
        scripts = [0]
    return tuple(_latency_row(pts, script, span, zero_ns) for script in scripts for span in phases)


def _latency_row(pts: Points, script: int | None, span: PhaseSpan, zero_ns: int) -> LatencyRow:
    start, end = (span.start_ns - zero_ns) / 1e9, (span.end_ns - zero_ns) / 1e9
    mask = (pts.due >= start) & (pts.due < end)
    if script is not None:
        mask &= pts.script == script
    latency = pts.latency[mask]
    kinds = Counter(pts.kind[mask & (pts.kind >= 0)].tolist())
    values = np.quantile(latency, (0.5, 0.95, 0.99, 1.0), method="inverted_cdf") if len(latency) else None
    p50, p95, p99, longest = (None,) * 4 if values is None else values.tolist()
    return LatencyRow(
        script=pts.scripts[script] if script is not None else None,
        phase=span.phase.value,
        count=len(latency),
        errors=sum(kinds.values()),
        p50=p50,
        p95=p95,
        p99=p99,
        max=longest,
        error_kinds=tuple((pts.kinds[kind], number) for kind, number in kinds.most_common()),
    )
