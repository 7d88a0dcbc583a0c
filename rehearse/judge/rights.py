"""Rights that are taken away, on tables or to connect: the traffic has them all, and is connected."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.sqltext import one_line
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

# A policy that is added lets through more rows, unless it is restrictive.
_TAKES_RIGHTS = re.compile(
    r"\b(?:REVOKE|OWNER\s+TO|(?:ENABLE|(?<!NO )FORCE)\s+ROW\s+LEVEL\s+SECURITY|(?:ALTER|DROP)\s+POLICY"
    r"|CREATE\s+POLICY\b[^;]*\bAS\s+RESTRICTIVE)\b",
    re.IGNORECASE,
)
# Rights of no table in particular: those of all in a schema or of one role, and a role in another.
_OF_SCHEMA = re.compile(
    r"\bREVOKE\s+(?!(?:GRANT\s+OPTION\s+FOR\s+)?CREATE\s+ON\b)[^;]*?\bON\s+"
    r"(?:ALL\s+(?:TABLES|SEQUENCES|FUNCTIONS|PROCEDURES|ROUTINES)\s+IN\s+)?"
    r"SCHEMA\s+(?P<schemas>.*?)\s+FROM\b"
    r"|\bALTER\s+SCHEMA\s+(?P<schema>[^;]*?)\s+OWNER\s+TO\b",
    re.IGNORECASE,
)
_OF_ALL = re.compile(
    r"\b(?:DROP\s+OWNED|REASSIGN\s+OWNED|REVOKE\s+(?:(?!\bON\b)[^;])*?\bFROM"
    r"|DROP\s+(?:ROLE|GROUP|USER(?!\s+MAPPING\b))|ALTER\s+GROUP\s[^;]*?\sDROP\s+USER)\b",
    re.IGNORECASE,
)
_OF_ROLE = re.compile(
    r"\bALTER\s+(?:ROLE|USER)\s+\"?(?P<role>[\w$]+)[^;]*?\sNO(?:SUPERUSER|BYPASSRLS|INHERIT)\b",
    re.IGNORECASE,
)
# Those of functions, which views and defaults call without being named by any script.
_OF_FUNCTIONS = re.compile(
    r"\bREVOKE\s+(?:(?!\bON\b)[^;])*?\bON\s+(?:FUNCTION|PROCEDURE|ROUTINE)\s+(?P<names>[^;]*?)\s+FROM\b"
    r"|\bALTER\s+(?:FUNCTION|PROCEDURE|ROUTINE)\s+(?P<name>[^;]*?)\s+OWNER\s+TO\b",
    re.IGNORECASE,
)
_KEEPS_OUT = re.compile(
    r"\bALTER\s+(?:ROLE|USER|DATABASE)\s+[\"'`]?(?P<role>[\w$]+)[^;]*?\s"
    r"(?:NOLOGIN\b|ACCOUNT\s+LOCK\b|CONNECTION\s+LIMIT\s*=?\s*\d|VALID\s+UNTIL\s+'(?!infinity)"
    r"|ALLOW_CONNECTIONS\s*=?\s*'?(?:false|off|no|0)\b)"
    r"|\bREVOKE\s+(?!GRANT\s+OPTION\b)(?:(?!\bON\b)[^;])*?\b(?:CONNECT|ALL)\b"
    r"(?:(?!\bON\b)[^;])*?\bON\s+DATABASE\b",
    re.IGNORECASE,
)
_MADE = (
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE|ROLE|USER)\s+"
    r"(?:[\w$\"]+\s*\.\s*)?\"?{name}(?![\w$])"
)
_DEFAULTS = re.compile(r"\bALTER\s+DEFAULT\s+PRIVILEGES\b[^;]*", re.IGNORECASE)  # of what is made later
_TAKES_ROLE = re.compile(
    r"^\s*SET\s+(?:(?:LOCAL|SESSION)\s+)?(?:ROLE|SESSION\s+AUTHORIZATION)\b"
    r"(?!\s*(?:=|TO\b)?\s*['\"]?(?:NONE|DEFAULT)\b)",
    re.IGNORECASE,
)
_DATA = frozenset({"COMMENT", "COPY", "DELETE", "INSERT", "MERGE", "UPDATE"})  # their texts are only words


def permissions_gone(facts: Facts, rule: str) -> Iterable[Finding]:
    """Rights that are taken away do not concern the traffic, which runs as the owner of everything, but
    where a script takes a role of its own.
    """
    tried = {s.name for s in facts.record.scripts if any(_TAKES_ROLE.search(text) for text in s.statements)}
    locked = {relation for footprint in facts.record.footprints for relation, _ in footprint.locks}
    hot = [table for table in sorted(locked) if not tried.issuperset(facts.heat.touched_by(table))]
    for statement in facts.statements:
        tables = [str(table) for table in hot if _takes_rights(facts, statement, table)]
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


def _takes_rights(facts: Facts, statement: Statement, table: Relation) -> bool:
    if statement.command in _DATA:
        return False
    text = _DEFAULTS.sub("", one_line(statement.text))
    if _OF_ALL.search(text) or _of_functions(facts, statement, text):
        return True
    if any(not _made_here(facts, statement, match["role"]) for match in _OF_ROLE.finditer(text)):
        return True
    if any(_named(match["schemas"] or match["schema"], table.schema) for match in _OF_SCHEMA.finditer(text)):
        return True
    serial = rf"(?<![\w$]){re.escape(table.name)}_\w+_seq(?![\w$])"
    named = _named(text, table.name) or re.search(serial, text, re.IGNORECASE)
    return bool(named and _TAKES_RIGHTS.search(text))


def _of_functions(facts: Facts, statement: Statement, text: str) -> bool:
    """Whether it is about one that there was before the migration, as far as texts tell."""
    for match in _OF_FUNCTIONS.finditer(text):
        names = match["names"] or match["name"]
        while "(" in names and (shorter := re.sub(r"\([^()]*\)", "", names)) != names:
            names = shorter
        for name in (each.rpartition(".")[2].strip(' "') for each in names.split(",")):
            if not _made_here(facts, statement, name) or _called(facts, name):
                return True
    return False


def _made_here(facts: Facts, statement: Statement, name: str) -> bool:
    made = re.compile(_MADE.format(name=re.escape(name)), re.IGNORECASE)
    return any(
        earlier.index < statement.index
        and earlier.command.startswith("CREATE")
        and made.search(one_line(earlier.text))
        for earlier in facts.statements
    )


def _called(facts: Facts, name: str) -> bool:
    scripts = (s for s in facts.record.scripts if s.name not in facts.new_scripts)
    return any(_named(text, name) for script in scripts for text in script.statements)


def connections_refused(facts: Facts, rule: str) -> Iterable[Finding]:
    """Who may connect, which is asked only when one does: `SET ROLE` in a script does not try it."""
    for statement in facts.statements:
        if statement.command in _DATA or not facts.committed(statement):
            continue
        match = next(_KEEPS_OUT.finditer(one_line(statement.text)), None)
        if match is None or (match["role"] and _made_here(facts, statement, match["role"])):
            continue
        yield Finding(
            rule=rule,
            severity=Severity.UNMEASURED,
            message=(
                f"{wording.place(statement)} may keep connections out that are made from then on, and those "
                "of the traffic were made before: whether the application can still connect was not tried"
            ),
            statement=statement.index,
            subject=match[0],
            advice=(
                "Take it out of the migration, and do it when no version of the application connects in that "
                "way any more."
            ),
        )


def _named(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None
