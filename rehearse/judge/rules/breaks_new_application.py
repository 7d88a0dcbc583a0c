"""`breaks-new-application`: the version that is deployed after the migration does not work with it."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.compatibility import Clash, clashes, texts, vanished
from rehearse.judge.facts import Facts
from rehearse.judge.refusals import Refusal
from rehearse.judge.rules.breaks_running_application import failing_text, is_breach, meaning_of
from rehearse.judge.rules.rule import Rule
from rehearse.judge.traffic import Traffic
from rehearse.model.compatibility import SchemaVersion
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import Version

_FEWEST = 20
_MAKE_FIT = (
    "Make the new version and the migration fit together before either is deployed: what it writes has to "
    "satisfy the constraints as they are after the migration."
)


def _check(facts: Facts) -> Iterable[Finding]:
    new = facts.new_scripts
    for refusal in facts.refusals:
        if refusal.script in new and is_breach(refusal):
            yield _finding(facts, refusal)
    if facts.traffic is not None and facts.run is not None and facts.run.failed is None:
        yield from _untried(facts.traffic, sorted(new))
    for clash in clashes(facts, Version.NEW, SchemaVersion.NEW):
        lost = clash.vanishes
        yield vanished(facts, clash, RULE.id, "the new") if lost else _quiet(facts, clash)
    yield from _too_early(facts)


def _quiet(facts: Facts, clash: Clash) -> Finding:
    """What the migrated schema refuses when nobody else is there."""
    meaning = meaning_of(clash.sqlstate) or clash.refused[0].message
    return Finding(
        rule=RULE.id,
        severity=Severity.FAILURE,
        message=f"the migrated schema refuses the new application's {clash.script} with {clash.sqlstate}: "
        + meaning,
        subject=clash.script,
        observed=Quantity(float(len(clash.refused)), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=tuple(
            f"what fails: {wording.excerpt(text)}" for text in texts(facts, clash.script, clash.refused)
        ),
        advice=_MAKE_FIT,
    )


def _too_early(facts: Facts) -> Iterable[Finding]:
    """What the new application cannot do before the migration: no fault, but an order to be kept."""
    for clash in clashes(facts, Version.NEW, SchemaVersion.OLD):
        meaning = meaning_of(clash.sqlstate) or clash.refused[0].message
        yield Finding(
            rule=RULE.id,
            severity=Severity.NOTE,
            message=(
                f"the new application's {clash.script} does not work before the migration ({clash.sqlstate}: "
                f"{meaning}): migrate first, then deploy"
            ),
            subject=clash.script,
            evidence=tuple(
                f"what fails: {wording.excerpt(text)}" for text in texts(facts, clash.script, clash.refused)
            ),
            advice="Going back to the old schema, the new application has to be gone first.",
        )


def _finding(facts: Facts, refusal: Refusal) -> Finding:
    count = wording.count(refusal.count, "transaction")
    meaning = meaning_of(refusal.kind)
    text = failing_text(facts, refusal)
    return Finding(
        rule=RULE.id,
        severity=Severity.FAILURE,
        message=f"{count} of the new application's {refusal.script} failed with {refusal.kind}"
        + (f": {meaning}" if meaning else ""),
        subject=refusal.script,
        observed=Quantity(float(refusal.count), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=(
            *((f"what fails: {wording.excerpt(text)}",) if text else ()),
            f"{refusal.count:,} of {wording.count(refusal.due, 'transaction')} that were due",
        ),
        advice=_MAKE_FIT,
    )


def _untried(traffic: Traffic, scripts: Iterable[str]) -> Iterable[Finding]:
    """New scripts that were hardly sent: their share was small, or the recovery short."""
    for script in scripts:
        sent = int((traffic.due & traffic.of_script(script)).sum())
        if sent < _FEWEST:
            yield Finding(
                rule=RULE.id,
                severity=Severity.UNMEASURED,
                message=f"only {wording.count(sent, 'transaction')} of the new application's {script} were "
                "due: whether it works is not known",
                subject=script,
                observed=Quantity(float(sent), Unit.COUNT),
                limit=Quantity(float(_FEWEST), Unit.COUNT),
                advice="Raise [workload.after] share or [workload] recovery, or the weight of the script.",
            )


RULE = Rule(
    id="breaks-new-application",
    severity=Severity.FAILURE,
    reason=(
        "The version that is deployed once the migration is through met a database that refuses what it "
        "does: a constraint, a type, a trigger. It would have failed in production right after the "
        "deployment, when the old version is about to go."
    ),
    safe_way=(
        "Rehearse the migration with both versions, and change whichever is wrong. While the old version "
        "still runs, what the new one needs is added beside what the old one uses."
    ),
    check=_check,
)
