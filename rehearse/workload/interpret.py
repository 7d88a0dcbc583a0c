"""Performs a script command by command: a generator of what is to be done, that knows no socket.

It yields `Execute`, `Pause` or a `PipelineStep`, and is sent back the rows that an `Execute` wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rehearse.engines.postgres.wire import Execute, Rows, Value
from rehearse.model.workload import PoolKey
from rehearse.workload.commands import (
    Capture,
    CaptureKind,
    Command,
    If,
    Pipeline,
    PipelineStep,
    Set,
    Sleep,
    Sql,
)
from rehearse.workload.evaluate import (
    ExhaustedError,
    Lots,
    Scope,
    Tape,
    compile_expression,
)
from rehearse.workload.expression import Expression
from rehearse.workload.lots import DrawError
from rehearse.workload.operations import EvaluationError, from_text, truth


@dataclass(frozen=True, slots=True)
class Pause:
    """`\\sleep`."""

    length_ns: int


class CaptureError(Exception):
    """A `\\gset` got no row, or more than one; `sqlstate` is PL/pgSQL's for it."""

    def __init__(self, statement: int, rows: int) -> None:
        super().__init__(statement, rows)
        self.statement = statement
        self.sqlstate = "P0002" if rows == 0 else "P0003"


class UnsendableError(Exception):
    """The client has nothing to send: a pool ran out, or an expression has no value. `line` says where."""

    def __init__(self, line: int, reason: str, *, exhausted: bool) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason
        self.exhausted = exhausted


Action: TypeAlias = Execute | Pause | PipelineStep
Answer: TypeAlias = Sequence[Rows] | None
Performance: TypeAlias = Generator[Action, Answer, None]


class Interpreter:
    """One script, its expressions compiled, for the clients of one process."""

    def __init__(self, commands: Sequence[Command], lots: Lots) -> None:
        self._commands = commands
        self._lots = lots
        self._compiled: dict[int, Callable[[Scope], Value]] = {}

    def tape(self) -> Tape:
        """For a transaction that may have to be performed again with the same draws."""
        return Tape(self._lots)

    def perform(
        self,
        variables: dict[str, Value],
        draw: Callable[[PoolKey], bytes | None],
        tape: Tape | None = None,
    ) -> Performance:
        """One transaction. `variables` are the client's, and keep what is set in them.

        Raises CaptureError and UnsendableError.
        """
        yield from self._run(self._commands, Scope(variables, tape or self._lots, draw))

    def evaluate(self, command: Command, expression: Expression, scope: Scope) -> Value:
        """The value of an expression of `command`. Raises UnsendableError."""
        compiled = self._compiled.get(id(expression))
        if compiled is None:
            compiled = self._compiled[id(expression)] = compile_expression(expression)
        try:
            return compiled(scope)
        except (EvaluationError, DrawError) as error:
            raise UnsendableError(command.line, str(error), exhausted=False) from None
        except ExhaustedError as error:
            raise UnsendableError(command.line, f"{error} has no more rows", exhausted=True) from None

    def _run(self, commands: Sequence[Command], scope: Scope) -> Performance:
        for command in commands:
            if isinstance(command, Set):
                scope.variables[command.name] = self.evaluate(command, command.expression, scope)
            elif isinstance(command, Sql):
                yield from self._execute(command, scope)
            elif isinstance(command, If):
                yield from self._run(self._branch(command, scope), scope)
            elif isinstance(command, Sleep):
                yield Pause(self._length_ns(command, scope))
            elif isinstance(command, Pipeline):
                yield command.step

    def _execute(self, command: Sql, scope: Scope) -> Performance:
        values = tuple(scope.variables.get(name) for name in command.names)
        wants_rows = command.capture is not None
        answer = yield Execute(
            command.index, command.line, command.parts, values, command.control, wants_rows
        )
        if command.capture is not None:
            scope.variables.update(_captured(command.index, command.capture, answer or ()))

    def _branch(self, command: If, scope: Scope) -> Sequence[Command]:
        for condition, commands in command.branches:
            value = self.evaluate(command, condition, scope)
            try:
                if truth(value):
                    return commands
            except EvaluationError as error:
                raise UnsendableError(command.line, str(error), exhausted=False) from None
        return command.otherwise

    def _length_ns(self, command: Sleep, scope: Scope) -> int:
        value = self.evaluate(command, command.amount, scope)
        if isinstance(value, bytes):
            value = from_text(value)
        return max(0, round(value * command.unit_ns)) if isinstance(value, (int, float)) else 0


def _captured(statement: int, capture: Capture, answer: Sequence[Rows]) -> dict[str, Value]:
    """The variables that a result sets."""
    found: dict[str, Value] = {}
    for place, rows in enumerate(answer):
        if capture.kind is CaptureKind.GSET:
            if place < len(answer) - 1:
                continue
            if rows.count != 1:
                raise CaptureError(statement, rows.count)
        if rows.last is not None:
            found |= {capture.prefix + name: value for name, value in zip(rows.names, rows.last, strict=True)}
    return found
