"""The phases of the migration's work, as the server reported them while it was watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rehearse.engines.postgres.progress import Progress
from rehearse.model.migration import WorkPhase
from rehearse.model.relation import Relation

EVERY_NS = 100_000_000
MOST_KEPT = 500


class ProgressLog:
    """Puts reports of one and the same phase together. No clock, no database."""

    def __init__(self) -> None:
        self._phases: list[WorkPhase] = []
        self._due_ns = 0

    def due(self, now_ns: int) -> bool:
        """Whether to ask at `now_ns`; asking is not cheap enough for every look."""
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + EVERY_NS
        return True

    def add(
        self, statement: int, at_ns: int, reports: Iterable[Progress], names: Mapping[int, Relation]
    ) -> None:
        """What the server reported at `at_ns` of the session that executes `statement`."""
        for report in reports:
            seen = WorkPhase(
                statement=statement,
                command=report.command,
                table=names.get(report.oid),
                phase=report.phase,
                first_seen_ns=at_ns,
                last_seen_ns=at_ns,
                done=report.done,
                total=report.total,
            )
            if self._phases and _same(self._phases[-1], seen):
                seen = replace(seen, first_seen_ns=self._phases.pop().first_seen_ns)
            if len(self._phases) < MOST_KEPT:
                self._phases.append(seen)

    def phases(self) -> tuple[WorkPhase, ...]:
        """Those seen, in the order of time."""
        return tuple(self._phases)


def _same(known: WorkPhase, seen: WorkPhase) -> bool:
    return (known.statement, known.command, known.table, known.phase) == (
        seen.statement,
        seen.command,
        seen.table,
        seen.phase,
    )
