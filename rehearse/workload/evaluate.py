"""Evaluates expressions as pgbench does: 64-bit integers that overflow with an error, doubles, NULL.

An expression is compiled once to nested functions of a `Scope`. Where pgbench's program and its manual
differ (logical operators on numbers), the manual is followed.
"""

from __future__ import annotations

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
from rehearse.workload.operations import (
    FUNCTIONS,
    OPERATORS,
    SEEDED,
    EvaluationError,
    checked,
    from_text,
    integer_of,
    number_of,
    truth,
)

_BUFFERED = 256


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
        return _strict(lambda value: ~integer_of(value), operand)
    return _strict(lambda value: checked(-number_of(value)), operand)


@compile_expression.register
def _(expression: Binary) -> Evaluator:
    left, right = compile_expression(expression.left), compile_expression(expression.right)
    if expression.operator in {"and", "or"}:
        return _logical(expression.operator == "or", left, right)
    return _strict(OPERATORS[expression.operator], left, right)


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
    if name in SEEDED and len(arguments) < SEEDED[name]:
        arguments.append(compile_expression(Var("default_seed")))
    return _strict(FUNCTIONS[name], *arguments)


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
        parameter = float(number_of(values[2])) if rest else 0.0
        return scope.lots.draw(name, integer_of(values[0]), integer_of(values[1]), parameter)

    return random


def _debug(argument: Evaluator) -> Evaluator:
    def debug(scope: Scope) -> Value:
        value = argument(scope)
        text = to_text(value)
        sys.stderr.write(f"debug: {'null' if text is None else text.decode(errors='replace')}\n")
        return value

    return debug
