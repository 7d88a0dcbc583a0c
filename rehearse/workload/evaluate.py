"""Evaluates expressions as pgbench does: 64-bit integers that overflow with an error, doubles, NULL.

An expression is compiled once to nested functions of a `Scope`. Where pgbench's program and its manual
differ (logical operators on numbers), the manual is followed.
"""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import NoReturn

import numpy as np

from rehearse.engines.postgres.wire import Value, to_text
from rehearse.model.workload import PoolKey
from rehearse.workload import lots
from rehearse.workload.expression import (
    INT_MAX,
    INT_MIN,
    Binary,
    Call,
    Case,
    Const,
    Draw,
    Expression,
    Is,
    Unary,
    Var,
)

Number = int | float
_BUFFERED = 256
_INTEGER = re.compile(r"[-+]?[0-9]+")


class EvaluationError(ValueError):
    """An expression has no value: overflow, division by zero, a wrong type, an empty range."""


class ExhaustedError(Exception):
    """A pool has no more rows to give."""


def _no_pools(key: PoolKey) -> NoReturn:
    raise EvaluationError(f"{key.kind}({key.table}.{key.column}) has no rows to draw from")


class Lots:
    """Random integers for one process, drawn ahead where a distribution is expensive to draw singly."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._ahead: dict[tuple[str, int, int, float], list[int]] = {}

    def draw(self, kind: str, low: int, high: int, parameter: float) -> int:
        """One integer of the distribution `kind`. Raises DrawError."""
        key = (kind, low, high, parameter)
        ahead = self._ahead.get(key)
        if not ahead:
            if len(self._ahead) > 1000:  # bounds that change all the time
                self._ahead.clear()
            ahead = self._ahead[key] = draw_many(self._rng, kind, low, high, parameter, _BUFFERED).tolist()
        return ahead.pop()


class Tape:
    """The draws of one transaction, so that it can be tried again with the same: after `rewind`, each draw
    with the same bounds and parameter has the value that it had before, in their order.
    """

    __slots__ = ("_drawn", "_lots", "_places")

    def __init__(self, lots: Lots) -> None:
        self._lots = lots
        self._drawn: dict[tuple[str, int, int, float], list[int]] = {}
        self._places: dict[tuple[str, int, int, float], int] = {}

    def draw(self, kind: str, low: int, high: int, parameter: float) -> int:
        """One integer of the distribution `kind`. Raises DrawError."""
        key = (kind, low, high, parameter)
        values, place = self._drawn.setdefault(key, []), self._places.get(key, 0)
        if place == len(values):
            values.append(self._lots.draw(kind, low, high, parameter))
        self._places[key] = place + 1
        return values[place]

    def rewind(self) -> None:
        """The transaction begins anew."""
        self._places.clear()


def draw_many(
    rng: np.random.Generator, kind: str, low: int, high: int, parameter: float, count: int
) -> lots.Integers:
    """`count` integers of pgbench's function `kind`; `parameter` is not used by `random`."""
    if kind == "random":
        return lots.uniform(rng, low, high, count)
    shaped = {
        "random_exponential": lots.exponential,
        "random_gaussian": lots.gaussian,
        "random_zipfian": lots.zipfian,
    }
    return shaped[kind](rng, low, high, parameter, count)


@dataclass(slots=True)
class Scope:
    """What an expression sees: variables, lots to draw, and the pools' rows of this transaction."""

    variables: dict[str, Value]
    lots: Lots | Tape
    draw: Callable[[PoolKey], bytes | None] = field(default=_no_pools)


Evaluator = Callable[[Scope], Value]


def from_text(value: bytes) -> int | float | bool | None:
    """What a text (a row's value, or a query's result) means in an expression."""
    text = value.decode(errors="replace").strip()
    word = text.lower()
    if word == "null":
        return None
    if word and ("true".startswith(word) or "yes".startswith(word) or word == "on"):
        return True
    if word and ("false".startswith(word) or "no".startswith(word) or word in {"off", "of"}):
        return False
    if _INTEGER.fullmatch(text):
        return _checked_integer(int(text))
    try:
        if "_" not in text:  # which Python would allow
            return float(text)
    except ValueError:
        pass
    raise EvaluationError("a text that is no number stands where a number is needed")


