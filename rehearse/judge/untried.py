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
# A policy that is added lets through more rows, unless it is restrictive.
_TAKES_RIGHTS = re.compile(
    r"\b(?:REVOKE|OWNER\s+TO|(?:ENABLE|FORCE)\s+ROW\s+LEVEL\s+SECURITY|(?:ALTER|DROP)\s+POLICY"
    r"|CREATE\s+POLICY\b[^;]*\bAS\s+RESTRICTIVE)\b",
    re.IGNORECASE,
)
# Rights of no table in particular: those of all in a schema or of one role, and a role in another.
_OF_SCHEMA = re.compile(
    r"\bREVOKE\s+(?!(?:GRANT\s+OPTION\s+FOR\s+)?CREATE\s+ON\b)[^;]*?\bON\s+"
    r"(?:ALL\s+(?:TABLES|SEQUENCES)\s+IN\s+)?SCHEMA\s+(?P<schemas>.*?)\s+FROM\b",
    re.IGNORECASE,
)
_OF_ALL = re.compile(
    r"\b(?:DROP\s+OWNED|REASSIGN\s+OWNED|REVOKE\s+(?:(?!\bON\b)[^;])*?\bFROM)\b", re.IGNORECASE
)
_DEFAULTS = re.compile(r"\bALTER\s+DEFAULT\s+PRIVILEGES\b[^;]*", re.IGNORECASE)  # of what is made later
_TAKES_ROLE = re.compile(
    r"^\s*SET\s+(?:(?:LOCAL|SESSION)\s+)?(?:ROLE|SESSION\s+AUTHORIZATION)\b", re.IGNORECASE
)


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


def permissions_gone(facts: Facts, rule: str) -> Iterable[Finding]:
    """Rights that are taken away do not concern the traffic, which runs as the owner of everything, but
    where a script takes a role of its own.
    """
    tried = {s.name for s in facts.record.scripts if any(_TAKES_ROLE.search(text) for text in s.statements)}
    locked = {relation for footprint in facts.record.footprints for relation, _ in footprint.locks}
    hot = [table for table in sorted(locked) if not tried.issuperset(facts.heat.touched_by(table))]
    for statement in facts.statements:
        tables = [str(table) for table in hot if _takes_rights(statement, table)]
        if tables and facts.committed(statement):
            yield Finding(
                rule=rule,
                severity=Severity.UNMEASURED,
                message=(
                    f"{wording.place(statement)} may take rights on {wording.listed(tables)} away, and the "
                    "traffic runs as a superuser, whom it does not concern: the application's role was "
                    "not tried"
                ),
                statement=statement.index,
                subject=tables[0],
                advice=(
                    "Have the application's role made and granted its rights in the schema file, and begin "
                    "each script with SET ROLE, so that the traffic has no more rights than the application."
                ),
            )


def _takes_rights(statement: Statement, table: Relation) -> bool:
    text = _DEFAULTS.sub("", one_line(statement.text))
    if _OF_ALL.search(text):
        return True
    if any(_named(match["schemas"], table.schema) for match in _OF_SCHEMA.finditer(text)):
        return True
    serial = rf"(?<![\w$]){re.escape(table.name)}_\w+_seq(?![\w$])"
    named = _named(text, table.name) or re.search(serial, text, re.IGNORECASE)
    return bool(named and _TAKES_RIGHTS.search(text))


def _named(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None
