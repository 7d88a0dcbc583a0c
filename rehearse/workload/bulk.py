"""Draws the parameters of many transactions at once, for scripts that always send the same statements.

What can be is drawn with numpy; the rest is evaluated row by row. Either way a row of the result is what
one transaction sends, statement by statement, ready for libpq or, in envelopes, for the socket.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat, tee
from typing import TypeAlias

import numpy as np

from rehearse.engines.postgres.frames import Envelope, framed, framed_numbers
from rehearse.engines.postgres.wire import Execute, Value, to_literal, to_text
from rehearse.workload.commands import Set, Sql
from rehearse.workload.evaluate import Lots, draw_many
from rehearse.workload.expression import INT_MAX, INT_MIN, Binary, Call, Const, Draw, Expression, Var
from rehearse.workload.interpret import Interpreter, UnsendableError
from rehearse.workload.lots import Integers
from rehearse.workload.pools import FRESH, Pools
from rehearse.workload.script import Script

# what one statement is sent with: its parameters, or (simple protocol) its whole text; or, in an envelope,
# every byte of it
Load: TypeAlias = "list[bytes | None] | bytes | None"
Row: TypeAlias = tuple[Load, ...]
_FIRST, _MOST, _MOST_FRESH = 16, 1024, 32
_MINUS = ord("-")


@dataclass(frozen=True, slots=True)
class Vector:
    """An integer expression that numpy can compute without overflow: its bounds, and how."""

    low: int
    high: int
    make: Callable[[Mapping[str, Integers], int], Integers]


# one variable's values over a block of transactions, as parameters (framed, if they go into envelopes) or as
# literals
Column: TypeAlias = "Iterator[bytes | None] | Iterator[bytes]"


class Blocks:
    """The rows of one script for one process."""

    def __init__(
        self,
        script: Script,
        variables: Mapping[str, int],
        pools: Pools,
        rng: np.random.Generator,
        *,
        literal: bool,
    ) -> None:
        self._script = script
        self._variables = variables
        self._pools = pools
        self._rng = rng
        self._literal = literal
        self._steps = [command for command in script.commands if isinstance(command, (Set, Sql))]
        self._vectors = vectorise(self._steps, variables, rng)
        self._interpreter = Interpreter(script.commands, Lots(rng))
        self._places = Counter(
            name for command in self._steps if isinstance(command, Sql) for name in command.names
        )
        self._constants = self._places.keys() & variables.keys()
        self._takes_fresh = any(key.kind == FRESH for key in script.pool_keys)
        self._envelopes: Sequence[Envelope] | None = None
        self._size = _FIRST
        self._ahead: Iterator[Row | None] | None = None

    def rows(self, envelopes: Sequence[Envelope] | None = None) -> Iterator[Row | None]:
        """A row for each transaction, for ever; None where there is nothing to send. With `envelopes`, one
        a statement, it is in those.

        Blocks grow, so that a short run draws little ahead; those that take fresh rows stay small,
        because what is drawn ahead and not used is lost to other scripts.
        """
        self._envelopes = envelopes  # at once: a block may be drawn ahead before the first row is taken
        return self._endless()

    def _endless(self) -> Iterator[Row | None]:
        while True:
            if self._vectors is None:
                yield self._single()
                continue
            block, self._ahead = self._ahead or self._next_block(), None
            yield from block

    def draw_ahead(self) -> None:
        """Draw the next block now, when there is time. Not where scripts draw from common pools: what each of
        them gets must not depend on when there was time.
        """
        if self._ahead is None and self._vectors is not None and not self._script.pool_keys:
            self._ahead = self._next_block()

    def _next_block(self) -> Iterator[Row | None]:
        size = self._size
        self._size = min(2 * size, _MOST_FRESH if self._takes_fresh else _MOST)
        return self._block(size)

    def _single(self) -> Row | None:
        variables: dict[str, Value] = dict(self._variables)
        performance = self._interpreter.perform(variables, self._pools.transaction())
        try:
            return tuple(self._load(action) for action in performance if isinstance(action, Execute))
        except UnsendableError:
            return None

    def _load(self, action: Execute) -> Load:
        if self._envelopes is None:
            return action.literal if self._literal else action.parameters or None
        body = action.literal if self._literal else b"".join(map(framed, action.parameters))
        return self._envelopes[action.index].sealed([body])[0]

    def _block(self, size: int) -> Iterator[Row | None]:
        """Numbers are drawn here, for the whole block; all that Python makes of them is made row by row, as
        they are taken, so that no client has to wait while a block is written out.
        """
        assert self._vectors is not None
        drawn: dict[tuple[str, str], Integers] = {}
        for key in self._script.pool_keys:
            place = (key.kind, key.table)
            if place not in drawn:
                drawn[place] = self._pools.rows(key.kind, key.table, size)
        count = min([size, *(len(rows) for rows in drawn.values())])
        if not count:
            return repeat(None, size)
        numbers: dict[str, Integers] = {}
        columns: dict[str, Column] = {name: self._constant(name, count) for name in self._constants}
        statements: list[Iterable[Load]] = []
        for step in self._steps:
            if isinstance(step, Sql):
                envelope = self._envelopes[len(statements)] if self._envelopes else None
                taken = [self._taken(name, columns) for name in step.names]
                statements.append(self._loads(step, taken, count, envelope))
            elif isinstance(step.expression, Draw):
                key = step.expression.key
                rows = drawn[key.kind, key.table][:count].tolist()
                columns[step.name] = self._texts(map(self._pools.column(key).__getitem__, rows))
            else:
                numbers[step.name] = self._vectors[id(step)].make(numbers, count)
                if step.name in self._places:
                    columns[step.name] = self._numbers(numbers[step.name])
        return zip(*statements, strict=True)

    def _taken(self, name: str, columns: dict[str, Column]) -> Column:
        """A column for one place that it goes to; it stays for others, if there are any."""
        if self._places[name] == 1:
            return columns[name]
        columns[name], column = tee(columns[name])
        return column

    def _loads(
        self, step: Sql, columns: Sequence[Column], count: int, envelope: Envelope | None
    ) -> Iterable[Load]:
        if envelope is not None and not self._literal and len(columns) == 1:
            (bodies,) = columns
            return envelope.each(bodies)  # type: ignore[arg-type]  # framed: there is no None
        sent = zip(*columns, strict=True)
        if self._literal:
            texts = self._written(step, sent, count)
            return texts if envelope is None else envelope.each(texts)
        if envelope is None:
            return map(list, sent) if step.names else repeat(None, count)
        if not step.names:
            return repeat(envelope.sealed([b""])[0], count)
        return envelope.each(map(b"".join, sent))

    @staticmethod
    def _written(step: Sql, sent: Iterable[tuple[bytes | None, ...]], count: int) -> Iterable[bytes]:
        """The statement's text with each of the values."""
        parts = [part.encode() for part in step.parts]
        if not step.names:
            return repeat(parts[0], count)
        template = b"%b".join(part.replace(b"%", b"%%") for part in parts)
        return map(template.__mod__, sent)

    def _numbers(self, values: Integers) -> Column:
        if self._envelopes is not None and not self._literal:
            return framed_numbers(values.tolist())
        texts = map(b"%d".__mod__, values.tolist())
        if self._literal:
            return (b" " + text if text[0] == _MINUS else text for text in texts)
        return texts

    def _texts(self, values: Iterator[bytes | None]) -> Column:
        if self._literal:
            return map(to_literal, values)
        return values if self._envelopes is None else map(framed, values)

    def _constant(self, name: str, count: int) -> Column:
        value = self._variables[name]
        if self._literal:
            return repeat(to_literal(value), count)
        text = to_text(value)
        return repeat(text if self._envelopes is None else framed(text), count)


