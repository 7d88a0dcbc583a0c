"""A statement's shape: its text with the literals taken out, so that those of one kind are one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rehearse.engines.postgres.lexer import Token, TokenKind, dollar_body

# types that may stand before a quoted literal, as in DATE '2026-01-01', and with a length in parentheses
_TYPE_LIST = """
    DATE TIMESTAMP TIMESTAMPTZ TIME TIMETZ INTERVAL INET CIDR MACADDR UUID JSON JSONB NUMERIC
    DECIMAL INTEGER INT BIGINT SMALLINT BOOLEAN BYTEA POINT BOX TEXT VARCHAR CHAR BPCHAR XML TSQUERY
    TSVECTOR INT4RANGE INT8RANGE NUMRANGE TSRANGE TSTZRANGE DATERANGE MONEY REAL BIT FLOAT FLOAT4
    FLOAT8 INT2 INT4 INT8 CHARACTER VARYING VECTOR HALFVEC
"""
_TYPES = frozenset(_TYPE_LIST.split())
_BEFORE_OPERAND_LIST = """
    SELECT WHERE AND OR NOT ON WHEN THEN ELSE BETWEEN LIMIT OFFSET VALUES SET RETURNING IN BY HAVING
    DISTINCT LIKE ILIKE RETURN CASE ALL ANY AS FROM USING IS
"""
_BEFORE_OPERAND = frozenset(_BEFORE_OPERAND_LIST.split())
_OPERATORS = frozenset("+-*/%=<>!&|#^~@?(,[:")
_INTEGER = re.compile(r"[0-9]+\Z")
_PARAMETER = re.compile(r"\$[0-9]+\Z")
# a span of time is part of what a query means and nobody's data
_SPAN = re.compile(
    r"'-?[0-9]{1,6} ?(?:microsecond|millisecond|second|sec|minute|min|hour|day|week|month|mon|year)s?'\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value. `parameter` is N of `$N`, 0 for a literal; `cast` is the type that stood before
    a quoted literal; `number` marks a bare number, whose type the server knew.
    """

    parameter: int = 0
    cast: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece of a shape: text, or a slot where `slot` is not None. `spaced`: white space goes before it."""

    text: str
    spaced: bool
    kind: TokenKind
    slot: int | None = None

    @property
    def upper(self) -> str:
        """A bare word in upper case; empty for anything else."""
        return self.text.upper() if self.kind is TokenKind.WORD and self.slot is None else ""

    @property
    def identifier(self) -> str:
        """The name it stands for, as the catalog spells it; empty if it is none."""
        if self.kind is TokenKind.QUOTED:
            return self.text[1:-1].replace('""', '"')
        return self.text.lower() if self.kind is TokenKind.WORD and self.slot is None else ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A statement without its values."""

    atoms: tuple[Atom, ...]
    slots: tuple[Slot, ...]

    @property
    def text(self) -> str:
        """With `$1`, `$2`, ... for its slots in the order in which they stand."""
        return self.render([f"${number}" for number in range(1, len(self.slots) + 1)])

    @property
    def typed_text(self) -> str:
        """The same, with the types that stood before literals as casts."""
        casts = (f"::{slot.cast}" if slot.cast else "" for slot in self.slots)
        return self.render([f"${number}{cast}" for number, cast in enumerate(casts, start=1)])

    def render(self, values: Sequence[str]) -> str:
        """With `values` in its slots."""
        pieces = [
            (" " if atom.spaced else "") + (atom.text if atom.slot is None else values[atom.slot])
            for atom in self.atoms
        ]
        return "".join(pieces).strip()


class UnscriptableError(ValueError):
    """The statement cannot stand in a script; the message says why, without quoting it."""


def shape_of(
    piece: Sequence[Token], parameters: Sequence[str | None] | None
) -> tuple[Shape, list[str | None]]:
    """The shape of one statement (significant tokens, no semicolon), and the value of each slot.

    Raises UnscriptableError.
    """
    taker = _Taker(piece, parameters or ())
    taker.run()
    return Shape(tuple(taker.atoms), tuple(taker.slots)), taker.values


