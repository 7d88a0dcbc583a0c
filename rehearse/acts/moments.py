"""How a trial tells the outside where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rehearse.model.migration import MigrationState
from rehearse.model.record import PhaseSpan, Stage
from rehearse.model.workload import LiveTraffic


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a trial is. `length_s` is None where the phase's length is not known ahead; `blocked` sessions
    wait for locks.
    """

    stage: Stage
    since_ns: int
    length_s: float | None
    traffic: LiveTraffic
    blocked: int
    migration: MigrationState


class Watch(Protocol):
    """Told of every step of a trial; may raise to end it (a dead server)."""

    def entered(self, stage: Stage, phases: tuple[PhaseSpan, ...]) -> None:
        """A phase begins; `phases` are those that have ended."""

    def tick(self, moment: Moment) -> None:
        """Some ten times a second."""
