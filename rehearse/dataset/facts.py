"""What CHECK constraints say about single columns, in a form that values can be made from.

A check becomes *alternatives*, each a tuple of atoms; a row that satisfies every atom of one of them
satisfies the check. A column without a fact about it may be anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from rehearse.dataset.expressions import (
    And,
    Call,
    Constant,
    Expression,
    IsNull,
    Member,
    Name,
    Not,
    NotUnderstoodError,
    Operation,
    Or,
)

NOW = "now"  # the bound of a column that is compared with the current time
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
_LENGTHS = frozenset({"length", "char_length", "character_length", "octet_length"})
_CLOCKS = frozenset({"now", "clock_timestamp", "transaction_timestamp", "statement_timestamp"})
_PATTERNS = {"~": "regex", "~*": "regex", "~~": "like", "~~*": "like"}
_MOST_ALTERNATIVES = 64


@dataclass(frozen=True, slots=True)
class Bound:
    """`value operator text`, where the operator is one of < <= > >=."""

    operator: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one column has to be like. The default says nothing.

    `intervals` are half-open [low, high) pieces, one of which has to hold the value; None: no end.
    """

    bounds: tuple[Bound, ...] = ()
    intervals: tuple[tuple[str | None, str | None], ...] = ()
    one_of: tuple[str, ...] | None = None
    none_of: frozenset[str] = frozenset()
    regexes: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int | None = None
    fold: str = ""  # lower, upper
    json: str = ""  # what jsonb_typeof says
    null: bool = False  # always NULL
    not_null: bool = False

    def also(self, other: Facts) -> Facts:
        """Both at once."""
        lengths = [n for n in (self.max_length, other.max_length) if n is not None]
        return Facts(
            bounds=tuple(dict.fromkeys(self.bounds + other.bounds)),
            intervals=self.intervals or other.intervals,
            one_of=_both(self.one_of, other.one_of),
            none_of=self.none_of | other.none_of,
            regexes=tuple(dict.fromkeys(self.regexes + other.regexes)),
            likes=tuple(dict.fromkeys(self.likes + other.likes)),
            min_length=max(self.min_length, other.min_length),
            max_length=min(lengths) if lengths else None,
            fold=self.fold or other.fold,
            json=self.json or other.json,
            null=self.null or other.null,
            not_null=self.not_null or other.not_null,
        )

    @property
    def contradictory(self) -> bool:
        """Whether no value can be like this, as far as that is plain to see."""
        if self.null:
            return self.not_null
        if self.one_of is not None and not set(self.one_of) - self.none_of:
            return True
        if self.max_length is not None and self.min_length > self.max_length:
            return True
        lows = [n for b in self.bounds if b.operator in {">", ">="} and (n := number(b.text)) is not None]
        highs = [n for b in self.bounds if b.operator in {"<", "<="} and (n := number(b.text)) is not None]
        return bool(lows and highs) and max(lows) > min(highs)


@dataclass(frozen=True, slots=True)
class Says:
    """A fact about one column."""

    column: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Before:
    """Column `low` is less than column `high` in the same row; `strict`: not even equal."""

    low: str
    high: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Differs:
    """Columns `left` and `right` are not equal in the same row."""

    left: str
    right: str


Atom: TypeAlias = Says | Before | Differs
Alternative: TypeAlias = tuple[Atom, ...]


def number(text: str) -> Decimal | None:
    """The number that a constant spells, if it spells one."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def alternatives(expression: Expression) -> tuple[Alternative, ...]:
    """The ways to satisfy `expression`, the most natural first. Raises NotUnderstoodError."""
    return tuple(sorted(_ways(expression), key=_strangeness))


def consistent(facts: Iterable[Facts]) -> bool:
    """Whether every column's facts can hold."""
    return not any(f.contradictory for f in facts)


