"""The safe alternative to one action of an ALTER TABLE."""

from __future__ import annotations

import re
from collections.abc import Callable

from rehearse.judge.sqltext import derived, find

_DEFAULT = r"\bDEFAULT\s+(.+?)(?=\s+(?:NOT\s+NULL|NULL|UNIQUE|REFERENCES|CHECK)\b|$)"
# Types without constraints of their own: a column of one is added at once.
_INSTANT_TYPES = re.compile(
    r"(?:small|big)?int|int[248]|integer|numeric|decimal|real|double precision|text|varchar|char"
    r"|character varying|bool(?:ean)?|date|interval|time|timestamp(?:tz)?|timestamp with(?:out)? time zone"
    r"|uuid|jsonb?|bytea|inet",
    re.IGNORECASE,
)
_BATCH = "in batches by key, each committed by itself"


def for_action(table: str, action: str) -> str:
    """SQL that comes to the same as `ALTER TABLE table action` without keeping the traffic out; empty
    where there is none to offer.
    """
    for pattern, way in _WAYS:
        match = find(pattern, action)
        if match:
            return way(table, match)
    return ""


def _foreign_key(table: str, match: re.Match[str]) -> str:
    name = match["name"] or derived(table, f"_{_first_column(match['columns'])}_fkey")
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {_once(match['rest'], 'NOT VALID')};\n"
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- in a transaction of its own"
    )


def _check(table: str, match: re.Match[str]) -> str:
    name = match["name"] or derived(table, "_check")
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {_once(match['rest'], 'NOT VALID')};\n"
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- in a transaction of its own"
    )


def _once(text: str, suffix: str) -> str:
    return text if text.upper().endswith(suffix) else f"{text} {suffix}"


def _first_column(columns: str) -> str:
    return columns.split(",", maxsplit=1)[0].strip().strip('"')


def _unique(table: str, match: re.Match[str]) -> str:
    primary = match["kind"].upper().startswith("PRIMARY")
    columns = match["columns"]
    suffix = "_pkey" if primary else f"_{_first_column(columns)}_key"
    name = match["name"] or derived(table, suffix)
    kind = "PRIMARY KEY" if primary else "UNIQUE"
    lines = [
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns});",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name};",
    ]
    if primary:
        lines.insert(
            0, f"-- first make every column of it NOT NULL the safe way (as for SET NOT NULL on {table})"
        )
    return "\n".join(lines)


def _primary_using_index(table: str, _match: re.Match[str]) -> str:
    return (
        f"Make the index's columns NOT NULL first: ALTER TABLE {table} ADD CHECK (... IS NOT NULL) "
        "NOT VALID, VALIDATE it, SET NOT NULL; then this statement has nothing left to read."
    )


def _exclude(table: str, _match: re.Match[str]) -> str:
    return (
        f"There is no concurrent form for EXCLUDE: create a copy of {table} with the constraint, keep it "
        "filled by a trigger, and swap the names; or check in the application."
    )


def _set_not_null(table: str, match: re.Match[str]) -> str:
    column = match["column"]
    name = derived(table, f"_{column.strip(chr(34))}_not_null")
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID;\n"
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- in a transaction of its own\n"
        f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;  -- reads nothing: the check proves it\n"
        f"ALTER TABLE {table} DROP CONSTRAINT {name};"
    )


def _retype(table: str, match: re.Match[str]) -> str:
    column, kind = match["column"], match["type"]
    new = derived(column, "_new")
    return (
        f"ALTER TABLE {table} ADD COLUMN {new} {kind};  -- and a trigger that fills it from {column}\n"
        f"UPDATE {table} SET {new} = {column} WHERE ...;  -- {_BATCH}\n"
        f"-- build its indexes CONCURRENTLY; when the application uses it, swap the names in one short "
        f"transaction and drop the old {column} later"
    )


def _add_column(table: str, match: re.Match[str]) -> str:
    column, kind, rest = match["column"], match["type"], match["rest"] or ""
    if re.search(r"\bserial\b|serial|\bIDENTITY\b", f"{kind} {rest}", re.IGNORECASE):
        return _numbered(table, column, kind)
    if re.search(r"\bGENERATED\b", rest, re.IGNORECASE):
        return (
            f"ALTER TABLE {table} ADD COLUMN {column} {kind};  -- then a trigger that computes it, and an "
            f"UPDATE {_BATCH}; PostgreSQL 18 has GENERATED ... VIRTUAL, which is instant"
        )
    check = re.search(r"\bCHECK\s*\(.*\)", rest, re.IGNORECASE)
    if check:
        name = derived(table, f"_{column.strip(chr(34))}_check")
        return (
            f"ALTER TABLE {table} ADD COLUMN {column} {kind};\n"
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {check[0]} NOT VALID;\n"
            f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- in a transaction of its own"
        )
    return _with_default(table, column, kind, rest)


