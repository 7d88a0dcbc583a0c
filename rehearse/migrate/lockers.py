"""What locks rows behind a statement's back: the query of a cursor that it fetches from, or of what it
executes; the functions that it calls, and those that triggers call, in the catalog or made by the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import dropwhile, takewhile

from rehearse.engines.postgres.command import command_of, significant
from rehearse.engines.postgres.lexer import Token, TokenKind, UnterminatedError, dollar_body, tokens
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.rowlocks import called_names, rows_locked
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects
from rehearse.model.relation import Relation

# the bodies of functions of these names, in lower case, and of the triggers on these tables
Bodies = Callable[[frozenset[str], Set[Relation]], str]

_FETCHES = ("FETCH", "MOVE")
_CODE = ("FUNCTION", "PROCEDURE")


@dataclass(slots=True)
class _Cursor:
    """Rows that are fetched stay locked, so that they add up; a sort may have read the tables long before."""

    query: str
    locked: dict[Relation, int] = field(default_factory=dict)


class Lockers:
    """Of one session. `bodies` asks the catalog, in which nobody else sees what is not committed yet."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._cursors: dict[str, _Cursor] = {}
        self._prepared: dict[str, str] = {}
        self._functions: dict[str, str] = {}  # what the session made itself, by name in lower case
        self._triggers: list[tuple[str, str]] = []  # the words of each, and the name of its function

    def rows_locked(
        self, statement: SqlStatement, tag: str, effects: Effects, read: Mapping[Relation, int] | None
    ) -> tuple[tuple[Relation, int], ...]:
        """As `rowlocks.rows_locked`, of the next statement of the session."""
        try:
            seen = significant(list(tokens(statement.text)))
        except UnterminatedError:
            return rows_locked(statement, tag, effects, read)
        if statement.command in _FETCHES:
            return self._fetched(self._cursors.get(_name(seen[-1])), statement, tag, effects, read)
        if statement.command == "EXECUTE" and (query := self._prepared.get(_name(seen[1]))):
            statement = replace(statement, text=query, command=command_of(list(tokens(query))))
        self._note(statement, seen)
        changed = {relation for relation, _ in effects.rows_changed} | {
            lock.relation for lock in effects.locks if lock.mode is LockMode.ROW_EXCLUSIVE
        }
        return rows_locked(statement, tag, effects, read, lambda called: self._source(called, changed))

    def _fetched(
        self,
        cursor: _Cursor | None,
        statement: SqlStatement,
        tag: str,
        effects: Effects,
        read: Mapping[Relation, int] | None,
    ) -> tuple[tuple[Relation, int], ...]:
        if cursor is None:
            return ()
        read = {**dict.fromkeys(cursor.locked, 0), **(read or {})}
        for table, rows in rows_locked(replace(statement, text=cursor.query), tag, effects, read):
            cursor.locked[table] = cursor.locked.get(table, 0) + rows
        return tuple(cursor.locked.items())

    def _note(self, statement: SqlStatement, seen: list[Token]) -> None:
        """Remembers what a later statement may lock rows by."""
        command = statement.command
        if command == "DECLARE":
            self._cursors[_name(seen[1])] = _Cursor(_behind("FOR", statement, seen))
        elif command == "PREPARE":
            self._prepared[_name(seen[1])] = _behind("AS", statement, seen)
        elif command in ("CREATE FUNCTION", "CREATE PROCEDURE"):
            strings = (t.text[1:-1].replace("''", "'") for t in seen if _is_plain_string(t))
            self._functions[_named(seen)] = ";\n".join([statement.text, *strings])
        elif command in ("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER"):
            after = list(dropwhile(lambda token: token.upper != "EXECUTE", seen))
            self._triggers.append((statement.text.lower(), _named(after)))
        elif command == "DO":
            for made, inside in _made_inside(seen):
                self._note(made, inside)

    def _source(self, called: frozenset[str], changed: Set[Relation]) -> str:
        """The bodies of all that may be called."""
        names = set(called)
        names |= {
            function for text, function in self._triggers if any(t.name.lower() in text for t in changed)
        }
        own: dict[str, str] = {}
        while found := {
            name: self._functions[name] for name in names if name in self._functions.keys() - own
        }:
            own |= found
            names = names.union(*map(called_names, found.values()))
        return ";\n".join([self._bodies(frozenset(names), changed), *own.values()])


def _made_inside(seen: list[Token]) -> Iterator[tuple[SqlStatement, list[Token]]]:
    """What the quotes of a block say that it makes, with the tokens of each."""
    for token in seen:
        body = dollar_body(token)
        if _is_plain_string(token):
            body = token.text[token.text.index("'") + 1 : -1].replace("''", "'")
        if body is None:
            continue
        inside: list[Token] = []
        with suppress(UnterminatedError):  # some other text
            inside = significant(list(tokens(body)))
        for place, first in enumerate(inside):
            if first.upper == "CREATE":
                of_it = list(takewhile(lambda each: each.text != ";", inside[place:]))
                text = body[first.start : of_it[-1].end]
                yield SqlStatement(text, 0, command_of(of_it)), of_it
        yield from _made_inside(inside)


def _behind(word: str, statement: SqlStatement, seen: list[Token]) -> str:
    """The statement's text behind that word; empty if there is none."""
    found = list(dropwhile(lambda token: token.upper != word, seen))[1:]
    return statement.text[found[0].start :] if found else ""


def _named(seen: list[Token]) -> str:
    """The name after FUNCTION or PROCEDURE, in lower case and without its schema; empty if there is none."""
    behind = list(dropwhile(lambda token: token.upper not in _CODE, seen))[1:]
    name = ""
    for token in behind:
        if token.text == "(":
            break
        name = _name(token)
    return name


def _name(token: Token) -> str:
    return token.text.strip('"').lower()


def _is_plain_string(token: Token) -> bool:
    return token.kind is TokenKind.STRING and dollar_body(token) is None
