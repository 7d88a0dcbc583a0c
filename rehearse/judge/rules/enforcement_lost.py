"""`enforcement-lost`: what the database saw to, and no longer does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import integrity_of
from rehearse.judge.rules.rule import Rule
from rehearse.judge.untried import given_up, loosening
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name
from rehearse.model.trials import Loosened, Loosening, Orphans
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_KINDS = (Loosening.KEY_OFF, Loosening.TRIGGER_OFF, Loosening.KEY_DROPPED)
# triggers of the session fire or not, those that enforce foreign keys among them
_OFF = re.compile(r"\bsession_replication_role[\"']?\s*(?:=|\bTO\b|,)\s*[\"']?replica\b", re.IGNORECASE)
_ON = re.compile(
    r"\bRESET\s+(?:ALL\b|SESSION_REPLICATION_ROLE\b)|\bDISCARD\s+ALL\b"
    r"|\bsession_replication_role[\"']?\s*(?:=|\bTO\b|,)\s*[\"']?(?:origin|local|default)\b",
    re.IGNORECASE,
)
_SWITCHES = re.compile(
    rf"{_OFF.pattern}|\bDISABLE\s+TRIGGER\b|\bNOT\s+ENFORCED\b|\btgenabled\b", re.IGNORECASE
)
_LOCAL = re.compile(r"\bSET\s+LOCAL\b", re.IGNORECASE)


def _check(facts: Facts) -> Iterable[Finding]:
    yield from (_finding(facts, each) for each in given_up(facts, *_KINDS))
    found = integrity_of(facts)
    yield from (_orphaned(facts, each) for each in (found.orphans if found else ()))
    told: set[Relation] = set()
    for statement in _unguarded(facts):
        for table, rows in statement.effects.rows_changed if statement.effects else ():
            if rows and table not in told | facts.created:
                told.add(table)
                yield _unchecked(statement, table, rows)


def _unguarded(facts: Facts) -> Iterator[Statement]:
    """The statements that ran while the session kept triggers from firing."""
    off: Statement | None = None
    for statement in facts.statements:
        if off is not None and _LOCAL.search(off.text) and off.transaction != statement.transaction:
            off = None
        off = statement if _OFF.search(statement.text) else off
        if off is not None and facts.committed(statement):
            yield statement
        if _ON.search(statement.text):
            off = None


def _unchecked(statement: Statement, table: Relation, rows: int) -> Finding:
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=(
            f"{wording.place(statement)} changes {wording.count(rows, 'row')} of {table} while "
            "session_replication_role is replica: no foreign key is checked and no trigger fires, and the "
            "catalog calls the keys valid all the same"
        ),
        statement=statement.index,
        subject=str(table),
        advice=(
            "Leave the role as it is; or look for rows that refer to nothing afterwards: drop foreign keys "
            f"of {table} and those that refer to it, add them NOT VALID, and VALIDATE them."
        ),
    )


def _orphaned(facts: Facts, each: Orphans) -> Finding:
    """Rows that no foreign key looked at, though it is there and said to be valid."""
    off = next((s for s in facts.statements if facts.committed(s) and _SWITCHES.search(s.text)), None)
    key = quote_name(each.key)
    since = f", since {wording.place(off)} switched it off" if off else ""
    if each.rows is None:
        message = (
            f"whether rows of {each.table} refer to nothing by the foreign key {key} could not be counted"
        )
        mend = "Give the role that rehearses the right to read all rows of both tables."
    else:
        among = ", where the traffic met the migration" if each.meanwhile else ""
        many = f"{wording.count(each.rows, 'row')} of {each.table} {'refers' if each.rows == 1 else 'refer'}"
        message = (
            f"{many} to no row of {each.parent} after the migration{among}{since}: the foreign key {key} is "
            "there and called valid, and did not look at them"
        )
        mend = (
            f"Write rows of {each.table} and {each.parent} that belong together while the key is enforced; "
            f"or remove those without a parent, drop {key}, add it NOT VALID, and VALIDATE it: that looks at "
            "every row, and to switch it on again at none."
        )
    return Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED if each.rows is None else Severity.FAILURE,
        message=message,
        statement=None if off is None else off.index,
        subject=f"{each.table}.{key}",
        observed=None if each.rows is None else Quantity(float(each.rows), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        advice=mend,
    )


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
        "DISABLE TRIGGER ALL switches it off, and the catalog calls it valid all the same. Where it was off "
        "for a while only, rows that refer to nothing are counted afterwards, and are a failure."
    ),
    safe_way=(
        "Leave them on, and change rows in batches that satisfy them; where they have to be off, switch them "
        "on again in the same transaction, and validate the constraint anew."
    ),
    check=_check,
)
