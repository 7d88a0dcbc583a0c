"""The metrics of the replica trial."""

from __future__ import annotations

from rehearse.model.record import Trial
from rehearse.model.replica import ReplicaFacts

NOT_MADE = "the replica trial was not made: name it in [trials] run, or --trials replica"
NOBODY_READ = (
    "nobody read on the standby, so that nobody could be cancelled: the workload needs a script that only "
    "reads, or [trials] standby_reader a time"
)


def of_replica(trial: Trial | None, name: str) -> float | None:
    """The metric in its base unit, None where it was not measured."""
    facts = trial.replica if trial is not None and trial.unmeasured is None else None
    if facts is None:
        return None
    if name == "replica.lag.max":
        return lag_max_s(facts)
    if name == "replica.lag.bytes":
        return float(facts.unreplayed_max_bytes)
    return float(facts.conflict_count) if was_read(facts) else None


def why_missing(trial: Trial | None) -> str:
    """Why a metric of the replica trial has no value."""
    if trial is None:
        return NOT_MADE
    return trial.unmeasured or NOBODY_READ


def lag_max_s(facts: ReplicaFacts) -> float:
    """The longest that the standby was behind; a lower bound where it had not caught up."""
    waited_ns = facts.waited_ns if facts.caught_up_ns is None else 0
    return max(facts.lag_max_ns, waited_ns) / 1e9


def was_read(facts: ReplicaFacts) -> bool:
    """Whether anything on the standby could have been cancelled."""
    return bool(facts.finished or facts.reader_s or facts.cancelled)