def truth(value: Value) -> bool:
    """Whether a condition holds: TRUE or a number other than zero; NULL does not."""
    if isinstance(value, bytes):
        value = from_text(value)
    return bool(value)


@singledispatch
def compile_expression(expression: Expression) -> Evaluator:
    """A function that evaluates `expression`; it raises EvaluationError, DrawError or ExhaustedError."""
    raise TypeError(type(expression))


@compile_expression.register
def _(expression: Const) -> Evaluator:
    value = expression.value
    return lambda _scope: value


@compile_expression.register
def _(expression: Var) -> Evaluator:
    name = expression.name

    def read(scope: Scope) -> Value:
        value = scope.variables.get(name)
        return None if isinstance(value, bytes) and value.lower() == b"null" else value

    return read


@compile_expression.register
def _(expression: Draw) -> Evaluator:
    key = expression.key
    return lambda scope: scope.draw(key)


@compile_expression.register
def _(expression: Unary) -> Evaluator:
    operand = compile_expression(expression.operand)
    if expression.operator == "not":

        def negation(scope: Scope) -> Value:
            value = operand(scope)
            return None if value is None else not truth(value)

        return negation
    if expression.operator == "~":
        return _strict(lambda value: ~_integer(value), operand)
    return _strict(lambda value: _checked(-_number(value)), operand)


@compile_expression.register
def _(expression: Binary) -> Evaluator:
    left, right = compile_expression(expression.left), compile_expression(expression.right)
    if expression.operator in {"and", "or"}:
        return _logical(expression.operator == "or", left, right)
    return _strict(_OPERATORS[expression.operator], left, right)


@compile_expression.register
def _(expression: Is) -> Evaluator:
    operand = compile_expression(expression.operand)
    wanted, negated = expression.value, expression.negated

    def test(scope: Scope) -> Value:
        value = operand(scope)
        if isinstance(value, bytes) and wanted is not None:
            value = from_text(value)
        return (value is wanted) != negated

    return test


@compile_expression.register
def _(expression: Case) -> Evaluator:
    branches = [(compile_expression(when), compile_expression(then)) for when, then in expression.branches]
    default = compile_expression(expression.default)

    def case(scope: Scope) -> Value:
        for condition, value in branches:
            if truth(condition(scope)):
                return value(scope)
        return default(scope)

    return case


@compile_expression.register
def _(expression: Call) -> Evaluator:
    arguments = [compile_expression(argument) for argument in expression.arguments]
    name = expression.function
    if name.startswith("random"):
        return _random(name, arguments)
    if name == "debug":
        return _debug(arguments[0])
    if name in _SEEDED and len(arguments) < _SEEDED[name]:
        arguments.append(compile_expression(Var("default_seed")))
    return _strict(_FUNCTIONS[name], *arguments)


def _strict(function: Callable[..., Value], *operands: Evaluator) -> Evaluator:
    """NULL in, NULL out."""

    def apply(scope: Scope) -> Value:
        values = [operand(scope) for operand in operands]
        return None if None in values else function(*values)

    return apply


def _logical(decisive: bool, left: Evaluator, right: Evaluator) -> Evaluator:
    """AND, OR: the right side is not looked at where the left one decides or is NULL."""

    def apply(scope: Scope) -> Value:
        first = left(scope)
        if first is None:
            return None
        if truth(first) is decisive:
            return decisive
        second = right(scope)
        return None if second is None else truth(second)

    return apply


def _random(name: str, arguments: list[Evaluator]) -> Evaluator:
    low, high, *rest = arguments

    def random(scope: Scope) -> Value:
        values = [low(scope), high(scope), *(argument(scope) for argument in rest)]
        if None in values:
            return None
        parameter = float(_number(values[2])) if rest else 0.0
        return scope.lots.draw(name, _integer(values[0]), _integer(values[1]), parameter)

    return random


def _debug(argument: Evaluator) -> Evaluator:
    def debug(scope: Scope) -> Value:
        value = argument(scope)
        text = to_text(value)
        sys.stderr.write(f"debug: {'null' if text is None else text.decode(errors='replace')}\n")
        return value

    return debug


def _number(value: Value) -> Number:
    if isinstance(value, bytes):
        value = from_text(value)
    if value is None or isinstance(value, (bool, bytes)):
        raise EvaluationError("a number is needed here, not a boolean")
    return value


