"""What operators and functions of expressions make of values, as pgbench's do: 64-bit integers that overflow
with an error, doubles, texts that stand for numbers. NULL does not come here.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

import numpy as np

from rehearse.engines.postgres.wire import Value
from rehearse.workload import lots
from rehearse.workload.expression import INT_MAX, INT_MIN

Number = int | float
_INTEGER = re.compile(r"[-+]?[0-9]+")


class EvaluationError(ValueError):
    """An expression has no value: overflow, division by zero, a wrong type, an empty range."""


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


def number_of(value: Value) -> Number:
    """The number that `value` is or, as a text, stands for. Raises EvaluationError for booleans."""
    if isinstance(value, bytes):
        value = from_text(value)
    if value is None or isinstance(value, (bool, bytes)):
        raise EvaluationError("a number is needed here, not a boolean")
    return value


def integer_of(value: Value) -> int:
    """A number as integer: doubles are rounded to the nearest, halves to the even one."""
    number = number_of(value)
    if isinstance(number, float):
        if not math.isfinite(number):
            raise EvaluationError("a double that is no number does not fit into an integer")
        number = round(number)
    return _checked_integer(number)


def _checked_integer(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("the integer is out of range (64 bits)")
    return value


def checked(value: Number) -> Number:
    """`value`, if it is a double or fits into 64 bits. Raises EvaluationError."""
    return value if isinstance(value, float) else _checked_integer(value)


def _arithmetic(function: Callable[[Number, Number], Number]) -> Callable[[Value, Value], Value]:
    return lambda left, right: checked(function(number_of(left), number_of(right)))


def _divide(left: Value, right: Value) -> Value:
    dividend, divisor = number_of(left), number_of(right)
    if isinstance(dividend, int) and isinstance(divisor, int):
        if divisor == 0:
            raise EvaluationError("division by zero")
        quotient = abs(dividend) // abs(divisor)
        return _checked_integer(quotient if (dividend < 0) == (divisor < 0) else -quotient)
    return _ieee(np.divide, dividend, divisor)


def _modulo(left: Value, right: Value) -> Value:
    dividend, divisor = integer_of(left), integer_of(right)
    if divisor == 0:
        raise EvaluationError("division by zero")
    remainder = abs(dividend) % abs(divisor)
    return -remainder if dividend < 0 else remainder


def _shift(left: Value, right: Value) -> Value:
    """As the hardware does it: by the lowest six bits, bits that leave the 64 are lost."""
    value = integer_of(left) << (integer_of(right) & 63) & 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _ieee(function: np.ufunc, *arguments: Value) -> float:
    """Doubles as C computes them: infinities and NaN instead of errors."""
    with np.errstate(all="ignore"):
        return float(function(*(np.float64(number_of(argument)) for argument in arguments)))


def _double(function: np.ufunc) -> Callable[..., Value]:
    return lambda *arguments: _ieee(function, *arguments)


def _bits(function: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    return lambda left, right: function(integer_of(left), integer_of(right))


def _extreme(choose: Callable[[list[Number]], Number]) -> Callable[..., Value]:
    def extreme(*arguments: Value) -> Value:
        numbers = [number_of(argument) for argument in arguments]
        chosen = choose(numbers)
        return float(chosen) if any(isinstance(number, float) for number in numbers) else chosen

    return extreme


def _hash(function: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    return lambda value, seed: function(integer_of(value), integer_of(seed))


def _compare(function: Callable[[Number, Number], bool]) -> Callable[[Value, Value], Value]:
    return lambda left, right: function(number_of(left), number_of(right))


OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
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
SEEDED = {"hash": 2, "hash_murmur2": 2, "hash_fnv1a": 2, "permute": 3}
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": lambda value: checked(abs(number_of(value))),
    "double": lambda value: float(number_of(value)),
    "int": integer_of,
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
    "permute": lambda value, size, seed: lots.permute(integer_of(value), integer_of(size), integer_of(seed)),
    "pi": lambda: math.pi,
}
