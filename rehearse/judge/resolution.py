"""The smallest difference that one run could have seen, for the gates on what was timed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rehearse.judge.metrics import PERCENTILES, Measures, nearest_rank
from rehearse.judge.noise import Numbers, smallest_difference
from rehearse.judge.stalls import SHORTEST_STALL_NS
from rehearse.judge.traffic import Span, Traffic, span_of
from rehearse.model.gates import MetricRef
from rehearse.model.record import Phase

# A stall must be longer than the baseline's own by this factor to be the migration's.
STALL_OVER_BASELINE = 1.5
_BLOCK_NS = 1_000_000_000


def resolution_of(ref: MetricRef, measures: Measures) -> float | None:
    """In the metric's base unit; None where it is no timing, or the baseline is too short to say."""
    family = ref.name.split(".")[0]
    if family in ("latency", "throughput"):
        return _of_blocks(ref, measures)
    if ref.name == "stall.max":
        return _of_stalls(ref, measures)
    if family == "errors":
        return _of_errors(ref, measures)
    if ref.name in ("blocking.max", "blocking.queued"):
        observer = measures.trial.observer if measures.trial else None
        return observer.max_gap_ns / 1e9 if observer and observer.samples else None
    return None


def _of_stalls(ref: MetricRef, measures: Measures) -> float | None:
    if span_of(measures.trial, Phase.BASELINE) is None or measures.traffic is None:
        return None
    own = measures.baseline_stalls(dict(ref.selector).get("script"))
    longest = max((stall.end_ns - stall.start_ns for stall in own), default=0)
    return max(float(SHORTEST_STALL_NS), STALL_OVER_BASELINE * longest) / 1e9


def _of_errors(ref: MetricRef, measures: Measures) -> float | None:
    """One error more."""
    chosen = dict(ref.selector)
    span = measures.span(chosen.get("phase"))
    if measures.traffic is None or span is None:
        return None
    due = int(_mine(measures.traffic, span, chosen.get("script")).sum())
    if due == 0:
        return None
    return 1.0 if ref.name == "errors.count" else 1 / due


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
