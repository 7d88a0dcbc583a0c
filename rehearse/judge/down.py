"""The way back, where it was met by the traffic: its locks are judged as those of the way there are, and the
gates that ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge.facts import Facts, derive
from rehearse.judge.gates import evaluate
from rehearse.judge.metrics import Measures, on_the_way_back
from rehearse.judge.rules.rule import Rule
from rehearse.model.gates import METRIC_KINDS, Gate
from rehearse.model.record import RunRecord, TrialKind
from rehearse.model.verdict import Finding, GateResult, GateStatus, Quantity
from rehearse.model.workload import SampleColumns

_NOT_MET = (
    "the way back was not met by the traffic: name a `down`, and set rollback_traffic = true in [trials]"
)


def way_back(record: RunRecord, samples: SampleColumns | None) -> Facts | None:
    """The facts of `down` under traffic, with the gates that ask for it; None where it was not made.

    `samples` are those of that trial. Raises RecordError where they cannot be read.
    """
    trial = record.trial(TrialKind.ROLLBACK)
    if trial is None or trial.migration is None:
        return None
    migration = record.scenario.migration
    scenario = replace(record.scenario, migration=replace(migration, up=migration.down, down=()))
    back = replace(trial, kind=TrialKind.TRAFFIC)
    facts = derive(replace(record, scenario=scenario, trials=(back,), repeats=()), samples)
    return replace(facts, gates=tuple(_evaluated(gate, facts.measures) for gate in _asked(record)))


def unmet(record: RunRecord) -> tuple[GateResult, ...]:
    """The gates on the way back, where there was none."""
    return tuple(
        GateResult(
            gate=gate.text,
            metric=str(gate.metric),
            status=GateStatus.UNMEASURED,
            observed=None,
            limit=Quantity(gate.limit, METRIC_KINDS[gate.metric.name].unit)
            if gate.relative_to is None
            else None,
            note=_NOT_MET,
        )
        for gate in _asked(record)
    )


def without_way_back(record: RunRecord) -> RunRecord:
    """The record without the gates on the way back, for a traffic trial judged before that was tried."""
    gates = tuple(gate for gate in record.scenario.gates if not gate.metric.of_down)
    return replace(record, scenario=replace(record.scenario, gates=gates))


def check_down(facts: Facts, rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """What `rules` find on the way back.

    Its statements are not those of the migration, so that its findings point to none; they name the place.
    """
    return tuple(
        replace(
            finding, message=f"on the way back, {finding.message}", statement=None, subject=_subject(finding)
        )
        for rule in rules
        for finding in rule.check(facts)
    )


def _asked(record: RunRecord) -> list[Gate]:
    return [gate for gate in record.scenario.gates if gate.metric.of_down]


def _evaluated(gate: Gate, measures: Measures) -> GateResult:
    """Both sides are those of the trial of `down`: its own baseline, too."""
    other = gate.relative_to
    there = replace(
        gate,
        metric=on_the_way_back(gate.metric),
        relative_to=None if other is None else on_the_way_back(other),
    )
    return replace(evaluate(there, measures), metric=str(gate.metric))


def _subject(finding: Finding) -> str:
    return f"down: {finding.subject}" if finding.subject else "down"
