"""Gates: what was measured against the user's limits, with a guard against calling noise a difference."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.judge import wording
from rehearse.judge.metrics import Measures
from rehearse.judge.replica import why_missing as why_replica_missing
from rehearse.judge.resolution import STALL_OVER_BASELINE, resolution_of
from rehearse.judge.standstill import explained_by_locks, stood_still_s, without_standstills
from rehearse.judge.traffic import Span, span_of
from rehearse.model.gates import METRIC_KINDS, Comparison, Gate, MetricRef
from rehearse.model.record import Phase, TrialKind
from rehearse.model.verdict import GateResult, GateStatus, Quantity, Unit
from rehearse.model.waits import Role, Stall

# A ratio of response times never fails below this: 2 ms becoming 7 ms troubles nobody.
LATENCY_FLOOR_S = 0.2
# Gates that break the migration off are looked at once in so long.
_ABORT_LOOKS_S = 0.025
# Shorter gaps between the observer's samples say nothing.
SHORTEST_GAP_NS = 1_000_000_000
CLOSED_LOOP_NOTE = (
    "measured in a closed loop, which sends nothing while it waits: the time that others would have waited "
    "is missing"
)
NO_SCALE = "the scale trial, which measures it, was not made: name it in [trials] run, or --trials scale"
_TOO_FEW = "too little was measured to say how small a difference this run could have seen"
UPPER = (Comparison.AT_MOST, Comparison.BELOW)
_TIMED = ("stall.", "latency.", "throughput", "blocking.")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A status with the sentence that explains it."""

    status: GateStatus
    note: str = ""
    disturbed: bool = False


def evaluate(gate: Gate, measures: Measures) -> GateResult:
    """What became of `gate`. Not measured is never passed."""
    unit = METRIC_KINDS[gate.metric.name].unit
    observed = measures.value(gate.metric)
    limit, note = _limit(gate, measures)
    if observed is None or limit is None:
        reading = _Reading(
            GateStatus.UNMEASURED, _why_missing(gate.metric, measures) if observed is None else note
        )
    elif _is_flattered(gate, measures) and holds(gate.comparison, observed, limit):
        reading = _Reading(GateStatus.UNMEASURED, CLOSED_LOOP_NOTE)
    elif holds(gate.comparison, observed, limit):
        reading = _doubted(gate, measures, limit) or _Reading(
            GateStatus.PASSED, note or _counted_apart(gate, measures)
        )
    else:
        reading = _guarded(gate, measures, observed, note)
        if reading.status is GateStatus.FAILED:
            reading = _disturbed(gate, measures, observed) or reading
    seen = None if observed is None else resolution_of(gate.metric, measures)
    unsaid = _TOO_FEW if observed is not None and seen is None else ""
    return GateResult(
        gate=gate.text,
        metric=str(gate.metric),
        status=reading.status,
        observed=None if observed is None else Quantity(observed, unit),
        limit=None if limit is None else Quantity(limit, unit),
        note="; ".join(part for part in (reading.note, unsaid) if part),
        resolution=None if seen is None else Quantity(seen, unit),
        disturbed=reading.disturbed,
    )


def _disturbed(gate: Gate, measures: Measures, observed: float) -> _Reading | None:
    """A gate that would have held, had the machine not stood still: neither missed nor kept. None where it
    would have been missed all the same, or where locks of the migration explain what was seen.
    """
    if not gate.metric.name.startswith(_TIMED):
        return None
    calm = without_standstills(measures, counting=gate.metric.name == "throughput")
    if calm is None:
        return None
    left, (limit, _) = calm.value(gate.metric), _limit(gate, calm)
    if left is None or limit is None or not holds(gate.comparison, left, limit):
        return None
    unit = METRIC_KINDS[gate.metric.name].unit
    if explained_by_locks(calm, measures, observed if unit is Unit.SECONDS else None):
        return None
    return _Reading(
        GateStatus.UNMEASURED,
        f"missed only because this machine stood still, for {wording.seconds(stood_still_s(measures))} at a "
        f"time: without that it would be {number(left, unit)}",
        disturbed=True,
    )


def _doubted(gate: Gate, measures: Measures, limit: float) -> _Reading | None:
    """A projection that holds at its middle, and not at the end of its interval, is not known to hold."""
    bounds = measures.bounds(gate.metric)
    if bounds is None or all(holds(gate.comparison, end, limit) for end in (bounds.low, bounds.high)):
        return None
    unit = METRIC_KINDS[gate.metric.name].unit
    low, high = number(bounds.low, unit), number(bounds.high, unit)
    if gate.metric.name == "blocking.projected" and any(hold.possible for hold in measures.holds):
        source, mend = "", "what commits as it goes may have worked on whole tables under its lock"
    else:
        source, mend = "by the scale trial ", "more rows would say more exactly"
    return _Reading(GateStatus.UNMEASURED, f"{source}it may be anything from {low} to {high}: {mend}")