class _Taker:
    """One pass over the tokens of a statement."""

    def __init__(self, piece: Sequence[Token], parameters: Sequence[str | None]) -> None:
        self._piece = piece
        self._parameters = parameters
        self.atoms: list[Atom] = []
        self.slots: list[Slot] = []
        self.values: list[str | None] = []
        self._depth = 0
        self._fixed: list[int] = []  # depths at which bare numbers are positions of columns

    def run(self) -> None:
        for place, token in enumerate(self._piece):
            spaced = place > 0 and self._piece[place - 1].end != token.start
            self._take(token, spaced)

    def _take(self, token: Token, spaced: bool) -> None:
        if token.kind is TokenKind.STRING:
            self._string(token, spaced)
        elif token.kind is TokenKind.NUMBER:
            self._number(token, spaced)
        elif token.kind is TokenKind.VARIABLE:
            # `a[x:y]`, which a script would take for a variable of its own
            self.atoms.append(Atom(f": {token.text[1:]}", spaced, TokenKind.SYMBOL))
        elif token.is_symbol("\\"):
            raise UnscriptableError("it has a backslash outside of quotes")
        else:
            self._watch(token)
            self.atoms.append(Atom(token.text, spaced, token.kind))
            if token.text == ")":
                self._close_list()

    def _watch(self, token: Token) -> None:
        self._depth += token.nesting
        word = token.upper
        if word == "BY":
            self._fixed.append(self._depth)
        elif self._fixed and (
            self._depth < self._fixed[-1]
            or word in {"LIMIT", "HAVING", "ORDER", "OFFSET", "ROWS", "RANGE", "FOR"}
        ):
            self._fixed.pop()

    def _string(self, token: Token, spaced: bool) -> None:
        before = self.atoms[-1].upper if self.atoms else ""
        if before == "INTERVAL" and _SPAN.match(token.text):
            self.atoms.append(Atom(token.text, spaced, token.kind))
            return
        cast = before if before in _TYPES else ""
        if cast:
            spaced = self.atoms.pop().spaced
        self._add(Slot(cast=cast.lower()), _content(token), spaced)

    def _number(self, token: Token, spaced: bool) -> None:
        text = token.text
        if _PARAMETER.match(text):
            number = int(text[1:])
            value = self._parameters[number - 1] if number <= len(self._parameters) else None
            before = self.atoms[-1].upper if self.atoms else ""
            cast = before if before in _TYPES else ""  # statistics make `interval $1` of a literal
            if cast:
                spaced = self.atoms.pop().spaced
            self._add(Slot(parameter=number, cast=cast.lower()), value, spaced)
            return
        if self._stays():
            self.atoms.append(Atom(text, spaced, token.kind))
            return
        if self._is_negated():
            spaced = self.atoms.pop().spaced
            text = f"-{text}"
        self._add(Slot(number=True), text, spaced)

    def _stays(self) -> bool:
        """Whether a number is part of the statement: a column's position, a type's length."""
        last = self.atoms[-1] if self.atoms else None
        before = self.atoms[-2].upper if len(self.atoms) > 1 else ""
        if last is None:
            return False
        if self._fixed and self._fixed[-1] == self._depth and (last.upper == "BY" or last.text == ","):
            return True
        opened = before if last.text == "(" else ""
        if last.text == "," and len(self.atoms) > 3 and self.atoms[-3].text == "(":
            opened = self.atoms[-4].upper
        return opened in _TYPES or last.upper in {"FIRST", "NEXT"}

    def _is_negated(self) -> bool:
        if not self.atoms or self.atoms[-1].text != "-" or self.atoms[-1].slot is not None:
            return False
        before = self.atoms[-2] if len(self.atoms) > 1 else None
        return before is None or (
            before.slot is None and (before.text in _OPERATORS or before.upper in _BEFORE_OPERAND)
        )

    def _add(self, slot: Slot, value: str | None, spaced: bool) -> None:
        self.atoms.append(Atom("", spaced, TokenKind.NUMBER, len(self.slots)))
        self.slots.append(slot)
        self.values.append(value)

    def _close_list(self) -> None:
        """`IN (1, 2, 3)`: lists of 3 and of 4 are one shape, of 4."""
        start = len(self.atoms) - 2
        while start > 0 and (self.atoms[start].slot is not None or self.atoms[start].text == ","):
            start -= 1
        count = (len(self.atoms) - 1 - start) // 2
        listed = self.atoms[start + 1 : -1]
        if count < 3 or self.atoms[start].text != "(" or self.atoms[start - 1].upper != "IN":
            return
        if any(atom.slot is None for atom in listed[::2]):
            return
        closing = self.atoms.pop()
        wanted = 1 << (count - 1).bit_length()
        last = self.slots[-1], self.values[-1]
        for _ in range(wanted - count):
            self.atoms.append(Atom(",", False, TokenKind.SYMBOL))
            self._add(*last, True)
        self.atoms.append(closing)


def _content(token: Token) -> str:
    body = dollar_body(token)
    if body is not None:
        return body
    return token.text[token.text.index("'") + 1 : -1].replace("''", "'")
