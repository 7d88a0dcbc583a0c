"""Whether a verdict rests on the machine's mood: such a trial is run again before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rehearse.model.verdict import GateStatus, Judgement, Severity, Unit, Verdict

# What a busy neighbour can bring about by itself. Everything else is structure, and stays what it is.
_TIMING_RULES = frozenset(
    {"stall", "latency", "query-regression", "baseline-noisy", "driver-behind", "sampler-gap"}
)
_TIMING_GATES = ("stall.", "latency.", "throughput")
# A wait or hold of this part of the longest stall explains it.
_EXPLAINS = 0.5
MOST_TRIALS = 3


def rests_on_timing(judgement: Judgement) -> bool:
    """Whether only times speak against a GO, and no lock of the migration explains them."""
    if judgement.verdict is Verdict.GO:
        return False
    grave = (Severity.FAILURE, Severity.UNMEASURED)
    rules = {finding.rule for finding in judgement.findings if finding.severity in grave}
    gates = [gate.metric for gate in judgement.gates if gate.status is not GateStatus.PASSED]
    if rules - _TIMING_RULES or not all(metric.startswith(_TIMING_GATES) for metric in gates):
        return False
    return not _explained(judgement)


def _explained(judgement: Judgement) -> bool:
    """Whether the application was seen waiting for, or kept out by, the migration for much of the stall."""
    metrics = dict(judgement.metrics)
    seconds = {
        name: quantity.value
        for name in ("stall.max", "blocking.max", "blocking.held")
        if (quantity := metrics.get(name)) is not None and quantity.unit is Unit.SECONDS
    }
    behind = max(seconds.get("blocking.max", 0.0), seconds.get("blocking.held", 0.0))
    return behind > 0.1 and behind >= _EXPLAINS * seconds.get("stall.max", 0.0)


def enough(judgements: Sequence[Judgement]) -> bool:
    """Whether no further trial is needed: the last one's verdict does not rest on times alone, or two agree,
    or there have been as many as there may be.
    """
    first, last = judgements[0], judgements[-1]
    if len(judgements) == 1:
        return not rests_on_timing(first)
    if last.verdict is not Verdict.GO and not rests_on_timing(last):
        return True
    counts = Counter(judgement.verdict for judgement in judgements)
    return max(counts.values()) >= 2 or len(judgements) >= MOST_TRIALS


def deciding(judgements: Sequence[Judgement]) -> int:
    """The place of the trial that speaks for all: one that found something besides times; else the last of
    the majority; and where no two agree, the one that is least of a GO.
    """
    last = judgements[-1]
    if last.verdict is not Verdict.GO and not rests_on_timing(last):
        return len(judgements) - 1
    verdict, count = Counter(judgement.verdict for judgement in judgements).most_common(1)[0]
    if count < 2 and len(judgements) > 1:
        verdict = Verdict.NO_GO
    return max(place for place, judgement in enumerate(judgements) if judgement.verdict is verdict)
