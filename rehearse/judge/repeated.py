"""Gates over several traffic trials: judged by where the mean lies, not by one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rehearse.judge.gates import UPPER, floor_of, holds, number
from rehearse.judge.noise import interval, least_p, mann_whitney, repeats_needed
from rehearse.model.gates import METRIC_KINDS, Comparison, Gate, MetricRef
from rehearse.model.record import Phase, RunRecord
from rehearse.model.repeats import Repeat
from rehearse.model.verdict import GateResult, GateStatus, Quantity

_NOT_COMPARED = ("stall", "blocking", "duration", "wal")

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One trial's value and the limit that held in it."""

    observed: float
    limit: float

    def margin(self, comparison: Comparison) -> float:
        """How far on the wrong side of the limit: below 0 it holds."""
        return self.observed - self.limit if comparison in UPPER else self.limit - self.observed


def judged_by_repeats(record: RunRecord) -> bool:
    """Whether repeats were asked for, and made."""
    return record.scenario.repeat > 1 and len(record.repeats) > 1


def over_repeats(gate: Gate, alone: GateResult, repeats: Sequence[Repeat]) -> GateResult:
    """The gate over all `repeats`; `alone` is what became of it in the trial that was kept.

    It passes where the whole interval is on the right side of the limit, fails where all of it is on the
    wrong one, and is not measured in between.
    """
    told = [dict(repeat.metrics) for repeat in repeats if not repeat.noisy]
    if len(told) < 2:
        quiet = f"{len(told)} of {len(repeats)}"
        return _unmeasured(alone, f"only {quiet} trials were quiet enough to tell; two are needed")
    if any(str(ref) not in values for values in told for ref in _references(gate)):
        return _unmeasured(alone, "the trials kept no value of it: run them again with this gate")
    found = [pair for values in told if (pair := _pair(gate, values)) is not None]
    if not found:
        return replace(alone, status=GateStatus.UNMEASURED)
    if len(found) < len(told):
        return _unmeasured(alone, f"not measured in {len(told) - len(found)} of {len(told)} trials")
    if alone.status is GateStatus.UNMEASURED:
        return alone  # of a kind that no number of trials mends: a closed loop, say
    return _by_interval(gate, found, alone, _compared(gate.metric, told))


def _references(gate: Gate) -> tuple[MetricRef, ...]:
    return (gate.metric,) if gate.relative_to is None else (gate.metric, gate.relative_to)


def _pair(gate: Gate, values: Values) -> _Pair | None:
    observed = values[str(gate.metric)]
    if observed is None or gate.relative_to is None:
        return None if observed is None else _Pair(observed, gate.limit)
    reference = values[str(gate.relative_to)]
    if reference is None:
        return None
    limit, floor = gate.limit * reference, floor_of(gate)
    return _Pair(observed, max(limit, floor) if floor is not None and gate.comparison in UPPER else limit)


def _by_interval(gate: Gate, found: Sequence[_Pair], alone: GateResult, compared: str) -> GateResult:
    unit = METRIC_KINDS[gate.metric.name].unit
    spread = interval([pair.observed for pair in found])
    limit = sum(pair.limit for pair in found) / len(found)
    status, why = _status(gate, found)
    shown = f"over {len(found)} trials {number(max(0.0, spread.low), unit)} to {number(spread.high, unit)}"
    margins = [pair.margin(gate.comparison) for pair in found]
    return replace(
        alone,
        status=status,
        observed=Quantity(sum(pair.observed for pair in found) / len(found), unit),
        limit=Quantity(limit, unit),
        note="; ".join(part for part in (f"{shown} (95 %)", why, compared) if part),
        resolution=Quantity(interval(margins).half_width, unit),
    )


def _status(gate: Gate, found: Sequence[_Pair]) -> tuple[GateStatus, str]:
    if gate.comparison is Comparison.EQUAL:
        kept = sum(holds(gate.comparison, pair.observed, pair.limit) for pair in found)
        if kept in (0, len(found)):
            return (GateStatus.PASSED if kept else GateStatus.FAILED), ""
        return GateStatus.UNMEASURED, f"it held in {kept} of them"
    margins = [pair.margin(gate.comparison) for pair in found]
    strict = gate.comparison in (Comparison.BELOW, Comparison.ABOVE)
    spread = interval(margins)
    if spread.high < 0 or (spread.high == 0 and not strict):
        return GateStatus.PASSED, ""
    if spread.low > 0 or (spread.low == 0 and strict):
        return GateStatus.FAILED, ""
    needed = repeats_needed(margins)
    more = f"some {needed} trials would tell" if needed else "hundreds would not tell"
    return GateStatus.UNMEASURED, f"the limit lies within: {more}"


def _compared(ref: MetricRef, told: Sequence[Values]) -> str:
    """The exact test of the metric against its own in the baseline."""
    selector = dict(ref.selector)
    if ref.name.split(".")[0] in _NOT_COMPARED or selector.get("phase") in (None, Phase.BASELINE.value):
        return ""
    other = replace(ref, selector=tuple({**selector, "phase": Phase.BASELINE.value}.items()))
    after = [value for values in told if (value := values.get(str(ref))) is not None]
    before = [value for values in told if (value := values.get(str(other))) is not None]
    if len(before) < 2 or len(after) < 2:
        return ""
    p, least = mann_whitney(before, after), least_p(len(before), len(after))
    return (
        f"against the baseline: exact Mann-Whitney p = {p:.2g} "
        f"(the least that {len(after)} trials can give is {least:.2g})"
    )


def _unmeasured(alone: GateResult, note: str) -> GateResult:
    return replace(alone, status=GateStatus.UNMEASURED, note=note)