def _strangeness(alternative: Alternative) -> int:
    """A column that is always NULL, or always one value, is a last resort."""
    says = [atom.facts for atom in alternative if isinstance(atom, Says)]
    return sum(2 * f.null + (f.one_of is not None and len(f.one_of) == 1) for f in says)


def _ways(expression: Expression) -> list[Alternative]:  # noqa: C901, PLR0911 - one arm a shape
    match expression:
        case And(items):
            return _all_of([_ways(item) for item in items])
        case Or(items):
            return list(_any_of(items))
        case Not(operand):
            return _ways(_negated(operand))
        case IsNull(Name(column), negated):
            return [(Says(column, Facts(not_null=True) if negated else Facts(null=True)),)]
        case Name(column):
            return [(Says(column, Facts(one_of=("true",))),)]
        case Constant("true"):
            return [()]
        case Member(left, operator, every, items):
            return [(_member(left, operator, items, every=every),)]
        case Operation("=" | "<>" as operator, IsNull() as left, IsNull() as right):
            return _agreement(left, right, same=operator == "=")
        case Operation("=" | ">=" | ">" as operator, Call("num_nonnulls" | "num_nulls"), Constant()):
            return _counted(expression, operator)
        case Operation(operator, left, right):
            return [(_comparison(operator, left, right),)]
        case _:
            raise NotUnderstoodError(repr(expression))


def _all_of(parts: list[list[Alternative]]) -> list[Alternative]:
    ways: list[Alternative] = [()]
    for part in parts:
        ways = [way + more for way in ways for more in part][:_MOST_ALTERNATIVES]
    return ways


def _any_of(items: Iterable[Expression]) -> Iterator[Alternative]:
    """The understood branches of an OR: any one of them is enough."""
    found = False
    for item in items:
        try:
            ways = _ways(item)
        except NotUnderstoodError:
            continue
        found = True
        yield from ways
    if not found:
        raise NotUnderstoodError("OR")


def _negated(expression: Expression) -> Expression:  # noqa: PLR0911 - one arm a shape
    match expression:
        case IsNull(operand, negated):
            return IsNull(operand, not negated)
        case Operation(operator, left, right) if operator in _OPPOSITE:
            return Operation(_OPPOSITE[operator], left, right)
        case Not(operand):
            return operand
        case Name():
            return Operation("=", expression, Constant("false"))
        case And(items):
            return Or(tuple(_negated(item) for item in items))
        case Or(items):
            return And(tuple(_negated(item) for item in items))
        case Member(left, operator, every, items) if operator in {"=", "<>"}:
            return Member(left, _OPPOSITE[operator], not every, items)
        case _:
            raise NotUnderstoodError(repr(expression))


def _member(left: Expression, operator: str, items: tuple[Expression, ...], *, every: bool) -> Says:
    texts = tuple(item.text for item in items if isinstance(item, Constant) and item.text is not None)
    if len(texts) < len(items) or not texts:
        raise NotUnderstoodError("ANY")
    column, fold = _column(left)
    if operator == "=" and not every:
        return Says(column, Facts(one_of=tuple(dict.fromkeys(texts)), fold=fold))
    if operator == "<>" and every and not fold:
        return Says(column, Facts(none_of=frozenset(texts)))
    raise NotUnderstoodError("ANY")


def _column(expression: Expression) -> tuple[str, str]:
    """The column that is meant, and the case it is brought to, if it is."""
    match expression:
        case Name(name):
            return name, ""
        case Call("lower" | "upper" as fold, (Name(name),)):
            return name, fold
        case Call("btrim" | "ltrim" | "rtrim", (Name(name),)):
            return name, ""  # generated text has no blanks round it
        case _:
            raise NotUnderstoodError(repr(expression))


def _agreement(left: IsNull, right: IsNull, *, same: bool) -> list[Alternative]:
    """`(a IS NULL) = (b IS NULL)` and its like."""
    if not (isinstance(left.operand, Name) and isinstance(right.operand, Name)):
        raise NotUnderstoodError("IS NULL")
    same ^= left.negated != right.negated
    columns = left.operand.name, right.operand.name
    choices = [(False, False), (True, True)] if same else [(False, True), (True, False)]
    return [
        tuple(Says(c, Facts(null=null, not_null=not null)) for c, null in zip(columns, nulls, strict=True))
        for nulls in choices
    ]


