"""The locks that the manual says a command takes, for those whose own transaction cannot be looked into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rehearse.engines.postgres.catalog import Catalog, RelationFacts
from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.lexer import Token, TokenKind, UnterminatedError, dollar_body, tokens
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.sending import is_concurrent_detach
from rehearse.model.locks import LockMode

_SUE = LockMode.SHARE_UPDATE_EXCLUSIVE
_AX = LockMode.ACCESS_EXCLUSIVE
_BEFORE_COMMAND = frozenset({"BEGIN", "ELSE", "LOOP", "THEN"})
_LOCK_WORDS = frozenset({"TABLE", "ONLY", "NOWAIT"})
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


def locked_by_text(text: str, catalog: Catalog) -> frozenset[tuple[int, LockMode]]:
    """The locks by oid that the LOCK TABLE commands in `text`, a block or the body of a procedure, ask for:
    they leave no other trace. Tables of the same name in other schemas count as well.
    """
    try:
        bodies = [body for token in tokens(text) if (body := dollar_body(token)) is not None]
        found = {lock for body in (text, *bodies) for lock in _lock_commands(body)}
    except UnterminatedError:
        return frozenset()
    tables = [(oid, facts.relation.name) for oid, facts in catalog.items() if facts.code in "rp"]
    return frozenset((oid, mode) for name, mode in found for oid, known in tables if known == name)


def _lock_commands(text: str) -> Iterator[tuple[str, LockMode]]:
    """By name, without the schema."""
    for part in _between_semicolons(significant(list(tokens(text)))):
        said = [token.upper for token in part]
        places = (place for place, word in enumerate(said) if word == "LOCK")
        start = next((place for place in places if not place or said[place - 1] in _BEFORE_COMMAND), None)
        if start is None:
            continue
        end = said.index("IN", start) if "IN" in said[start:] else len(part)
        wanted = " ".join(word for word in said[end + 1 :] if word not in ("MODE", "NOWAIT"))
        mode = next((mode for mode in LockMode if mode.sql == wanted), _AX)
        for place in range(start + 1, end):
            token = part[place]
            qualifies = place + 1 < end and part[place + 1].text == "."
            if token.kind is not TokenKind.SYMBOL and token.upper not in _LOCK_WORDS and not qualifies:
                yield token.text.strip('"') if token.text.startswith('"') else token.text.lower(), mode


def _between_semicolons(found: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The tokens between two semicolons, wherever these stand."""
    ends = [place for place, token in enumerate(found) if token.text == ";"]
    starts = [0, *(end + 1 for end in ends)]
    return (found[start:end] for start, end in zip(starts, [*ends, len(found)], strict=True))


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
        if was.parent and not was.is_index and (now is None or now.parent != was.parent):
            yield was.parent, _AX
    for index in _changed_indexes(before, after):
        if index.table and index.table in before and index.oid in after:
            yield index.table, LockMode.SHARE


def _detach(before: Catalog, after: Catalog) -> Locks:
    for oid, was in before.items():
        now = after.get(oid)
        if was.parent and not was.is_index and (now is None or now.parent != was.parent):
            yield was.parent, _SUE
            yield oid, _AX
