"""The locks that the manual says a command takes, for those whose own transaction cannot be looked into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rehearse.engines.postgres.catalog import Catalog, RelationFacts
from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.lexer import TokenKind, tokens
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.sending import is_concurrent_detach
from rehearse.model.locks import LockMode

_SUE = LockMode.SHARE_UPDATE_EXCLUSIVE
_AX = LockMode.ACCESS_EXCLUSIVE
_OPTIONS = frozenset({"FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE", "ONLY"})

Locks = Iterator[tuple[int, LockMode]]


def documented_locks(
    statement: SqlStatement, before: Catalog, after: Catalog, named: Iterable[int]
) -> frozenset[tuple[int, LockMode]]:
    """Locks by oid that `statement` took, told from what it changed in the catalog, and for VACUUM from
    the tables (oids) it names.
    """
    command = statement.command
    if command == "VACUUM":
        return frozenset((oid, _SUE) for oid in named)
    if command in {"VACUUM FULL", "CLUSTER"}:
        return frozenset((oid, _AX) for oid in {*named, *_rewritten(before, after)})
    if is_concurrent_detach(statement):
        return frozenset(_detach(before, after))
    if command in {"DO", "CALL"}:
        return frozenset(_by_its_results(before, after))
    if "INDEX" in command:
        concurrently = command.endswith("CONCURRENTLY")
        return frozenset(_on_indexes(_changed_indexes(before, after), concurrently=concurrently))
    return frozenset()


def tables_named(statement: SqlStatement) -> tuple[str, ...]:
    """The tables that a VACUUM names, as it writes them; none where it means all."""
    if not statement.command.startswith("VACUUM"):
        return ()
    names: list[str] = []
    depth = 0
    between = True  # a name can begin here
    for token in significant(list(tokens(statement.text)))[1:]:
        depth += token.nesting
        if depth or token.nesting:
            continue  # options, or a list of columns
        if token.text == ",":
            between = True
        elif token.text == "." and names:
            names[-1] += "."
        elif names and names[-1].endswith("."):
            names[-1] += token.text
        elif between and token.upper not in _OPTIONS and token.kind is not TokenKind.SYMBOL:
            names.append(token.text)
            between = False
    return tuple(names)


def _rewritten(before: Catalog, after: Catalog) -> Iterator[int]:
    for oid, now in after.items():
        was = before.get(oid)
        if was and now.holds_rows and was.filenode != now.filenode:
            yield oid


def _changed_indexes(before: Catalog, after: Catalog) -> Iterator[RelationFacts]:
    """Indexes that came, went, were rebuilt, or became or ceased to be valid."""
    for oid in before.keys() | after.keys():
        was, now = before.get(oid), after.get(oid)
        facts = now or was
        if facts is None or not facts.is_index:
            continue
        if was is None or now is None or (was.filenode, was.valid) != (now.filenode, now.valid):
            yield facts


def _on_indexes(indexes: Iterable[RelationFacts], *, concurrently: bool) -> Locks:
    for index in indexes:
        if index.table:
            yield index.table, _SUE if concurrently else LockMode.SHARE
        yield index.oid, _SUE if concurrently else _AX


def _by_its_results(before: Catalog, after: Catalog) -> Locks:
    """What a block that commits as it goes must have locked to do what it did; it may have let go of it
    too soon to be seen.
    """
    for oid, was in before.items():
        now = after.get(oid)
        if was.code in "rpm" and (now is None or (was.filenode, was.columns) != (now.filenode, now.columns)):
            yield oid, _AX
    for index in _changed_indexes(before, after):
        if index.table and index.table in before and index.oid in after:
            yield index.table, LockMode.SHARE


def _detach(before: Catalog, after: Catalog) -> Locks:
    for oid, was in before.items():
        now = after.get(oid)
        if was.parent and not was.is_index and (now is None or now.parent != was.parent):
            yield was.parent, _SUE
            yield oid, _AX
