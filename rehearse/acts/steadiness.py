"""Whether a verdict rests on the machine's mood: such a trial is run again before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rehearse.model.verdict import GateStatus, Judgement, Severity, Unit, Verdict

# What a busy neighbour can bring about by itself. Everything else is structure, and stays what it is.
TIMING_RULES = frozenset(
    {"stall", "latency", "query-regression", "baseline-noisy", "driver-behind", "sampler-gap"}
)
_TIMING_GATES = ("stall.", "latency.", "throughput")
# A wait or hold of this part of the longest stall explains it.
_EXPLAINS = 0.5
MOST_TRIALS = 3


def rests_on_timing(judgement: Judgement) -> bool:
    """Whether only times speak against a GO, or make it hard to tell, and no lock of the migration explains
    what failed.
    """
    if judgement.verdict is Verdict.GO:
        return False
    grave = (Severity.FAILURE, Severity.UNMEASURED)
    rules = {f.rule for f in judgement.findings if f.severity in grave and not f.disturbed}
    gates = [g for g in judgement.gates if g.status is not GateStatus.PASSED and g.accepted is None]
    if rules - TIMING_RULES or not all(g.disturbed or g.metric.startswith(_TIMING_GATES) for g in gates):
        return False
    # a lock explains why it failed, not why nothing could be told
    return judgement.verdict is Verdict.INCONCLUSIVE or not _explained(judgement)


def _explained(judgement: Judgement) -> bool:
    """Whether the application was seen waiting for, or kept out by, the migration for much of the stall: not
    where stall and lock alike were found to be the machine's standing still.
    """
    failed = [gate.metric for gate in judgement.gates if gate.status is GateStatus.FAILED]
    stood_still = any(gate.disturbed for gate in judgement.gates)
    if stood_still and not any(metric.startswith(("stall.", "blocking.")) for metric in failed):
        return False
    metrics = dict(judgement.metrics)
    seconds = {
        name: quantity.value
        for name in ("stall.max", "blocking.max", "blocking.held")
        if (quantity := metrics.get(name)) is not None and quantity.unit is Unit.SECONDS
    }
    behind = max(seconds.get("blocking.max", 0.0), seconds.get("blocking.held", 0.0))
    return behind > 0.1 and behind >= _EXPLAINS * seconds.get("stall.max", 0.0)


def enough(judgements: Sequence[Judgement]) -> bool:
    """Whether no further trial is needed.

    A trial that was too noisy to tell has no vote. One GO is enough where nothing spoke against it; where
    times did, two of a kind are, or as many trials as there may be.
    """
    if len(judgements) >= MOST_TRIALS or _speaks_for_itself(judgements[-1]):
        return True
    votes = _votes(judgements)
    if not votes[Verdict.NO_GO]:
        return votes[Verdict.GO] > 0
    return max(votes.values()) >= 2


def deciding(judgements: Sequence[Judgement]) -> int:
    """The place of the trial that speaks for all: one that found something besides times; else the last of
    those in the majority, a tie being a NO_GO; else the last.
    """
    if _speaks_for_itself(judgements[-1]):
        return len(judgements) - 1
    votes = _votes(judgements)
    verdict = Verdict.NO_GO if votes[Verdict.NO_GO] >= votes[Verdict.GO] else Verdict.GO
    places = [place for place, judgement in enumerate(judgements) if judgement.verdict is verdict]
    return places[-1] if places else len(judgements) - 1


def _speaks_for_itself(judgement: Judgement) -> bool:
    """Not a GO, and for something else than times."""
    return judgement.verdict is not Verdict.GO and not rests_on_timing(judgement)


def _votes(judgements: Sequence[Judgement]) -> Counter[Verdict]:
    return Counter(j.verdict for j in judgements if j.verdict is not Verdict.INCONCLUSIVE)
