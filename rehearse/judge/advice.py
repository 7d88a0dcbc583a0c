"""The safe alternative, as SQL for the very objects at hand wherever the statement's text gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rehearse.judge.advice_alter import for_action
from rehearse.judge.sqltext import alter_table, at_where, derived, find, one_line
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name

LOCK_TIMEOUT = (
    "SET lock_timeout = '2s';  -- before the statement; on SQLSTATE 55P03 wait a little and run it again"
)
SPLIT = (
    "End the transaction after each statement that takes such a lock, and do the long work in transactions "
    "of its own, before or after it: rows in batches by key, indexes with CREATE INDEX CONCURRENTLY, "
    "constraints with NOT VALID and then VALIDATE."
)


def for_statement(statement: Statement, table: Relation) -> str:
    """The safe way to what `statement` does; `table` is the one it concerns."""
    text = one_line(statement.text)
    altered = alter_table(text)
    if altered is not None:
        ways = [for_action(altered.table, action) for action in altered.actions]
        return "\n".join(dict.fromkeys(way for way in ways if way)) or SPLIT
    if _on_partitioned(statement, table) and statement.command in ("CREATE INDEX", "CREATE UNIQUE INDEX"):
        return _create_partitioned_index(text)
    for command, way in _WAYS:
        if statement.command.startswith(command):
            return way(text, table)
    return SPLIT


def batches(statement: Statement, table: Relation, key: Sequence[str] = ()) -> str:
    """How to change many rows without keeping them locked to the end; `key` names the columns of the
    table's primary key.
    """
    text = one_line(statement.text)
    columns = ", ".join(quote_name(column) for column in key)
    if statement.command not in ("UPDATE", "DELETE") or not columns:
        return (
            f"Write to {table} in batches by key of some thousand rows, each committed by itself, with a "
            "pause between them, outside of the migration's transaction."
        )
    head, condition = at_where(text)
    only = f" AND ({condition})" if condition else ""
    batch = f"SELECT {columns} FROM {table} WHERE ({columns}) > (:last) ORDER BY {columns} LIMIT 5000"  # noqa: S608 - advice, for a person to run
    return (
        f"Change {table} in batches by its key, each committed by itself, with a pause between them:\n"
        f"{head} WHERE ({columns}) IN ({batch}){only};  -- :last: the last key of the batch before"
    )


def rename_first(what: str) -> str:
    """How to take something away from a running application."""
    return (
        f"Expand, migrate, contract: first deploy an application that does not use {what}, "
        "then change the schema; where both versions have to run, keep the old name with a view, "
        "or a second column filled by a trigger."
    )


def expendable(what: str) -> str:
    """How to say that data may go."""
    return (
        f'If this data may go, say so: [migration] expendable = ["{what}"]. '
        "Else copy it to where it is to stay, in a migration before this one."
    )


def _create_index(text: str, _table: Relation) -> str:
    made = re.sub(
        r"^CREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)", _concurrently, text, count=1, flags=re.IGNORECASE
    )
    return (
        f"{made};  -- outside of a transaction; should it fail, DROP INDEX CONCURRENTLY the invalid "
        "index and run it again"
    )


def _on_partitioned(statement: Statement, table: Relation) -> bool:
    locks = statement.effects.locks if statement.effects else ()
    return any(lock.kind == "partitioned table" and lock.relation == table for lock in locks)


def _create_partitioned_index(text: str) -> str:
    """CONCURRENTLY is refused on a partitioned table."""
    made = find(
        r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:(?P<name>(?!ON\b){NAME})\s+)?"
        r"ON\s+(?:ONLY\s+)?(?P<table>{NAME})\s*(?P<rest>.*)",
        text,
    )
    if made is None:
        return SPLIT
    unique, table, rest = made["unique"] or "", made["table"], made["rest"]
    name = made["name"] or derived(table, "_idx")
    schema = f"{table.rsplit('.', maxsplit=1)[0]}." if "." in table else ""
    part = derived(name, "_1")
    return (
        f"CREATE {unique}INDEX {name} ON ONLY {table} {rest};  -- instant\n"
        f"CREATE {unique}INDEX CONCURRENTLY {part} ON <partition> {rest};  -- for each partition\n"
        f"ALTER INDEX {schema}{name} ATTACH PARTITION {schema}{part};  -- valid with the last one"
    )


def _concurrently(match: re.Match[str]) -> str:
    return f"CREATE {'UNIQUE ' if match[1] else ''}INDEX CONCURRENTLY "


def _reindex(text: str, table: Relation) -> str:
    found = find(r"REINDEX\s+(?:\([^)]*\)\s*)?(INDEX|TABLE|SCHEMA|DATABASE)\s+({NAME})", text)
    kind, name = (found[1].upper(), found[2]) if found else ("TABLE", str(table))
    return f"REINDEX {kind} CONCURRENTLY {name};  -- outside of a transaction"


def _drop_index(text: str, _table: Relation) -> str:
    made = re.sub(r"^DROP\s+INDEX\s+", "DROP INDEX CONCURRENTLY ", text, count=1, flags=re.IGNORECASE)
    return f"{made};  -- outside of a transaction"


def _refresh(text: str, table: Relation) -> str:
    found = find(r"REFRESH\s+MATERIALIZED\s+VIEW\s+({NAME})", text)
    name = found[1] if found else str(table)
    return f"REFRESH MATERIALIZED VIEW CONCURRENTLY {name};  -- needs a unique index on all its rows"


def _compact(_text: str, table: Relation) -> str:
    return (
        f"pg_repack --table={table}  -- or pg_squeeze: both rebuild the table beside the running application"
    )


def _trigger(_text: str, table: Relation) -> str:
    return f"{LOCK_TIMEOUT}\n-- and do nothing else on {table} in the same transaction"


def _truncate(_text: str, table: Relation) -> str:
    return f"Rename {table} away first, and drop it when nothing has asked for it for a while."


def _new_table(text: str, table: Relation) -> str:
    if not re.search(r"\bREFERENCES\b", text, re.IGNORECASE):
        return LOCK_TIMEOUT
    return (
        f"Create the table without its reference to {table}; then, by themselves:\n"
        f"{LOCK_TIMEOUT}\nALTER TABLE ... ADD CONSTRAINT ... FOREIGN KEY ... REFERENCES {table} NOT VALID;\n"
        "ALTER TABLE ... VALIDATE CONSTRAINT ...;"
    )


_WAYS: tuple[tuple[str, Callable[[str, Relation], str]], ...] = (
    ("CREATE INDEX", _create_index),
    ("CREATE UNIQUE INDEX", _create_index),
    ("REINDEX", _reindex),
    ("DROP INDEX", _drop_index),
    ("REFRESH MATERIALIZED VIEW", _refresh),
    ("VACUUM", _compact),
    ("CLUSTER", _compact),
    ("CREATE TRIGGER", _trigger),
    ("CREATE TABLE", _new_table),
    ("TRUNCATE", _truncate),
    ("DROP TABLE", _truncate),
)
