"""Statements as the log tells them: when, by which session, with which parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from rehearse.engines.postgres.command import Control, control_of, significant
from rehearse.engines.postgres.lexer import Token, tokens
from rehearse.workload.evidence.entry import LogEntry

_MESSAGE = re.compile(
    r"(?:duration: (?P<ms>[0-9]+\.[0-9]+) ms(?:  |\Z))?"
    r"(?:(?P<kind>statement|parse|bind|execute fetch from|execute)(?: (?P<name>[^\n]*?))?: (?P<text>.*))?\Z",
    re.DOTALL,
)
_PARAMETERS = re.compile(r"parameters: ", re.IGNORECASE)
_PARAMETER = re.compile(r"\$([0-9]+) = (?:NULL|'((?:[^']|'')*)')(?:, |\Z)")
_CONTROL_WORD = re.compile(r"\s*(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """One message of a client. `at_ns` (from the epoch) is when it began as far as the log can tell;
    `parameters` None: sent by the simple protocol. `whole` False: the values of its `$n` are not logged.
    """

    at_ns: int
    duration_ns: int | None
    text: str
    name: str = ""  # of the prepared statement; empty for an unnamed one
    parameters: tuple[str | None, ...] | None = None
    whole: bool = True

    @property
    def ended_ns(self) -> int:
        """When it ended; when it began, where the log does not say how long it took."""
        return self.at_ns + (self.duration_ns or 0)


class Ending(Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class LoggedTransaction:
    """One transaction, whole: BEGIN to COMMIT where it was an explicit one, else a single message."""

    session: str
    statements: tuple[LoggedStatement, ...]
    ending: Ending = Ending.COMMITTED
    failures: int = 0  # statements in it that the server refused, which are not among `statements`


@dataclass(frozen=True, slots=True)
class DurationOnly:
    """How long the statement that was logged before took."""

    duration_ns: int


def message_of(entry: LogEntry) -> LoggedStatement | DurationOnly | None:
    """What an entry of level LOG says of a statement; None where it says nothing that is of use."""
    match = _MESSAGE.match(entry.message)
    if match is None or not match.group():
        return None
    duration_ns = round(float(match["ms"]) * 1e6) if match["ms"] else None
    kind = match["kind"]
    if kind is None:
        return DurationOnly(duration_ns or 0)
    if kind not in {"statement", "execute"}:
        return None
    # the line is written when the statement has ended, if it says how long that took
    at_ns = entry.at_ns - (duration_ns or 0)
    if kind == "statement":
        return LoggedStatement(at_ns, duration_ns, match["text"])
    name = (match["name"] or "").partition("/")[0]
    name = "" if name == "<unnamed>" else name
    parameters = parameters_of(entry.detail)
    wanted = _highest(match["text"])
    return LoggedStatement(at_ns, duration_ns, match["text"], name, parameters, len(parameters) >= wanted)


def parameters_of(detail: str) -> tuple[str | None, ...]:
    """The values in `parameters: $1 = '...', $2 = NULL`; empty for any other text."""
    begin = _PARAMETERS.match(detail)
    found: list[str | None] = []
    position = begin.end() if begin else len(detail)
    while position < len(detail):
        match = _PARAMETER.match(detail, position)
        if match is None:
            return ()
        found.append(None if match[2] is None else match[2].replace("''", "'"))
        position = match.end()
    return tuple(found)


def _highest(text: str) -> int:
    if "$" not in text:
        return 0
    numbers = (token.text[1:] for token in tokens_or_none(text) or () if token.text[:1] == "$")
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def tokens_or_none(text: str) -> list[Token] | None:
    """The tokens of a statement, None where it is not whole."""
    try:
        return list(tokens(text))
    except ValueError:
        return None


def controls_of(text: str) -> tuple[int, list[Control]] | None:
    """How many statements a message has, and what they do to the transaction; None where it is not whole."""
    plain = ";" not in text.rstrip().rstrip(";") and not text.lstrip().startswith(("-", "/"))
    if plain and not _CONTROL_WORD.match(text):
        return (1, []) if _closed(text) else None
    found = pieces_of(text)
    if found is None:
        return None
    controls = [control for piece in found if (control := control_of(piece)) is not None]
    return len(found), controls


def pieces_of(text: str) -> list[list[Token]] | None:
    """The statements of a message as their significant tokens; None where it is not whole."""
    seen = tokens_or_none(text)
    if seen is None:
        return None
    pieces: list[list[Token]] = [[]]
    depth = 0
    for token in significant(seen):
        if token.is_symbol(";") and depth == 0:
            pieces.append([])
            continue
        depth += token.nesting
        if depth < 0:
            return None
        pieces[-1].append(token)
    return None if depth else [piece for piece in pieces if piece]


def _closed(text: str) -> bool:
    """Whether quotes and parentheses are closed; cheap where there are few of them."""
    if not any(mark in text for mark in "'\"$(/"):
        return True
    return pieces_of(text) is not None
