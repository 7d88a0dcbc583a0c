"""The server's own counts of the application's statements, in the baseline and in the recovery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.statement_counts import Connection, Counted, counted, shape
from rehearse.errors import ServerLostError
from rehearse.model.plans import CountedStatement, ServerCount
from rehearse.model.target import Target
from rehearse.workload.script import Script

_Counts = Mapping[str, Counted] | None


@dataclass(slots=True)
class ServerCounts:
    """Looks at the borders of phases, on a session of its own: in the database itself, or from `aside`, a
    database of a server of ours, where the extension can be made without changing what is rehearsed.
    """

    target: Target
    aside: Target | None = None
    looks: list[_Counts] = field(default_factory=list)
    _connection: Connection | None = None

    def look(self) -> None:
        """Once more; where the extension is not loaded, only the first time."""
        if self.looks and self.looks[-1] is None:
            return
        try:
            if self._connection is None:
                self._connection = connect(self.aside or self.target, "rehearse")
        except (psycopg.Error, ServerLostError):  # whoever needs the server says so
            self.looks.append(None)
            return
        self.looks.append(
            counted(self._connection, self.target.dbname, install=self.aside is not None and not self.looks)
        )

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    def compared(self, scripts: Iterable[Script]) -> tuple[CountedStatement, ...] | None:
        """Each statement that was counted in both phases, from four looks: at the start and the end of the
        baseline and of the recovery. None where nothing was counted.
        """
        if len(self.looks) != 4:
            return None
        known = [look for look in self.looks if look is not None]
        if len(known) < len(self.looks):
            return None
        found = []
        for script in scripts:
            for index, text in enumerate(script.statements):
                key, nothing = shape(text), Counted()
                at = [look.get(key, nothing) for look in known]
                before, after = at[1].since(at[0]), at[3].since(at[2])
                if before.calls and after.calls:
                    found.append(CountedStatement(script.name, index, _each(before), _each(after)))
        return tuple(found)


def _each(sums: Counted) -> ServerCount:
    return ServerCount(sums.calls, sums.ms / sums.calls / 1e3, sums.blocks / sums.calls)