def _integer(value: Value) -> int:
    """A number as integer: doubles are rounded to the nearest, halves to the even one."""
    number = _number(value)
    if isinstance(number, float):
        if not math.isfinite(number):
            raise EvaluationError("a double that is no number does not fit into an integer")
        number = round(number)
    return _checked_integer(number)


def _checked_integer(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("the integer is out of range (64 bits)")
    return value


def _checked(value: Number) -> Number:
    return value if isinstance(value, float) else _checked_integer(value)


def _arithmetic(function: Callable[[Number, Number], Number]) -> Callable[[Value, Value], Value]:
    return lambda left, right: _checked(function(_number(left), _number(right)))


def _divide(left: Value, right: Value) -> Value:
    dividend, divisor = _number(left), _number(right)
    if isinstance(dividend, int) and isinstance(divisor, int):
        if divisor == 0:
            raise EvaluationError("division by zero")
        quotient = abs(dividend) // abs(divisor)
        return _checked_integer(quotient if (dividend < 0) == (divisor < 0) else -quotient)
    return _ieee(np.divide, dividend, divisor)


def _modulo(left: Value, right: Value) -> Value:
    dividend, divisor = _integer(left), _integer(right)
    if divisor == 0:
        raise EvaluationError("division by zero")
    remainder = abs(dividend) % abs(divisor)
    return -remainder if dividend < 0 else remainder


def _shift(left: Value, right: Value) -> Value:
    """As the hardware does it: by the lowest six bits, bits that leave the 64 are lost."""
    value = _integer(left) << (_integer(right) & 63) & 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _ieee(function: np.ufunc, *arguments: Value) -> float:
    """Doubles as C computes them: infinities and NaN instead of errors."""
    with np.errstate(all="ignore"):
        return float(function(*(np.float64(_number(argument)) for argument in arguments)))


def _double(function: np.ufunc) -> Callable[..., Value]:
    return lambda *arguments: _ieee(function, *arguments)


def _bits(function: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    return lambda left, right: function(_integer(left), _integer(right))


def _extreme(choose: Callable[[list[Number]], Number]) -> Callable[..., Value]:
    def extreme(*arguments: Value) -> Value:
        numbers = [_number(argument) for argument in arguments]
        chosen = choose(numbers)
        return float(chosen) if any(isinstance(number, float) for number in numbers) else chosen

    return extreme


def _hash(function: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    return lambda value, seed: function(_integer(value), _integer(seed))


def _compare(function: Callable[[Number, Number], bool]) -> Callable[[Value, Value], Value]:
    return lambda left, right: function(_number(left), _number(right))


_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "+": _arithmetic(operator.add),
    "-": _arithmetic(operator.sub),
    "*": _arithmetic(operator.mul),
    "/": _divide,
    "%": _modulo,
    "|": _bits(operator.or_),
    "&": _bits(operator.and_),
    "#": _bits(operator.xor),
    "<<": _shift,
    ">>": _bits(lambda left, right: left >> (right & 63)),
    "=": _compare(operator.eq),
    "<>": _compare(operator.ne),
    "<": _compare(operator.lt),
    "<=": _compare(operator.le),
    ">": _compare(operator.gt),
    ">=": _compare(operator.ge),
}
# functions whose last argument is :default_seed where it is not given, and how many they take then
_SEEDED = {"hash": 2, "hash_murmur2": 2, "hash_fnv1a": 2, "permute": 3}
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": lambda value: _checked(abs(_number(value))),
    "double": lambda value: float(_number(value)),
    "int": _integer,
    "ln": _double(np.log),
    "exp": _double(np.exp),
    "sqrt": _double(np.sqrt),
    "pow": _double(np.power),
    "power": _double(np.power),
    "mod": _modulo,
    "least": _extreme(min),
    "greatest": _extreme(max),
    "hash": _hash(lots.hash_murmur2),
    "hash_murmur2": _hash(lots.hash_murmur2),
    "hash_fnv1a": _hash(lots.hash_fnv1a),
    "permute": lambda value, size, seed: lots.permute(_integer(value), _integer(size), _integer(seed)),
    "pi": lambda: math.pi,
}