def _counted(expression: Operation, operator: str) -> list[Alternative]:
    """`num_nonnulls(a, b, c) = 1` and its like."""
    match expression:
        case Operation(_, Call(function, arguments), Constant(str(text))) if text.isdigit():
            columns = [argument.name for argument in arguments if isinstance(argument, Name)]
            filled = int(text) + (operator == ">")
            if function == "num_nulls":
                if operator != "=":
                    raise NotUnderstoodError(function)
                filled = len(columns) - filled
            if len(columns) == len(arguments) and 0 <= filled <= len(columns):
                return [_rotation(columns, shift, filled) for shift in range(len(columns))]
    raise NotUnderstoodError("num_nonnulls")


def _rotation(columns: list[str], shift: int, filled: int) -> Alternative:
    turned = columns[shift:] + columns[:shift]
    return tuple(
        Says(column, Facts(not_null=place < filled, null=place >= filled))
        for place, column in enumerate(turned)
    )


def _comparison(operator: str, left: Expression, right: Expression) -> Atom:  # noqa: C901, PLR0911 - as above
    if isinstance(left, Constant) or (isinstance(left, Call) and left.function in _CLOCKS):
        if operator not in _FLIPPED:
            raise NotUnderstoodError(operator)
        return _comparison(_FLIPPED[operator], right, left)
    match left, right:
        case Name(low), Name(high) if operator in {"<", "<=", ">", ">="}:
            if operator in {">", ">="}:
                low, high = high, low
            return Before(low, high, strict="=" not in operator)
        case Name(one), Name(other) if operator == "<>":
            return Differs(one, other)
        case (Name(name), Call("lower" | "upper" as case, (Name(same),))) | (
            Call("lower" | "upper" as case, (Name(name),)),
            Name(same),
        ) if name == same and operator == "=":
            return Says(name, Facts(fold=case))
        case Name(name), Call(function, ()) if function in _CLOCKS and operator in {"<", "<=", ">", ">="}:
            return Says(name, Facts(bounds=(Bound(operator, NOW),)))
        case Call(function, (Name() | Call() as inner,)), Constant(str(text)) if function in _LENGTHS:
            return Says(_column(inner)[0], _length(operator, text))
        case Call("jsonb_typeof" | "json_typeof", (Name(name),)), Constant(str(text)) if operator == "=":
            return Says(name, Facts(json=text))
        case _, Constant(str(text)):
            column, fold = _column(left)
            return Says(column, replace(_against(operator, text), fold=fold))
        case _:
            raise NotUnderstoodError(repr((operator, left, right)))


def _against(operator: str, text: str) -> Facts:
    """`column operator 'text'`."""
    if operator == "=":
        return Facts(one_of=(text,))
    if operator == "<>":
        return Facts(none_of=frozenset({text}), min_length=0 if text else 1)
    if operator in {"<", "<=", ">", ">="}:
        return Facts(bounds=(Bound(operator, text),))
    if operator in _PATTERNS:
        return Facts(regexes=(text,)) if _PATTERNS[operator] == "regex" else Facts(likes=(text,))
    raise NotUnderstoodError(operator)


def _length(operator: str, text: str) -> Facts:
    value = number(text)
    if value is None or operator not in _FLIPPED:
        raise NotUnderstoodError("length")
    length = int(value)
    return {
        "<": Facts(max_length=length - 1),
        "<=": Facts(max_length=length),
        ">": Facts(min_length=length + 1),
        ">=": Facts(min_length=length),
        "=": Facts(min_length=length, max_length=length),
        "<>": Facts(min_length=length + 1),
    }[operator]


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return one if other is None else other
    return tuple(item for item in one if item in other)
