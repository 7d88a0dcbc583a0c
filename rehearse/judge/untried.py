"""What the traffic cannot have tried: rows that it would not write, connections made before it began."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import integrity_of, says
from rehearse.judge.sqltext import one_line
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name
from rehearse.model.trials import Loosened, Loosening
from rehearse.model.verdict import Finding, Severity

_NEEDLESS = ("log_", "auto_explain.", "track_", "pg_stat_statements.", "application_name", "debug_")
_SETS = re.compile(
    r"\bALTER\s+(?P<what>DATABASE|ROLE|USER|SYSTEM)\b[^;]*?"
    r"\b(?<!CHARACTER )SET\s+(?P<name>\"?[A-Za-z_][\w.]*\"?)",
    re.IGNORECASE,
)
_MOVES = ("tablespace",)  # ALTER DATABASE ... SET TABLESPACE is no setting


def given_up(facts: Facts, *kinds: Loosening) -> Iterator[Loosened]:
    """What the integrity trial found that the database no longer sees to."""
    found = integrity_of(facts)
    return (each for each in (found.loosened if found else ()) if each.kind in kinds)


def loosening(facts: Facts, each: Loosened) -> Statement | None:
    """The statement that most likely did it: one that names it, failing that, one that names its table."""
    names = [each.name] + ([each.table.name] if each.table else [])
    for name in names:
        for statement in facts.statements:
            if facts.committed(statement) and says(statement, name):
                return statement
    return None


def defaults_gone(facts: Facts, rule: str) -> Iterable[Finding]:
    """Defaults of columns that have to have a value: what the application leaves out fails from then on."""
    for each in given_up(facts, Loosening.DEFAULT_DROPPED):
        if each.table is None or _writes(facts, each.table):
            continue
        statement = loosening(facts, each)
        column = f"{each.table}.{quote_name(each.name)}"
        where = f"{wording.place(statement)} drops" if statement else "the migration drops"
        yield Finding(
            rule=rule,
            severity=Severity.WARNING,
            message=(
                f"{where} the default of {column}, which is NOT NULL: that every INSERT of the running "
                "application gives it a value was taken for granted"
            ),
            statement=None if statement is None else statement.index,
            subject=column,
            advice=(
                f"Look for statements of the application that write rows of {each.table} without "
                f"{quote_name(each.name)}, and give them as [workload] scripts; or drop the default when no "
                "old version runs any more."
            ),
        )


def _writes(facts: Facts, table: Relation) -> bool:
    """Whether a script that was given, rather than inferred, writes rows of the table: then it was tried."""
    inserts = re.compile(
        rf"\bINSERT\s+INTO\s+(?:[\w\"]+\s*\.\s*)?\"?{re.escape(table.name)}(?![\w$])", re.IGNORECASE
    )
    return any(
        inserts.search(text)
        for script in facts.record.scripts
        if not script.inferred and script.name not in facts.new_scripts
        for text in script.statements
    )


def later_connections(facts: Facts, rule: str) -> Iterable[Finding]:
    """Settings of the database, a role or the server: connections made before do not have them."""
    told: set[str] = set()
    for statement in facts.statements:
        for match in _SETS.finditer(one_line(statement.text)) if facts.committed(statement) else ():
            name = match["name"].strip('"').lower()
            if name not in told and name not in _MOVES:
                told.add(name)
                yield _setting(rule, name, match["what"].upper(), statement)
    for each in given_up(facts, Loosening.SETTING):
        if each.name.lower() not in told:
            yield _setting(rule, each.name, "DATABASE", loosening(facts, each))


def _setting(rule: str, name: str, what: str, statement: Statement | None) -> Finding:
    of = {"DATABASE": "the database", "SYSTEM": "the server"}.get(what, "a role")
    where = f"{wording.place(statement)} sets" if statement else "the migration sets"
    return Finding(
        rule=rule,
        severity=Severity.WARNING if name.startswith(_NEEDLESS) else Severity.UNMEASURED,
        message=(
            f"{where} {name} for {of}: that concerns connections made from then on, and those of the traffic "
            "were made before, so that the application was not tried with it"
        ),
        statement=None if statement is None else statement.index,
        subject=name,
        advice=(
            f"Take {name} out of the migration, and rehearse with it in force from the start, by "
            "[database] settings."
        ),
    )
