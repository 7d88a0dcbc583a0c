"""How a trial tells the outside where it is."""

from __future__ import annotations

from typing import Protocol

from rehearse.model.migration import MigrationState
from rehearse.model.record import PhaseSpan, Stage
from rehearse.model.workload import LiveTraffic


class Watch(Protocol):
    """Told of every step of a trial; may raise to end it (a dead server)."""

    def entered(self, stage: Stage, phases: tuple[PhaseSpan, ...]) -> None:
        """A phase begins; `phases` are those that have ended."""

    def tick(
        self,
        stage: Stage,
        since_ns: int,
        length_s: float | None,
        traffic: LiveTraffic,
        blocked: int,
        migration: MigrationState,
    ) -> None:
        """Some ten times a second. `length_s` is None where the phase's length is not known ahead."""
