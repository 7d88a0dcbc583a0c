"""`schema-drift`: the migrations in the repository do not make the schema that production has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.drift import Drift, DriftFacts
from rehearse.model.record import TrialKind
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_MOST = 25  # differences that one finding names


def _check(facts: Facts) -> Iterable[Finding]:
    trial = facts.record.trial(TrialKind.DRIFT)
    found = trial.drift if trial else None
    if found is None:
        return
    touched = [each for each in found.found if each.touched]
    elsewhere = [each for each in found.found if not each.touched]
    if touched:
        tables = sorted({str(each.table) for each in touched})
        yield _finding(found, touched, Severity.FAILURE, tables)
    if elsewhere:
        yield _finding(found, elsewhere, Severity.WARNING, ())


def _finding(facts: DriftFacts, found: Sequence[Drift], severity: Severity, tables: Sequence[str]) -> Finding:
    what = wording.listed([sentence(each) for each in found], 3)
    where = f" of {wording.listed(tables)}, which the migration locks," if tables else ""
    lines = [line for each in found[:_MOST] for line in _definitions(each)]
    if len(found) > _MOST:
        lines.append(f"and {wording.count(len(found) - _MOST, 'more difference')}")
    against = facts.schema or "the dataset's schema"
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=f"production's schema{where} is not what the history makes: {what}",
        subject=f"{found[0].difference.kind} {found[0].difference.name}",
        observed=Quantity(float(len(found)), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=(f"{wording.count(facts.files, 'file')} of the history against {against}", *lines),
        advice=(
            "Write a migration that makes the two alike (what was done by hand in production belongs in the "
            "history, with IF NOT EXISTS where some databases have it already), and rehearse on the schema "
            "that production really has."
        ),
    )


def sentence(drift: Drift) -> str:
    """The difference in a few words."""
    each = drift.difference
    if each.before is None:
        return f"the {each.kind} {each.name} is in production alone"
    if each.after is None:
        return f"the {each.kind} {each.name} is missing in production"
    return f"the {each.kind} {each.name} is another one"


def _definitions(drift: Drift) -> Iterator[str]:
    each = drift.difference
    name = f"{each.kind} {each.name}"
    if each.before is None:
        yield f"{name}, in production alone: {each.after}".rstrip(": ")
    elif each.after is None:
        yield f"{name}, missing in production: {each.before}".rstrip(": ")
    else:
        yield f"{name}: the history makes {each.before}; production has {each.after}"


RULE = Rule(
    id="schema-drift",
    severity=Severity.FAILURE,
    reason=(
        "The migrations in the repository, run from the first to the last, make another schema than "
        "production has: somebody changed something by hand, or a migration was edited or left out. What was "
        "tried on the one is not known to work on the other."
    ),
    safe_way=(
        "Bring the history and production together with a migration of its own before anything is built on "
        "either, and rehearse on a dump of production's schema."
    ),
    check=_check,
)