def evaluate_abort(gate: Gate, measures: Measures) -> GateResult:
    """What became of a gate that breaks the migration off: missed where it did, or should have."""
    aborted = measures.trial.aborted if measures.trial else None
    unit = METRIC_KINDS[gate.metric.name].unit
    observed, status, note = measures.value(gate.metric), GateStatus.PASSED, "it never came to that"
    if aborted is not None and aborted.gate == gate.text:
        observed, status, note = aborted.value, GateStatus.FAILED, "the migration was broken off"
    elif measures.run is None or observed is None:
        status, note = GateStatus.UNMEASURED, _why_missing(gate.metric, measures)
    elif holds(gate.comparison, observed, gate.limit):
        status, note = GateStatus.FAILED, "it was over before the migration could be broken off"
    timed = unit is Unit.SECONDS
    seen = None if observed is None else _ABORT_LOOKS_S if timed else resolution_of(gate.metric, measures)
    return GateResult(
        gate=f"abort if {gate.text}",
        metric=str(gate.metric),
        status=status,
        observed=None if observed is None else Quantity(observed, unit),
        limit=Quantity(gate.limit, unit),
        note=note,
        resolution=None if seen is None else Quantity(seen, unit),
    )


def _is_flattered(gate: Gate, measures: Measures) -> bool:
    """Whether its times are those of a closed loop, in which what a stall would have met is never sent."""
    return measures.record.scenario.workload.closed_loop and gate.metric.name.startswith("latency.")


def holds(comparison: Comparison, observed: float, limit: float) -> bool:
    """Whether `observed comparison limit` is true."""
    if comparison is Comparison.AT_MOST:
        return observed <= limit
    if comparison is Comparison.BELOW:
        return observed < limit
    if comparison is Comparison.AT_LEAST:
        return observed >= limit
    if comparison is Comparison.ABOVE:
        return observed > limit
    return abs(observed - limit) <= 1e-9


def holds_against_quieter_half(gate: Gate, measures: Measures) -> bool:
    """Whether a gate relative to the baseline holds whichever half of the baseline is believed."""
    span = span_of(measures.trial, Phase.BASELINE)
    observed = measures.value(gate.metric)
    if span is None or observed is None or gate.relative_to is None or gate.comparison not in UPPER:
        return False
    script = dict(gate.relative_to.selector).get("script")
    halves = [measures.over(gate.relative_to.name, half, script) for half in span.halves()]
    known = [value for value in halves if value is not None]
    if len(known) < len(halves):
        return False
    return holds(gate.comparison, observed, max(gate.limit * min(known), floor_of(gate) or 0.0))


def floor_of(gate: Gate) -> float | None:
    """The limit below which a relative gate never fails, in the metric's unit."""
    if gate.floor is None and gate.metric.name.startswith("latency."):
        return LATENCY_FLOOR_S
    return gate.floor


def _limit(gate: Gate, measures: Measures) -> tuple[float | None, str]:
    """The limit in the metric's unit, and how it came about where that is not plain."""
    if gate.relative_to is None:
        return gate.limit, ""
    reference = measures.value(gate.relative_to)
    if reference is None:
        return None, _why_missing(gate.relative_to, measures)
    limit = gate.limit * reference
    floor = floor_of(gate)
    if floor is None or gate.comparison not in UPPER or limit >= floor:
        return limit, ""
    written = number(limit, METRIC_KINDS[gate.metric.name].unit)
    floor_written = number(floor, METRIC_KINDS[gate.metric.name].unit)
    return floor, f"{gate.limit:g} x {gate.relative_to} is {written}; the floor of {floor_written} applies"


def _guarded(gate: Gate, measures: Measures, observed: float, note: str) -> _Reading:
    """A gate that was missed: noise, if the baseline differs from itself as much."""
    if gate.metric.name.startswith("stall."):
        return _stall_guard(gate, measures, observed)
    if gate.relative_to is not None:
        noise = _noise(gate.relative_to, measures)
        reference = measures.value(gate.relative_to)
        if noise is not None and reference is not None and abs(observed - reference) <= noise:
            unit = METRIC_KINDS[gate.metric.name].unit
            return _Reading(
                GateStatus.PASSED,
                f"not called a difference: the halves of the baseline differ by {number(noise, unit)}",
            )
    return _Reading(GateStatus.FAILED, note)


