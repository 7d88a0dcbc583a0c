"""A script of the workload: what it sends, what it draws from, and how it is played."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rehearse.engines.postgres.wire import Execute, Rows, Value
from rehearse.errors import SqlFileError
from rehearse.model.workload import Pool, PoolKey, ScriptSource
from rehearse.workload.commands import Command, Sql, flatten, parts_of
from rehearse.workload.evaluate import Lots
from rehearse.workload.expression import Draw
from rehearse.workload.interpret import CaptureError, Interpreter, UnsendableError
from rehearse.workload.parser import parse_commands
from rehearse.workload.pools import Pools
from rehearse.workload.settings import Timeouts, timeouts_of
from rehearse.workload.variables import CLIENT_ID, default_variables

Play = Generator[Execute, Sequence[Rows] | None, None]


@dataclass(frozen=True, slots=True)
class Script:
    """One script of the mix. `file` is what errors name."""

    name: str
    weight: int
    file: str
    commands: tuple[Command, ...]
    timeouts: Timeouts = ()

    @property
    def sql(self) -> tuple[Sql, ...]:
        """Every SQL statement, in the order they are written."""
        return tuple(command for command in flatten(self.commands) if isinstance(command, Sql))

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements as they are sent, parameters as `$1`, `$2`, ..."""
        return tuple(statement.text for statement in self.sql)

    @property
    def pool_keys(self) -> frozenset[PoolKey]:
        """The columns that the script draws from."""
        found = (part for command in flatten(self.commands) for part in parts_of(command))
        return frozenset(part.key for part in found if isinstance(part, Draw))

    def play(self, pools: Sequence[Pool], variables: Iterable[tuple[str, int]], seed: int) -> Iterator[Play]:
        """Transactions, for ever: each yields the statements to be run, and is sent the rows of those that
        want them. Sleeps and pipelines are left out; one that comes to have nothing to send just ends.

        Raises SqlFileError where an expression has no value.
        """
        rng = np.random.default_rng(seed)
        drawn = Pools(pools, rng)
        interpreter = Interpreter(self.commands, Lots(rng))
        defaults: dict[str, Value] = {**default_variables(seed, variables), CLIENT_ID: 0}
        while True:
            yield self._transaction(interpreter, dict(defaults), drawn)

    def _transaction(self, interpreter: Interpreter, variables: dict[str, Value], pools: Pools) -> Play:
        performance = interpreter.perform(variables, pools.transaction())
        rows: Sequence[Rows] | None = None
        while True:
            try:
                action = performance.send(rows)
            except (StopIteration, CaptureError):
                return
            except UnsendableError as error:
                if error.exhausted:
                    return
                raise SqlFileError(self.file, error.line, error.reason) from None
            rows = (yield action) if isinstance(action, Execute) else None


def parse_script(source: ScriptSource) -> Script:
    """The script in `source`. Raises SqlFileError, naming the line."""
    file = source.file or source.name
    timeouts = timeouts_of(source.text, file)
    return Script(source.name, source.weight, file, parse_commands(source), timeouts)
