"""PostgreSQL's tokens, as far as taking a script apart needs them: quoted, comment, or neither.

The rules are those of psql's lexer (`psqlscan.l`), which differs from the server's in one thing: it reads
line by line, so that a literal continued on the next line is two, each under its own rules.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class TokenKind(Enum):
    """What a stretch of SQL is."""

    SPACE = "space"
    COMMENT = "comment"
    WORD = "word"
    QUOTED = "quoted identifier"
    STRING = "string"
    NUMBER = "number"
    VARIABLE = "variable"  # :name, :'name', :"name" of psql
    SYMBOL = "symbol"  # one character, or :: or :=
    GROUP = "group"  # (1, 'a', now) in one piece: no parentheses, comments or variables inside

    @property
    def significant(self) -> bool:
        """Whether the server's parser sees it."""
        return self is not TokenKind.SPACE and self is not TokenKind.COMMENT


_NESTING = {"(": 1, ")": -1}


class Token(NamedTuple):
    """`text` stands at `start` of the source (a 0-based offset in characters)."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset of the character after it."""
        return self.start + len(self.text)

    @property
    def upper(self) -> str:
        """A bare word in upper case; empty for anything else, so that `"select"` is no keyword."""
        return self.text.upper() if self.kind is TokenKind.WORD else ""

    @property
    def nesting(self) -> int:
        """1 for an opening parenthesis, -1 for a closing one, else 0."""
        return _NESTING.get(self.text, 0)

    def is_symbol(self, text: str) -> bool:
        """Whether it is that character, outside any quote."""
        return self.kind is TokenKind.SYMBOL and self.text == text


class UnterminatedError(ValueError):
    """A quote or comment that never ends: `what` it is and where it began."""

    def __init__(self, what: str, start: int) -> None:
        super().__init__(what, start)
        self.what = what
        self.start = start


_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\n\r\f\v]+)
  | (?P<line_comment>--[^\n\r]*)
  | (?P<block_comment>/\*)
  | (?P<string>(?:[eE]|[uU]&|[bBxXnN])?')
  | (?P<quoted>(?:[uU]&)?")
  | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)
  | (?P<word>[{_LETTER}][{_LETTER}0-9$]*)
  | (?P<number>\$[0-9]+|\.?[0-9][0-9A-Za-z_.]*)
  | (?P<pair>::|:=)
  | (?P<variable>:(?:[{_LETTER}0-9]+|'[{_LETTER}0-9]+'|"[{_LETTER}0-9]+"))
  | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS = {
    "space": TokenKind.SPACE,
    "line_comment": TokenKind.COMMENT,
    "word": TokenKind.WORD,
    "number": TokenKind.NUMBER,
    "pair": TokenKind.SYMBOL,
    "variable": TokenKind.VARIABLE,
    "symbol": TokenKind.SYMBOL,
}
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_PLAIN_STRING = re.compile(r"(?:[^']++|'')*+'")
_ESCAPE_STRING = re.compile(r"(?:[^'\\]++|''|\\.)*+'", re.DOTALL)
_QUOTED = re.compile(r'(?:[^"]++|"")*+"')

# a backslash is left out because it may or may not escape the quote after it
_GROUP = re.compile(r"\((?:[^()'\"$;\\:/\-]++|-(?!-)|/(?!\*)|::|'[^'\\]*+')*+\)")


def group_at(text: str, position: int) -> Token | None:
    """The parenthesised group that begins at `position`, if it is a plain one: what most rows of an INSERT
    are, taken whole because a seed file may have a million of them.
    """
    match = _GROUP.match(text, position)
    return Token(TokenKind.GROUP, match.group(), position) if match else None


def token_at(text: str, position: int, *, standard_strings: bool = True) -> Token:
    """The token that begins at `position`, which must lie inside the text.

    `standard_strings` is the server's setting `standard_conforming_strings`. Raises UnterminatedError.
    """
    match = _TOKEN.match(text, position)
    assert match is not None, "the last alternative takes any character"
    group = match.lastgroup or ""
    kind = _KINDS.get(group)
    if kind is not None:
        return Token(kind, match.group(), position)
    if group == "block_comment":
        return Token(TokenKind.COMMENT, text[position : _end_of_comment(text, position)], position)
    if group == "quoted":
        end = _end_of(_QUOTED, text, match.end(), position, "quoted identifier")
        return Token(TokenKind.QUOTED, text[position:end], position)
    if group == "dollar":
        return Token(TokenKind.STRING, text[position : _end_of_dollar(text, match)], position)
    plain = match.group()[0] in "uUbBxXnN" or (match.group() == "'" and standard_strings)
    rule = _PLAIN_STRING if plain else _ESCAPE_STRING
    end = _end_of(rule, text, match.end(), position, "quoted string")
    return Token(TokenKind.STRING, text[position:end], position)


def tokens(text: str, *, standard_strings: bool = True) -> Iterator[Token]:
    """All tokens of `text`, in order and without gaps. Raises UnterminatedError."""
    position = 0
    while position < len(text):
        token = token_at(text, position, standard_strings=standard_strings)
        yield token
        position = token.end


def words(text: str) -> Iterator[str]:
    """The bare words of `text` in upper case: nothing from strings, comments or quoted identifiers."""
    return (token.upper for token in tokens(text) if token.kind is TokenKind.WORD)


def dollar_body(token: Token) -> str | None:
    """What stands between the dollars of a dollar-quoted string, None for any other token."""
    if token.kind is not TokenKind.STRING or not token.text.startswith("$"):
        return None
    mark = token.text.index("$", 1) + 1
    return token.text[mark:-mark]


class Lines:
    """Turns offsets into 1-based line numbers."""

    __slots__ = ("_breaks",)

    def __init__(self, text: str) -> None:
        self._breaks = [match.start() for match in re.finditer(r"\n", text)]

    def of(self, offset: int) -> int:
        """The line that the character at `offset` stands on."""
        return bisect_right(self._breaks, offset - 1) + 1


def _end_of(rule: re.Pattern[str], text: str, inside: int, start: int, what: str) -> int:
    match = rule.match(text, inside)
    if match is None:
        raise UnterminatedError(what, start)
    return match.end()


def _end_of_dollar(text: str, opening: re.Match[str]) -> int:
    closing = text.find(opening.group(), opening.end())
    if closing < 0:
        raise UnterminatedError(f"dollar-quoted string {opening.group()}", opening.start())
    return closing + len(opening.group())


def _end_of_comment(text: str, start: int) -> int:
    """Comments nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise UnterminatedError("comment /*", start)
