"""SQL expressions as PostgreSQL's catalog prints them, taken apart as far as generation can use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


class NotUnderstoodError(ValueError):
    """The expression has a shape that this reader does not know. The server can still evaluate it."""


@dataclass(frozen=True, slots=True)
class Name:
    """A column; a domain's value is the column `value`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal by its text; None is NULL. Numbers and booleans are text as well."""

    text: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function call by the function's bare name, lower case."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class IsNull:
    """`operand IS NULL`, or IS NOT NULL where negated."""

    operand: Expression
    negated: bool


@dataclass(frozen=True, slots=True)
class Member:
    """`left operator ANY (items)`, or ALL."""

    left: Expression
    operator: str
    every: bool
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """`ARRAY[...]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: Expression


Expression: TypeAlias = Name | Constant | Call | Operation | IsNull | Member | Array | And | Or | Not

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>[EBXebx]?'(?:[^']|'')*')
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<symbol>::|[(),.\[\]])
    | (?P<operator>[-+*/<>=~!@\#%^&|`?:]+)
    )""",
    re.VERBOSE,
)
_COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">="})
# words that continue a type's name of several words
_TYPE_WORDS = frozenset({"varying", "precision", "without", "with", "time", "zone"})


# an operator whose schema is not on the search path
_QUALIFIED = re.compile(r'\bOPERATOR\((?:\w+|"(?:[^"]|"")+")\.([^\w\s()]+)\)')


def parse(text: str) -> Expression:
    """The expression, or a `CHECK (...)` clause as `pg_get_constraintdef` prints it.

    Raises NotUnderstoodError for what it does not know.
    """
    stripped = re.sub(r"\s+(?:NOT VALID|NO INHERIT|NOT ENFORCED)\s*$", "", text.strip())
    stripped = _QUALIFIED.sub(r" \1 ", stripped)
    reader = _Reader(_tokens(re.sub(r"^CHECK\s*(?=\()", "", stripped)))
    expression = reader.disjunction()
    if not reader.at_end:
        raise NotUnderstoodError(text)
    return expression


def names_in(expression: Expression) -> frozenset[str]:
    """The columns that an expression reads."""
    match expression:
        case Name(name):
            return frozenset({name})
        case Constant():
            return frozenset()
        case Call(_, items) | Array(items) | And(items) | Or(items):
            return frozenset().union(*map(names_in, items))
        case Operation(_, left, right):
            return names_in(left) | names_in(right)
        case IsNull(operand) | Not(operand):
            return names_in(operand)
        case Member(left, _, _, items):
            return names_in(left).union(*map(names_in, items))


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    place = 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise NotUnderstoodError(text)
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    return tokens


