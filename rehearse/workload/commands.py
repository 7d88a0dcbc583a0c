"""What a script in pgbench's language consists of: SQL statements and backslash commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from rehearse.engines.postgres.command import Control
from rehearse.workload.expression import Expression, Var, walk


class CaptureKind(Enum):
    """What is done with the rows of a statement."""

    GSET = "gset"  # exactly one row, whose columns become variables
    ASET = "aset"  # the last row of every result, if there is one


@dataclass(frozen=True, slots=True)
class Capture:
    """`\\gset [prefix]` or `\\aset [prefix]`."""

    kind: CaptureKind
    prefix: str


@dataclass(frozen=True, slots=True)
class Sql:
    """One statement. `parts` and `names` alternate: part, variable, part, ..., part.

    `index` counts the script's statements; `line` is 1-based; `control` says what it does to the
    transaction; `compound` that it is several statements in one (`\\;`).
    """

    index: int
    line: int
    parts: tuple[str, ...]
    names: tuple[str, ...]
    control: Control | None = None
    capture: Capture | None = None
    compound: bool = False

    @property
    def text(self) -> str:
        """The statement with its parameters as `$1`, `$2`, ..."""
        numbered = (f"${number}{part}" for number, part in enumerate(self.parts[1:], start=1))
        return self.parts[0] + "".join(numbered)


@dataclass(frozen=True, slots=True)
class Set:
    """`\\set name expression`."""

    line: int
    name: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class If:
    """`\\if` with its `\\elif`s and `\\else`: the first branch whose condition holds is performed."""

    line: int
    branches: tuple[tuple[Expression, tuple[Command, ...]], ...]
    otherwise: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """`\\sleep`: `amount` is a number or a variable, `unit_ns` what it counts."""

    line: int
    amount: Expression
    unit_ns: int


class PipelineStep(Enum):
    """`\\startpipeline`, `\\syncpipeline`, `\\endpipeline`."""

    START = "startpipeline"
    SYNC = "syncpipeline"
    END = "endpipeline"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A command that begins, synchronises or ends a pipeline."""

    line: int
    step: PipelineStep


Command = Sql | Set | If | Sleep | Pipeline


def flatten(commands: Sequence[Command]) -> Iterator[Command]:
    """Every command, those inside of conditions as well, in the order they are written."""
    for command in commands:
        yield command
        if isinstance(command, If):
            for _, inner in command.branches:
                yield from flatten(inner)
            yield from flatten(command.otherwise)


def parts_of(command: Command) -> Iterator[Expression]:
    """The expressions that stand in a command itself, and all that is in them."""
    if isinstance(command, Set):
        yield from walk(command.expression)
    elif isinstance(command, Sleep):
        yield from walk(command.amount)
    elif isinstance(command, If):
        for condition, _ in command.branches:
            yield from walk(condition)


def variables_of(command: Command) -> Iterator[str]:
    """The variables that a command itself reads."""
    if isinstance(command, Sql):
        yield from command.names
    else:
        yield from (part.name for part in parts_of(command) if isinstance(part, Var))