def _numbered(table: str, column: str, kind: str) -> str:
    plain = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}.get(kind.lower(), kind)
    sequence = derived(table, f"_{column.strip(chr(34))}_seq")
    return (
        f"CREATE SEQUENCE {sequence};\n"
        f"ALTER TABLE {table} ADD COLUMN {column} {plain};\n"
        f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval('{sequence}');\n"
        f"UPDATE {table} SET {column} = nextval('{sequence}') WHERE {column} IS NULL;  -- {_BATCH}"
    )


def _with_default(table: str, column: str, kind: str, rest: str) -> str:
    default = re.search(_DEFAULT, rest, re.IGNORECASE)
    if not default and not rest and _INSTANT_TYPES.fullmatch(re.sub(r"\s*\(.*", "", kind)):
        return f"ALTER TABLE {table} ADD COLUMN {column} {kind};"
    if not default:
        return (
            f"ALTER TABLE {table} ADD COLUMN {column} ...;  -- of the base type, without constraint or "
            f"default; then fill it {_BATCH}, and add the constraint NOT VALID, then VALIDATE it"
        )
    return (
        f"ALTER TABLE {table} ADD COLUMN {column} {kind};\n"
        f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default[1]};\n"
        f"UPDATE {table} SET {column} = {default[1]} WHERE {column} IS NULL;  -- {_BATCH}"
    )


def _logged(table: str, _match: re.Match[str]) -> str:
    return (
        f"There is no online form: make a new table, fill it {_BATCH}, and swap the names of it and {table}."
    )


def _attach(table: str, match: re.Match[str]) -> str:
    child = match["child"]
    name = derived(child, "_bound")
    return (
        f"ALTER TABLE {child} ADD CONSTRAINT {name} CHECK (...) NOT VALID;  -- the partition's bound\n"
        f"ALTER TABLE {child} VALIDATE CONSTRAINT {name};\n"
        f"ALTER TABLE {table} ATTACH PARTITION {match['rest']};  -- reads nothing: the check proves it"
    )


def _detach(table: str, match: re.Match[str]) -> str:
    return f"ALTER TABLE {table} DETACH PARTITION {match['child']} CONCURRENTLY;  -- outside of a transaction"


_CONSTRAINT = r"ADD\s+(?:CONSTRAINT\s+(?P<name>{NAME})\s+)?"
_COLUMN = r"(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?P<column>{NAME})\s+"
_TYPE = (
    r"(?P<type>double\s+precision|character\s+varying(?:\s*\([^)]*\))?|"
    r"{NAME}(?:\s*\([^)]*\))?(?:\s+with(?:out)?\s+time\s+zone)?(?:\[\])?)"
)
_WAYS: tuple[tuple[str, Callable[[str, re.Match[str]], str]], ...] = (
    (_CONSTRAINT + r"(?P<rest>FOREIGN\s+KEY\s*\((?P<columns>[^)]*)\).*)", _foreign_key),
    (_CONSTRAINT + r"(?P<rest>CHECK\s*\(.*)", _check),
    (_CONSTRAINT + r"PRIMARY\s+KEY\s+USING\s+INDEX", _primary_using_index),
    (_CONSTRAINT + r"(?P<kind>UNIQUE|PRIMARY\s+KEY)\s*\((?P<columns>[^)]*)\)", _unique),
    (_CONSTRAINT + r"EXCLUDE\b", _exclude),
    (r"ALTER\s+(?:COLUMN\s+)?(?P<column>{NAME})\s+SET\s+NOT\s+NULL", _set_not_null),
    (r"ALTER\s+(?:COLUMN\s+)?(?P<column>{NAME})\s+(?:SET\s+DATA\s+)?TYPE\s+" + _TYPE, _retype),
    (r"SET\s+(?:UN)?LOGGED", _logged),
    (r"ATTACH\s+PARTITION\s+(?P<rest>(?P<child>{NAME})\s+.*)", _attach),
    (r"DETACH\s+PARTITION\s+(?P<child>{NAME})(?!.*CONCURRENTLY)", _detach),
    (r"ADD\s+(?!CONSTRAINT\b)" + _COLUMN + _TYPE + r"(?:\s+(?P<rest>.*))?$", _add_column),
)
