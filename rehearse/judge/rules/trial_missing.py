"""`trial-missing`: a trial that was wanted could not be made."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.record import Trial
from rehearse.model.trials import TrialKind
from rehearse.model.verdict import Finding, Severity

_ADVICE = {
    TrialKind.INTERRUPTION: (
        "Rehearse on a server that the run starts itself: --provision embedded, docker:IMAGE, local:BINDIR."
    ),
}


def _check(facts: Facts) -> Iterable[Finding]:
    for trial in facts.record.trials:
        if trial.unmeasured is not None and not _failed_alike(facts, trial):
            yield Finding(
                rule=RULE.id,
                severity=RULE.severity,
                message=f"the {trial.kind.value} trial could not be made: {trial.unmeasured}",
                subject=trial.kind.value,
                advice=_ADVICE.get(
                    trial.kind, "Mend what it says, or name the trials that are wanted: [trials] run."
                ),
            )
        for missing in trial.interruption.missing if trial.interruption else ():
            yield Finding(
                rule=RULE.id,
                severity=RULE.severity,
                message=f"a part of the {trial.kind.value} trial could not be made: {missing}",
                subject=trial.kind.value,
                advice=_ADVICE.get(trial.kind, ""),
            )


def _failed_alike(facts: Facts, trial: Trial) -> bool:
    """Whether the migration failed under traffic, too, which has been said."""
    failed = facts.run.failed if facts.run else None
    return failed is not None and trial.migration is not None and trial.migration.failed is not None


RULE = Rule(
    id="trial-missing",
    severity=Severity.UNMEASURED,
    reason=(
        "A trial that the scenario asks for could not be made, or not to its end. What it would have shown "
        "is not known, and what is not known is not passed."
    ),
    safe_way="Mend what stood in its way, or leave the trial out of [trials] run: then it is not wanted.",
    check=_check,
)
