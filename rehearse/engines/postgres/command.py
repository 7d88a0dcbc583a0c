"""What a statement is, told from its first words: `ALTER TABLE`, `CREATE INDEX CONCURRENTLY`, `COMMIT`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import islice

from rehearse.engines.postgres.lexer import Token


class Control(Enum):
    """Statements that begin or end a transaction or a part of one."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"


_QUALIFIERS = frozenset({"GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "RECURSIVE", "TRUSTED"})
_OBJECTS = (
    "ACCESS METHOD",
    "CONSTRAINT TRIGGER",
    "DEFAULT PRIVILEGES",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "UNIQUE INDEX",
    "USER MAPPING",
)
_ON_OBJECTS = frozenset({"CREATE", "ALTER", "DROP", "REFRESH", "REINDEX"})
_DATA = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES"})
_OFF = frozenset({"FALSE", "OFF", "0"})


def significant(tokens: Sequence[Token]) -> list[Token]:
    """The tokens that the server's parser sees."""
    return [token for token in tokens if token.kind.significant]


def command_of(tokens: Sequence[Token]) -> str:
    """The first words of a statement in upper case, without what does not tell it from its like
    (OR REPLACE, IF EXISTS, TEMPORARY). CONCURRENTLY, UNIQUE and VACUUM's FULL are kept, and a WITH is
    named for its main statement.
    """
    seen = significant(tokens)
    verb = seen[0].upper if seen else ""
    if verb == "WITH":
        return _after_with(seen)
    if verb in _ON_OBJECTS:
        return " ".join([verb, *_object(verb, seen[1:])])
    if verb == "VACUUM":
        return "VACUUM FULL" if _option(seen, "FULL") else "VACUUM"
    if verb in {"START", "PREPARE"} and len(seen) > 1 and seen[1].upper == "TRANSACTION":
        return f"{verb} TRANSACTION"
    if verb in {"COMMIT", "ROLLBACK"} and len(seen) > 1 and seen[1].upper == "PREPARED":
        return f"{verb} PREPARED"
    return verb


def control_of(tokens: Sequence[Token]) -> Control | None:
    """What a statement does to the transaction, None for all that do nothing to it."""
    words = [token.upper for token in islice((t for t in tokens if t.kind.significant), 4)]
    verb = words[0] if words else ""
    rest = [word for word in words[1:] if word not in {"WORK", "TRANSACTION"}]
    if verb == "BEGIN" or (verb == "START" and words[1:2] == ["TRANSACTION"]):
        return Control.BEGIN
    if verb in {"COMMIT", "END"}:
        return None if rest[:1] == ["PREPARED"] else Control.COMMIT
    if verb == "ROLLBACK" and rest[:1] in (["TO"], ["PREPARED"]):
        return Control.ROLLBACK_TO if rest[0] == "TO" else None
    return {
        "ROLLBACK": Control.ROLLBACK,
        "ABORT": Control.ROLLBACK,
        "SAVEPOINT": Control.SAVEPOINT,
        "RELEASE": Control.RELEASE,
    }.get(verb)


def _object(verb: str, rest: Sequence[Token]) -> list[str]:
    """`TABLE`, `UNIQUE INDEX CONCURRENTLY`, `MATERIALIZED VIEW`, ..."""
    options, rest = _options(rest)
    words = [token.upper for token in rest[:8]]
    if words[:2] == ["OR", "REPLACE"]:
        words = words[2:]
    while words and words[0] in _QUALIFIERS:
        words = words[1:]
    for name in _OBJECTS:
        if words[: len(name.split())] == name.split():
            break
    else:
        name = words[0] if words else ""
    after = words[len(name.split()) :]
    concurrently = after[:1] == ["CONCURRENTLY"] or (verb == "REINDEX" and _is_on(options, "CONCURRENTLY"))
    return [word for word in (name, "CONCURRENTLY" if concurrently else "") if word]


def _option(seen: Sequence[Token], name: str) -> bool:
    """Whether `VACUUM name ...` or `VACUUM (name, ...)` says so."""
    options, rest = _options(seen[1:])
    return _is_on(options, name) or any(token.upper == name for token in rest[:1])


def _options(tokens: Sequence[Token]) -> tuple[list[list[Token]], Sequence[Token]]:
    """The parenthesised options at the start, one list of tokens each, and what follows them."""
    if not tokens or tokens[0].text != "(":
        return [], tokens
    options: list[list[Token]] = [[]]
    for place, token in enumerate(tokens[1:], start=2):
        if token.text == ")":
            return options, tokens[place:]
        if token.text == ",":
            options.append([])
        else:
            options[-1].append(token)
    return options, []


def _is_on(options: Sequence[Sequence[Token]], name: str) -> bool:
    for option in options:
        if option and option[0].upper == name:
            value = option[1].text.strip("'").upper() if len(option) > 1 else "TRUE"
            return value not in _OFF
    return False


def _after_with(seen: Sequence[Token]) -> str:
    depth = 0
    for token in seen[1:]:
        depth += token.nesting
        if depth == 0 and token.upper in _DATA:
            return token.upper
    return "WITH"
