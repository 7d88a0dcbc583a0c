"""Rows that a statement has locked without changing them: SELECT ... FOR UPDATE and its like.

The server counts no such locks. What is known: that a table was locked for it (ROW SHARE), how many rows
the statement returned, which tables it read as a whole, and how much log it wrote; each lock of a row
writes a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.lexer import Token, UnterminatedError, dollar_body, tokens
from rehearse.engines.postgres.split import SqlStatement
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects
from rehearse.model.relation import Relation

_ANY = frozenset({"CALL", "CREATE TABLE", "DELETE", "DO", "INSERT", "MERGE", "SELECT", "UPDATE"})
# FOR KEY SHARE, which foreign keys use, keeps out neither an update nor another lock of that kind
_CLAUSES = (("FOR", "UPDATE"), ("FOR", "NO", "KEY", "UPDATE"), ("FOR", "SHARE"))
_LOG_PER_ROW = 40  # bytes of a record in the write-ahead log, at least
_TABLES = ("table", "partitioned table")


class _Where(Enum):
    """Where the clause stands: then every row returned was locked, or it is not known how many were."""

    OUTERMOST = "outermost"
    INSIDE = "inside"


def rows_locked(statement: SqlStatement, tag: str, effects: Effects) -> tuple[tuple[Relation, int], ...]:
    """By table, how many rows `statement`, answered with `tag`, has locked for itself at most; nothing of
    what it changed. `effects` are the rest of what it did.
    """
    where = _clause(statement.text) if statement.command in _ANY else None
    if where is None:
        return ()
    locked = [
        lock.relation
        for lock in effects.locks
        if lock.mode is LockMode.ROW_SHARE and lock.kind in _TABLES and not lock.created_here
    ]
    scanned = {work.table: work.rows for work in effects.scanned if not work.created_here}
    if where is _Where.OUTERMOST and statement.command == "SELECT":
        count = tag.removeprefix("SELECT ")
        rows = int(count) if count.isdigit() else 0
        # the transaction may have had the tables' locks before
        return tuple((table, rows) for table in locked or scanned if rows)
    most = None if effects.wal_bytes is None else effects.wal_bytes // _LOG_PER_ROW
    found = ((table, rows) for table, rows in scanned.items() if not locked or table in locked)
    return tuple((table, rows if most is None else min(rows, most)) for table, rows in found)


def _clause(text: str) -> _Where | None:
    try:
        found = set(_clauses(text))
    except UnterminatedError:  # in the body of a block: the server has its own opinion
        return None
    return _Where.INSIDE if _Where.INSIDE in found else next(iter(found), None)


def _clauses(text: str) -> Iterator[_Where]:
    depth = 0
    seen = significant(list(tokens(text)))
    for place, token in enumerate(seen):
        depth += token.nesting
        body = dollar_body(token)
        if body is not None:
            yield from (_Where.INSIDE for _ in _clauses(body))
        elif token.upper == "FOR" and _begins_clause(seen, place):
            yield _Where.INSIDE if depth else _Where.OUTERMOST


def _begins_clause(seen: Sequence[Token], place: int) -> bool:
    return any(
        tuple(token.upper for token in seen[place : place + len(clause)]) == clause for clause in _CLAUSES
    )
