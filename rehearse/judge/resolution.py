"""The smallest difference that one run could have seen, for the metrics of gates."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from rehearse.judge.growth import DISK_BYTES, LOG_BYTES, TIMES
from rehearse.judge.metrics import PERCENTILES, Measures, nearest_rank, on_the_way_back
from rehearse.judge.noise import Numbers, smallest_difference
from rehearse.judge.stalls import SHORTEST_STALL_NS
from rehearse.judge.traffic import Span, Traffic, span_of
from rehearse.model.gates import MetricRef
from rehearse.model.record import Phase, TrialKind

# A stall must be longer than the baseline's own by this factor to be the migration's.
STALL_OVER_BASELINE = 1.5
# No wait of that length goes unseen while the observer is served.
SHORTEST_WAIT_NS = 100_000_000
_BLOCK_NS = 1_000_000_000
# What one measurement of it may be off by.
_NOISE = {"blocking": TIMES, "duration": TIMES, "wal": LOG_BYTES, "disk": DISK_BYTES}
# What a projection starts from.
_MEASURED = {
    "blocking.projected": "blocking.held",
    "duration.projected": "duration",
    "wal.projected": "wal.bytes",
    "disk.projected": "disk.peak",
}


def resolution_of(ref: MetricRef, measures: Measures) -> float | None:
    """In the metric's base unit; None where the baseline is too short to say, or nothing was measured."""
    if ref.of_down:
        return None if measures.down is None else resolution_of(on_the_way_back(ref), measures.down)
    by_family = {
        "latency": _of_blocks,
        "throughput": _of_blocks,
        "stall": _of_stalls,
        "errors": _of_counts,
        "retries": _of_counts,
        "replica": _of_standby,
    }
    if ref.name in ("blocking.max", "blocking.queued"):
        return _of_waits(measures)
    return by_family.get(ref.name.split(".")[0], _of_work)(ref, measures)


def _of_waits(measures: Measures) -> float | None:
    """What no wait goes unseen of, but for lapses of the observer."""
    observer = measures.trial.observer if measures.trial else None
    if observer is None or not observer.samples:
        return None
    if not observer.lapse_limit_ns:  # not noted: in a record that is older than they are
        return observer.max_gap_ns / 1e9
    return max(SHORTEST_WAIT_NS, *(end - start for start, end in observer.lapses), 0) / 1e9


def _of_work(ref: MetricRef, measures: Measures) -> float | None:
    """What the measurement may be off by; of a projection, what becomes of that at production's size, or the
    part of the scale trial's interval on the longer side.
    """
    value, noise = measures.value(ref), _NOISE[ref.name.split(".")[0]]
    if value is None:
        return None
    bounds = measures.bounds(ref)
    if bounds is not None and bounds.low < bounds.high < math.inf:
        return max(bounds.high - bounds.point, bounds.point - bounds.low)
    measured = measures.value(MetricRef(_MEASURED[ref.name])) if ref.name in _MEASURED else None
    grown = max(1.0, value / measured) if measured else 1.0
    return noise.floor * grown + noise.share * value


def _of_standby(ref: MetricRef, measures: Measures) -> float | None:
    """What may have come and gone between two looks at the standby; of queries cancelled there, one more."""
    trial = measures.record.trial(TrialKind.REPLICA)
    facts = trial.replica if trial else None
    if facts is None or len(facts.samples) < 2:
        return None
    if ref.name == "replica.conflicts":
        return 1.0
    pairs = list(pairwise(facts.samples))
    if ref.name == "replica.lag.bytes":
        return float(max(abs(b.unreplayed_bytes - a.unreplayed_bytes) for a, b in pairs))
    return max(b.at_ns - a.at_ns for a, b in pairs) / 1e9


def _of_stalls(ref: MetricRef, measures: Measures) -> float | None:
    if span_of(measures.trial, Phase.BASELINE) is None or measures.traffic is None:
        return None
    own = measures.baseline_stalls(dict(ref.selector).get("script"))
    longest = max((stall.end_ns - stall.start_ns for stall in own), default=0)
    return max(float(SHORTEST_STALL_NS), STALL_OVER_BASELINE * longest) / 1e9


def _of_counts(ref: MetricRef, measures: Measures) -> float | None:
    """One error or retry more."""
    chosen = dict(ref.selector)
    span = measures.span(chosen.get("phase"))
    if measures.traffic is None or span is None:
        return None
    due = int(_mine(measures.traffic, span, chosen.get("script")).sum())
    if due == 0:
        return None
    return 1.0 if ref.name.endswith(".count") else 1 / due


def _of_blocks(ref: MetricRef, measures: Measures) -> float | None:
    """From how much the seconds of the baseline differ among themselves."""
    traffic, baseline = measures.traffic, span_of(measures.trial, Phase.BASELINE)
    chosen = dict(ref.selector)
    span = measures.span(chosen.get("phase"))
    if traffic is None or baseline is None or span is None:
        return None
    last_ns = max((phase.end_ns for phase in measures.trial.phases), default=0) if measures.trial else 0
    seconds = max(1, round((min(span.end_ns, last_ns) - span.start_ns) / _BLOCK_NS))
    blocks = _blocks(ref.name, traffic, baseline, chosen.get("script"))
    return smallest_difference(blocks, seconds, _statistic(ref.name))


def _blocks(name: str, traffic: Traffic, span: Span, script: str | None) -> list[Numbers]:
    """For each whole second of `span`: the response times in seconds, or how many were due and finished."""
    mine = _mine(traffic, span, script)
    second = (traffic.scheduled[mine] - span.start_ns) // _BLOCK_NS
    latency = (traffic.ended[mine] - traffic.scheduled[mine]) / 1e9
    whole = (span.end_ns - span.start_ns) // _BLOCK_NS
    if name == "throughput":
        finished = traffic.due & ~traffic.failed & (traffic.ended >= span.start_ns)
        finished &= np.ones(len(mine), dtype=np.bool_) if script is None else traffic.of_script(script)
        at = (traffic.ended[finished] - span.start_ns) // _BLOCK_NS
        return [np.array([float((at == number).sum())]) for number in range(whole)]
    return [latency[second == number] for number in range(whole)]


def _statistic(name: str) -> Callable[[Numbers], float]:
    if name in PERCENTILES:
        return lambda values: nearest_rank(values, PERCENTILES[name])
    return lambda values: float(values.mean())


def _mine(traffic: Traffic, span: Span, script: str | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mine = traffic.due & traffic.within(span)
    return mine if script is None else mine & traffic.of_script(script)