class _Reader:
    """Recursive descent, loosest operators first."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._tokens)

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._place += 1
        return token

    def _word(self, *words: str) -> bool:
        """Takes these keywords if they are next."""
        for ahead, word in enumerate(words):
            kind, text = self._peek(ahead)
            if kind != "word" or text.upper() != word:
                return False
        self._place += len(words)
        return True

    def _symbol(self, symbol: str) -> bool:
        if self._peek() == ("symbol", symbol):
            self._place += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._symbol(symbol):
            raise NotUnderstoodError(f"{symbol} expected, found {self._peek()[1]!r}")

    def disjunction(self) -> Expression:
        items = [self._conjunction()]
        while self._word("OR"):
            items.append(self._conjunction())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _conjunction(self) -> Expression:
        items = [self._negation()]
        while self._word("AND"):
            items.append(self._negation())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _negation(self) -> Expression:
        if self._word("NOT"):
            return Not(self._negation())
        return self._predicate()

    def _predicate(self) -> Expression:
        left = self._sum()
        kind, text = self._peek()
        if kind == "operator" and text in _COMPARISONS:
            self._next()
            left = self._comparison(left, "<>" if text == "!=" else text)
        if self._word("IS"):
            left = self._is(left)
        return left

    def _is(self, left: Expression) -> Expression:
        negated = self._word("NOT")
        if self._word("NULL"):
            return IsNull(left, negated)
        for word, value in (("TRUE", "true"), ("FALSE", "false")):
            if self._word(word):
                return Operation("<>" if negated else "=", left, Constant(value))
        if self._word("DISTINCT", "FROM"):
            return Operation("=" if negated else "<>", left, self._sum())
        raise NotUnderstoodError("IS")

    def _comparison(self, left: Expression, operator: str) -> Expression:
        for word in ("ANY", "ALL"):
            if self._word(word):
                self._expect("(")
                items = _items(self.disjunction())
                self._expect(")")
                return Member(left, operator, word == "ALL", items)
        return Operation(operator, left, self._sum())

    def _sum(self) -> Expression:
        left = self._factor()
        while True:
            kind, text = self._peek()
            if kind != "operator" or text in _COMPARISONS:
                return left
            self._next()
            left = self._comparison(left, text)

    def _factor(self) -> Expression:
        if self._peek() == ("operator", "-"):
            self._next()
            operand = self._factor()
            if isinstance(operand, Constant) and operand.text is not None:
                return Constant("-" + operand.text)
            raise NotUnderstoodError("unary minus")
        expression = self._atom()
        while self._symbol("::"):
            self._type()
        if self._peek() == ("symbol", "["):
            raise NotUnderstoodError("subscript")
        return expression

    def _type(self) -> None:
        """A type's name after `::`: read and dropped, the column's own type decides what a constant is."""
        kind, _ = self._next()
        if kind not in {"word", "quoted"}:
            raise NotUnderstoodError("type name")
        while self._symbol("."):
            self._next()
        self._type_modifier()
        while self._peek()[0] == "word" and self._peek()[1].lower() in _TYPE_WORDS:
            self._next()
            self._type_modifier()
        while self._symbol("["):
            self._expect("]")

    def _type_modifier(self) -> None:
        if self._symbol("("):
            while not self._symbol(")"):
                if self._next()[0] not in {"number", "symbol"}:
                    raise NotUnderstoodError("type modifier")

    def _atom(self) -> Expression:
        kind, text = self._next()
        if kind == "number":
            return Constant(text)
        if kind == "string":
            return Constant(_unquoted(text))
        if (kind, text) == ("symbol", "("):
            inner = self.disjunction()
            self._expect(")")
            return inner
        if kind == "quoted":
            name = text[1:-1].replace('""', '"')
            return self._call_or_name(name)
        if kind == "word":
            return self._keyword(text)
        raise NotUnderstoodError(text)

    def _keyword(self, text: str) -> Expression:
        upper = text.upper()
        if upper == "NULL":
            return Constant(None)
        if upper in {"TRUE", "FALSE"}:
            return Constant(text.lower())
        if upper == "ARRAY" and self._symbol("["):
            return Array(self._list("]"))
        if upper in {"CURRENT_DATE", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP"}:
            return Call("now", ())
        if upper == "TRIM" and self._symbol("("):
            if not self._word("BOTH", "FROM"):
                raise NotUnderstoodError("TRIM")
            return Call("btrim", self._list(")"))
        if upper in {"CASE", "EXTRACT", "ROW", "COLLATE", "EXISTS", "SELECT", "OVERLAY", "POSITION"}:
            raise NotUnderstoodError(text)
        return self._call_or_name(text)

    def _call_or_name(self, name: str) -> Expression:
        while self._symbol("."):  # a schema before a function's name
            kind, text = self._next()
            name = text[1:-1].replace('""', '"') if kind == "quoted" else text
        if self._symbol("("):
            return Call(name.lower(), self._list(")"))
        return Name("value" if name == "VALUE" else name)

    def _list(self, closing: str) -> tuple[Expression, ...]:
        items: list[Expression] = []
        while not self._symbol(closing):
            items.append(self.disjunction())
            if not self._symbol(",") and self._peek() != ("symbol", closing):
                raise NotUnderstoodError("list")
        return tuple(items)


def _items(expression: Expression) -> tuple[Expression, ...]:
    if isinstance(expression, Array):
        return expression.items
    if isinstance(expression, Constant) and expression.text is not None:
        inner = re.fullmatch(r"\{(.*)\}", expression.text, re.DOTALL)
        if inner:
            parts = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,]+)', inner.group(1))
            return tuple(Constant(re.sub(r"\\(.)", r"\1", quoted) or bare) for quoted, bare in parts)
    raise NotUnderstoodError("ANY")


def _unquoted(text: str) -> str:
    prefix, _, body = text.partition("'")
    value = body[:-1].replace("''", "'")
    return re.sub(r"\\\\", r"\\", value) if prefix in {"E", "e"} else value