def _noise(ref: MetricRef, measures: Measures) -> float | None:
    """How much the metric differs between the two halves of the baseline."""
    span = span_of(measures.trial, Phase.BASELINE)
    if span is None or not ref.name.startswith(("latency.", "errors.", "throughput")):
        return None
    script = dict(ref.selector).get("script")
    first, second = (measures.over(ref.name, half, script) for half in span.halves())
    return None if first is None or second is None else abs(first - second)


def _stall_guard(gate: Gate, measures: Measures, observed: float) -> _Reading:
    """Stalls that the baseline has as well, or in which the observer stood still too, are not called."""
    if gate.comparison not in UPPER or gate.metric.name != "stall.max":
        return _Reading(GateStatus.FAILED)
    script = dict(gate.metric.selector).get("script")
    own = max((s.end_ns - s.start_ns for s in measures.baseline_stalls(script)), default=0) / 1e9
    if observed <= STALL_OVER_BASELINE * own:
        return _Reading(
            GateStatus.UNMEASURED,
            f"the baseline by itself stalled for {wording.seconds(own)}: too noisy to tell a stall of "
            f"{wording.seconds(observed)} from it",
        )
    over = [
        stall
        for stall in measures.stalls
        if script in (None, stall.script) and not holds(gate.comparison, _length_s(stall), gate.limit)
    ]
    if gate.relative_to is None and over and all(_frozen(stall, measures) for stall in over):
        return _Reading(
            GateStatus.UNMEASURED,
            "the observer stood still at the same time and saw nobody wait for the migration: "
            "the machine may have been busy with something else",
        )
    return _Reading(GateStatus.FAILED)


def _length_s(stall: Stall) -> float:
    return (stall.end_ns - stall.start_ns) / 1e9


def _frozen(stall: Stall, measures: Measures) -> bool:
    """Whether the observer took no sample for most of the stall, and no wait behind the migration or
    lock of it explains the stall.
    """
    trial = measures.trial
    observer = trial.observer if trial else None
    if trial is None or observer is None:
        return False
    span = Span(stall.start_ns, stall.end_ns)
    blind = sum(span.overlap_ns(*gap) for gap in observer.gaps if gap[1] - gap[0] >= SHORTEST_GAP_NS)
    explained = any(span.overlap_ns(hold.start_ns, hold.end_ns) for hold in measures.holds) or any(
        span.overlap_ns(wait.first_seen_ns, wait.last_seen_ns)
        and any(blocker.party.role is Role.MIGRATION for blocker in wait.blockers)
        for wait in trial.waits
    )
    return 2 * blind > stall.end_ns - stall.start_ns and not explained


def _counted_apart(gate: Gate, measures: Measures) -> str:
    apart = [refusal for refusal in measures.refusals if refusal.recovered or refusal.unseen]
    if not apart or not gate.metric.name.startswith("errors."):
        return ""
    how = "" if any(refusal.unseen for refusal in apart) else ", got over at once,"
    many = wording.count(sum(refusal.count for refusal in apart), "cached-plan error")
    return f"{many} (0A000){how} are counted apart"


def _why_missing(ref: MetricRef, measures: Measures) -> str:
    """Why a metric has no value."""
    family = ref.name.split(".")[0]
    of_traffic = family in ("stall", "latency", "errors", "throughput")
    reasons = (
        (family == "replica", why_replica_missing(measures.record.trial(TrialKind.REPLICA))),
        (ref.name == "disk.projected" and measures.disk is None, NO_SCALE),
        (ref.name == "disk.peak", "the size of the database before and after it was not read"),
        (measures.trial is None, "the traffic trial was not run"),
        (of_traffic and measures.traffic is None, "there are no samples of the traffic"),
        (of_traffic, f"no transaction was due for {ref}"),
        (measures.run is None, "the migration was not run"),
        (
            measures.trial is not None and measures.trial.aborted is not None,
            "the migration was broken off, and what it would have come to is not known",
        ),
        (ref.name == "blocking.max", "nobody watched the locks"),
        (
            family == "blocking" and not measures.locks_known,
            "the locks of the migration or the tables of the traffic were not read",
        ),
        (
            ref.name.endswith(".projected"),
            "the work grows with tables whose production rows are not given, or was not measured",
        ),
    )
    return next((reason for applies, reason in reasons if applies), "not measured")


def number(value: float, unit: Unit) -> str:
    """A value with its unit, for a sentence."""
    if unit is Unit.SECONDS:
        return wording.seconds(value)
    if unit is Unit.RATIO:
        return f"{value:.2%}"
    if unit is Unit.BYTES:
        return wording.size(value)
    return f"{value:.4g}" + (" /s" if unit is Unit.PER_SECOND else "")