def vectorise(
    steps: Sequence[Set | Sql], variables: Mapping[str, int], rng: np.random.Generator
) -> dict[int, Vector] | None:
    """For each `\\set` by its id, how numpy computes it; None where one of them is beyond that."""
    known = {name: _fixed(value) for name, value in variables.items()}
    found: dict[int, Vector] = {}
    for step in steps:
        if not isinstance(step, Set):
            continue
        if isinstance(step.expression, Draw):
            known.pop(step.name, None)
            continue
        vector = _vector(step.expression, known, rng)
        if vector is None:
            return None
        found[id(step)] = vector
        known[step.name] = Vector(vector.low, vector.high, _reader(step.name))
    return found


def _reader(name: str) -> Callable[[Mapping[str, Integers], int], Integers]:
    return lambda numbers, _count: numbers[name]


def _fixed(value: int) -> Vector:
    return Vector(value, value, lambda _numbers, count: np.full(count, value, dtype=np.int64))


def _vector(expression: Expression, known: Mapping[str, Vector], rng: np.random.Generator) -> Vector | None:
    if isinstance(expression, Const):
        return _fixed(expression.value) if type(expression.value) is int else None
    if isinstance(expression, Var):
        return known.get(expression.name)
    if isinstance(expression, Binary):
        return _arithmetic(expression, known, rng)
    if isinstance(expression, Call) and expression.function.startswith("random"):
        return _random(expression, known, rng)
    return None


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _arithmetic(expression: Binary, known: Mapping[str, Vector], rng: np.random.Generator) -> Vector | None:
    left, right = _vector(expression.left, known, rng), _vector(expression.right, known, rng)
    function = _ARITHMETIC.get(expression.operator)
    if left is None or right is None or function is None:
        return None
    edges = [function(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    low, high = min(edges), max(edges)
    if low < INT_MIN or high > INT_MAX:
        return None
    first, second = left.make, right.make
    # the functions of `operator` serve arrays as well as numbers
    combine: Callable[[Integers, Integers], Integers] = function  # type: ignore[assignment]  # see above
    return Vector(low, high, lambda numbers, count: combine(first(numbers, count), second(numbers, count)))


def _random(expression: Call, known: Mapping[str, Vector], rng: np.random.Generator) -> Vector | None:
    bounds = [_vector(argument, known, rng) for argument in expression.arguments[:2]]
    shape = expression.arguments[2] if len(expression.arguments) > 2 else Const(0)
    if not isinstance(shape, Const) or isinstance(shape.value, bool) or shape.value is None:
        return None
    (low, high), parameter, name = bounds, float(shape.value), expression.function
    if low is None or high is None or low.low != low.high or high.low != high.high:
        return None
    least, most = low.low, high.low
    return Vector(least, most, lambda _numbers, count: draw_many(rng, name, least, most, parameter, count))
