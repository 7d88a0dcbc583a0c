"""Rows that a statement has locked without changing them: SELECT ... FOR UPDATE and its like.

The server counts no such locks. What is known: that a table was locked for it (ROW SHARE), how many rows
the statement returned, which tables it read as a whole, and how much log it wrote; each lock of a row
writes a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from itertools import pairwise

from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.lexer import Token, TokenKind, UnterminatedError, dollar_body, tokens
from rehearse.engines.postgres.split import SqlStatement
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects
from rehearse.model.relation import Relation

_ANY = frozenset(
    {"CALL", "CREATE TABLE", "DELETE", "DO", "FETCH", "INSERT", "MERGE", "MOVE", "SELECT", "UPDATE"}
)
_RETURNS = ("FETCH", "MOVE", "SELECT")  # its tag says how many rows
# FOR KEY SHARE, which foreign keys use, keeps out neither an update nor another lock of that kind
_CLAUSES = (("FOR", "UPDATE"), ("FOR", "NO", "KEY", "UPDATE"), ("FOR", "SHARE"))
_WRITES = ("DELETE", "UPDATE")
_ONCE = ("AS", "IN", "MATERIALIZED")  # before the parenthesis of a query that is executed once
_LOG_PER_ROW = 40  # bytes of a record in the write-ahead log, at least
_TABLES = ("table", "partitioned table")


class _Where(Enum):
    """Where the clause stands: then every row returned was locked, or it is not known how many were."""

    OUTERMOST = "outermost"
    INSIDE = "inside"


def rows_locked(
    statement: SqlStatement,
    tag: str,
    effects: Effects,
    read: Mapping[Relation, int] | None = None,
    source: Callable[[frozenset[str]], str] = lambda _: "",
) -> tuple[tuple[Relation, int], ...]:
    """By table, how many rows `statement`, answered with `tag`, has locked for itself at most; nothing of
    what it changed. `effects` are the rest of what it did; `read` the rows that it read of the tables on
    which its transaction has ROW SHARE, None where that is not known; `source` tells the bodies of functions
    by their names in lower case, and of whatever else it may have called. Of FETCH and MOVE, `statement`
    has the query of the cursor.
    """
    if statement.command not in _ANY:
        return ()
    where = _clause(statement.text, is_code=statement.command == "DO")
    if where is None and read and has_locking_clause(source(called_names(statement.text))):
        where = _Where.INSIDE
    if where is None:
        return ()
    locked = [
        lock.relation
        for lock in effects.locks
        if lock.mode is LockMode.ROW_SHARE and lock.kind in _TABLES and not lock.created_here
    ]
    scanned = {work.table: work.rows for work in effects.scanned if not work.created_here}
    count = tag.rpartition(" ")[2]
    if where is _Where.OUTERMOST and statement.command in _RETURNS and count.isdigit():
        rows = int(count)
        # the transaction may have had the tables' locks before
        tables = locked or scanned if read is None else dict.fromkeys([*locked, *read])
        return tuple((table, rows) for table in tables if rows)
    logged = None if effects.wal_bytes is None else effects.wal_bytes // _LOG_PER_ROW
    most = [bound for bound in (logged, _batch(statement)) if bound is not None]
    found = {table: rows for table, rows in scanned.items() if not locked or table in locked}
    if read is not None:
        found = {table: scanned.get(table, rows) for table, rows in read.items()}
    return tuple((table, min([rows, *most])) for table, rows in found.items())


def called_names(text: str) -> frozenset[str]:
    """The names that a parenthesis follows, in lower case, in `text` and in the bodies it holds."""
    try:
        found = significant(list(tokens(text)))
    except UnterminatedError:
        return frozenset()
    names = {
        token.text.strip('"').lower()
        for token, behind in pairwise(found)
        if behind.text == "(" and token.kind is not TokenKind.SYMBOL
    }
    bodies = (body for token in found if (body := dollar_body(token)) is not None)
    return frozenset(names).union(*map(called_names, bodies))


def has_locking_clause(text: str) -> bool:
    """Whether `text`, a block or the body of a procedure, has a FOR UPDATE or FOR SHARE anywhere."""
    return _clause(text, is_code=True) is not None


def _clause(text: str, *, is_code: bool = False) -> _Where | None:
    try:
        found = set(_clauses(text, is_code=is_code))
    except UnterminatedError:  # in the body of a block: the server has its own opinion
        return None
    return _Where.INSIDE if _Where.INSIDE in found else next(iter(found), None)


def _clauses(text: str, *, is_code: bool = False) -> Iterator[_Where]:
    """`is_code`: what stands in its quotes may be executed."""
    depth = 0
    seen = significant(list(tokens(text)))
    for place, token in enumerate(seen):
        depth += token.nesting
        body = dollar_body(token)
        if body is not None:
            yield from (_Where.INSIDE for _ in _clauses(body, is_code=True))
        elif is_code and token.kind is TokenKind.STRING:
            with suppress(UnterminatedError):  # some other text
                quoted = token.text[token.text.index("'") + 1 : -1].replace("''", "'")
                yield from [_Where.INSIDE for _ in _clauses(quoted, is_code=True)]
        elif token.upper == "FOR" and _begins_clause(seen, place):
            yield _Where.INSIDE if depth else _Where.OUTERMOST


def _batch(statement: SqlStatement) -> int | None:
    """The LIMIT of what a write locks first, in a WITH or an IN: `IN (SELECT ... LIMIT 1000 FOR UPDATE)`."""
    seen = significant(list(tokens(statement.text)))
    places = [n for n, token in enumerate(seen) if token.upper == "FOR" and _begins_clause(seen, n)]
    if statement.command not in _WRITES or len(places) != 1 or places[0] < 4:
        return None
    limit, number = seen[places[0] - 2], seen[places[0] - 1]
    if limit.upper != "LIMIT" or not number.text.isdigit():
        return None
    depth = 0
    for place in range(places[0], 0, -1):
        depth += seen[place].nesting
        if depth > 0:
            return int(number.text) if seen[place - 1].upper in _ONCE else None
    return None


def _begins_clause(seen: Sequence[Token], place: int) -> bool:
    return any(
        tuple(token.upper for token in seen[place : place + len(clause)]) == clause for clause in _CLAUSES
    )
