"""Expressions of pgbench's `\\set` and `\\if`: text to a frozen tree, and back.

Grammar and precedence are those of the pgbench manual ("Built-In Operators"); `sample(...)` and
`fresh(...)` are ours. Nothing is evaluated here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rehearse.model.workload import PoolKey

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class ExpressionError(ValueError):
    """The text is no expression; the message says why, and where that helps, what to write."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: int | float | bool | None

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "null" if self.value is None else repr(self.value)


@dataclass(frozen=True, slots=True)
class Var:
    """`:name`."""

    name: str

    def __str__(self) -> str:
        return f":{self.name}"


@dataclass(frozen=True, slots=True)
class Draw:
    """`sample(table.column)` or `fresh(table.column)`."""

    key: PoolKey

    def __str__(self) -> str:
        parts = [*self.key.table.split("."), self.key.column]
        return f"{self.key.kind}({'.'.join(_quote(part) for part in parts)})"


@dataclass(frozen=True, slots=True)
class Unary:
    """`-`, `~` or `not` before an operand."""

    operator: str
    operand: Expression

    def __str__(self) -> str:
        return f"({self.operator} {self.operand})"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands; `and` and `or` among them."""

    operator: str
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True, slots=True)
class Is:
    """`IS [NOT] NULL | TRUE | FALSE`; `value` is what it is compared with."""

    operand: Expression
    value: bool | None
    negated: bool

    def __str__(self) -> str:
        return f"({self.operand} is {'not ' if self.negated else ''}{Const(self.value)})"


@dataclass(frozen=True, slots=True)
class Case:
    """`CASE WHEN ... THEN ... [ELSE ...] END`; no ELSE is ELSE NULL."""

    branches: tuple[tuple[Expression, Expression], ...]
    default: Expression

    def __str__(self) -> str:
        branches = " ".join(f"when {condition} then {value}" for condition, value in self.branches)
        return f"case {branches} else {self.default} end"


@dataclass(frozen=True, slots=True)
class Call:
    """A function by its lower-case name; the number of arguments is right."""

    function: str
    arguments: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


Expression = Const | Var | Draw | Unary | Binary | Is | Case | Call

# name -> fewest and most arguments
FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("abs", "debug", "double", "int", "ln", "exp", "sqrt"), (1, 1)),
    **dict.fromkeys(("mod", "pow", "power", "random"), (2, 2)),
    **dict.fromkeys(("random_exponential", "random_gaussian", "random_zipfian"), (3, 3)),
    **dict.fromkeys(("hash", "hash_fnv1a", "hash_murmur2"), (1, 2)),
    **dict.fromkeys(("least", "greatest"), (1, 1000)),
    "permute": (2, 3),
    "pi": (0, 0),
}
_POOLS = ("sample", "fresh")
_KEYWORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "is",
        "isnull",
        "notnull",
        "null",
        "true",
        "false",
        "case",
        "when",
        "then",
        "else",
        "end",
    ]
)
_COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">="})
# binding power of what stands between operands: a higher one binds tighter
_OR, _AND, _NOT, _IS, _COMPARE, _BITS, _SUM, _PRODUCT, _SIGN = range(1, 10)
_POWERS: dict[str, int] = {
    "or": _OR,
    "and": _AND,
    "is": _IS,
    "isnull": _IS,
    "notnull": _IS,
    **dict.fromkeys(_COMPARISONS, _COMPARE),
    **dict.fromkeys(("|", "#", "&", "<<", ">>"), _BITS),
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "%"), _PRODUCT),
}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<double>(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)(?![A-Za-z0-9_])
    | (?P<int>[0-9]+)(?![A-Za-z0-9_])
    | (?P<variable>:[A-Za-z0-9_\x80-\U0010ffff]+)
    | (?P<name>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<symbol><<|>>|<>|!=|<=|>=|[-+*/%=<>|\#&~(),.])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """A keyword or symbol; empty for what carries a value."""
        return self.text.lower() if self.kind in {"name", "symbol"} else ""


def parse_expression(text: str) -> Expression:
    """The expression in `text`, all of it. Raises ExpressionError."""
    parser = _Parser(text)
    found = parser.expression(0)
    parser.expect_end()
    return found


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything in it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def children(expression: Expression) -> tuple[Expression, ...]:
    """The direct parts of an expression."""
    match expression:
        case Unary() | Is():
            return (expression.operand,)
        case Binary():
            return (expression.left, expression.right)
        case Case():
            return (*(part for branch in expression.branches for part in branch), expression.default)
        case Call():
            return expression.arguments
        case _:
            return ()


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0

    def expression(self, least: int) -> Expression:
        """An expression of operators that bind at least as tightly as `least`."""
        left = self._prefix()
        compared = False
        while (power := _POWERS.get(self._peek.word, 0)) >= max(least, 1):
            if power == _COMPARE:
                if compared:
                    raise ExpressionError("comparisons cannot be chained: use AND or parentheses")
                compared = True
            left = self._postfix(left) if power == _IS else self._infix(left, power)
        return left

    def expect_end(self) -> None:
        if self._peek.kind != "end":
            raise ExpressionError(f"{self._peek.text!r} is not expected here")

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._tokens[self._place]
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def _accept(self, word: str) -> bool:
        if self._peek.word != word:
            return False
        self._next()
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise ExpressionError(f"{word.upper()} is expected instead of {_named(self._peek)}")

    def _infix(self, left: Expression, power: int) -> Expression:
        operator = self._next().word
        return Binary("<>" if operator == "!=" else operator, left, self.expression(power + 1))

    def _postfix(self, left: Expression) -> Expression:
        word = self._next().word
        if word != "is":
            return Is(left, None, word == "notnull")
        negated = self._accept("not")
        values = {"null": None, "true": True, "false": False}
        word = self._next().word
        if word not in values:
            raise ExpressionError("IS takes NULL, TRUE or FALSE")
        return Is(left, values[word], negated)

    def _prefix(self) -> Expression:
        token = self._next()
        if token.kind == "variable":
            return Var(token.text[1:])
        if token.kind == "double":
            return Const(float(token.text))
        if token.kind == "int":
            return Const(_integer(int(token.text)))
        if token.kind == "name" and token.word not in _KEYWORDS:
            return self._call(token.text.lower())
        return self._word(token)

    def _word(self, token: _Token) -> Expression:
        constants = {"null": None, "true": True, "false": False}
        if token.word in constants:
            return Const(constants[token.word])
        prefixes: dict[str, Callable[[], Expression]] = {
            "(": self._parenthesised,
            "-": self._minus,
            "+": lambda: self.expression(_SIGN),
            "not": lambda: Unary("not", self.expression(_NOT)),
            "~": lambda: Unary("~", self.expression(_SUM)),
            "case": self._case,
        }
        if token.word not in prefixes:
            raise ExpressionError(f"{_named(token)} is not expected here")
        return prefixes[token.word]()

    def _parenthesised(self) -> Expression:
        inner = self.expression(0)
        self._expect(")")
        return inner

    def _minus(self) -> Expression:
        if self._peek.kind == "int":  # so that the smallest integer can be written
            return Const(_integer(-int(self._next().text)))
        operand = self.expression(_SIGN)
        if isinstance(operand, Const) and type(operand.value) is float and operand.value >= 0:
            return Const(-operand.value)
        return Unary("-", operand)

    def _case(self) -> Expression:
        branches = []
        while self._accept("when"):
            condition = self.expression(0)
            self._expect("then")
            branches.append((condition, self.expression(0)))
        if not branches:
            raise ExpressionError(f"WHEN is expected instead of {_named(self._peek)}")
        default = self.expression(0) if self._accept("else") else Const(None)
        self._expect("end")
        return Case(tuple(branches), default)

    def _call(self, name: str) -> Expression:
        if name not in FUNCTIONS and name not in _POOLS:
            near = difflib.get_close_matches(name, [*FUNCTIONS, *_POOLS], n=1)
            raise ExpressionError(
                f"there is no function {name}" + (f", did you mean {near[0]}?" if near else "")
            )
        self._expect("(")
        if name in _POOLS:
            return self._draw(name)
        arguments: list[Expression] = []
        while not self._accept(")"):
            if arguments:
                self._expect(",")
            arguments.append(self.expression(0))
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}" if most < 1000 else "at least 1"
            raise ExpressionError(f"{name} takes {wanted} arguments, not {len(arguments)}")
        return Call(name, tuple(arguments))

    def _draw(self, kind: str) -> Expression:
        parts = [self._identifier(kind)]
        while self._accept("."):
            parts.append(self._identifier(kind))
        self._expect(")")
        if not 2 <= len(parts) <= 3:
            raise ExpressionError(f"{kind} takes table.column or schema.table.column")
        return Draw(PoolKey(kind, ".".join(parts[:-1]), parts[-1]))

    def _identifier(self, kind: str) -> str:
        token = self._next()
        if token.kind == "quoted":
            return token.text[1:-1].replace('""', '"')
        if token.kind == "name":
            return token.text.lower()
        raise ExpressionError(f"{kind} takes table.column, and {_named(token)} is no name")


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            raise ExpressionError(f"{text[place:].split(maxsplit=1)[0]!r} cannot be read")
        kind = match.lastgroup or ""
        yield _Token(kind, match.group(kind))
        if kind == "end":
            return
        place = match.end()


def _named(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)


def _integer(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise ExpressionError(f"{value} does not fit into 64 bits")
    return value


def _quote(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'
