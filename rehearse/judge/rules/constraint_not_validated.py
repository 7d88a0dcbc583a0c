"""`constraint-not-validated`: a constraint that new rows keep and old ones may not."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.record import TrialKind
from rehearse.model.relation import quote_name
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    trial = facts.record.trial(TrialKind.INTEGRITY)
    if trial is None or trial.integrity is None:
        return
    for table, name in trial.integrity.remains.unvalidated:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"the constraint {quote_name(name)} of {table} is left NOT VALID: old rows may violate it"
            ),
            subject=f"{table}.{quote_name(name)}",
            advice=(
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote_name(name)};  -- in a migration of its own"
            ),
        )


RULE = Rule(
    id="constraint-not-validated",
    severity=Severity.NOTE,
    reason=(
        "A constraint added NOT VALID binds new rows alone. Until it is validated, old rows may violate it, "
        "and the planner does not rely on it."
    ),
    safe_way=(
        "VALIDATE it in a later transaction, or a migration of its own: that reads the table under a lock "
        "that keeps nobody out."
    ),
    check=_check,
)
