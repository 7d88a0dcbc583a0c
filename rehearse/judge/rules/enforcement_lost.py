"""`enforcement-lost`: what the database saw to, and no longer does."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.judge.untried import given_up, loosening
from rehearse.model.relation import quote_name
from rehearse.model.trials import Loosened, Loosening
from rehearse.model.verdict import Finding, Severity

_KINDS = (Loosening.KEY_OFF, Loosening.TRIGGER_OFF, Loosening.KEY_DROPPED)


def _check(facts: Facts) -> Iterable[Finding]:
    return (_finding(facts, each) for each in given_up(facts, *_KINDS))


def _finding(facts: Facts, each: Loosened) -> Finding:
    name, table = quote_name(each.name), str(each.table)
    statement = loosening(facts, each)
    where = wording.place(statement) if statement else "the migration"
    did, then, mend = {
        Loosening.KEY_OFF: (
            f"leaves the foreign key {name} unenforced on {table}",
            "rows that refer to nothing are written without an error, and the catalog may call it valid yet",
            "Drop the constraint, add it NOT VALID, and VALIDATE it: to enable it again looks at no row.",
        ),
        Loosening.TRIGGER_OFF: (
            f"leaves the trigger {name} of {table} disabled",
            "what it did for each row is not done from then on",
            f"ALTER TABLE {table} ENABLE TRIGGER {name};  -- in the same transaction",
        ),
        Loosening.KEY_DROPPED: (
            f"drops the foreign key {name} of {table}",
            "the application alone sees to it from then on that rows refer to something",
            "Nothing, if that is meant.",
        ),
    }[each.kind]
    return Finding(
        rule=RULE.id,
        severity=Severity.NOTE if each.kind is Loosening.KEY_DROPPED else RULE.severity,
        message=f"{where} {did}: {then}",
        statement=None if statement is None else statement.index,
        subject=f"{table}.{name}",
        advice=mend,
    )


RULE = Rule(
    id="enforcement-lost",
    severity=Severity.WARNING,
    reason=(
        "A foreign key or trigger that is switched off and not on again lets through what it was there to "
        "stop. Nothing fails, and the data are wrong from then on. A foreign key is enforced by triggers: "
        "DISABLE TRIGGER ALL switches it off, and the catalog calls it valid all the same."
    ),
    safe_way=(
        "Leave them on, and change rows in batches that satisfy them; where they have to be off, switch them "
        "on again in the same transaction, and validate the constraint anew."
    ),
    check=_check,
)
