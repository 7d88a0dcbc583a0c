"""The way back, where it was met by the traffic: its locks are judged as those of the way there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge.facts import Facts, derive
from rehearse.judge.rules.rule import Rule
from rehearse.model.record import RunRecord, TrialKind
from rehearse.model.verdict import Finding


def check_down(record: RunRecord, rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """What `rules` find in the traffic trial of `down`; nothing where there was none.

    Its statements are not those of the migration, so that its findings point to none; they name the place.
    """
    facts = _facts(record)
    if facts is None:
        return ()
    return tuple(
        replace(
            finding, message=f"on the way back, {finding.message}", statement=None, subject=_subject(finding)
        )
        for rule in rules
        for finding in rule.check(facts)
    )


def _facts(record: RunRecord) -> Facts | None:
    trial = record.trial(TrialKind.ROLLBACK)
    if trial is None or trial.migration is None:
        return None
    migration = record.scenario.migration
    scenario = replace(record.scenario, migration=replace(migration, up=migration.down, down=()))
    way_back = replace(trial, kind=TrialKind.TRAFFIC)
    return derive(replace(record, scenario=scenario, trials=(way_back,)), None)


def _subject(finding: Finding) -> str:
    return f"down: {finding.subject}" if finding.subject else "down"
