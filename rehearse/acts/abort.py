"""Gates that break the migration off: what is known while it runs is held against them, many times a second,
and as soon as one comes true its sessions are cancelled, and ended if they do not listen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import psycopg

from rehearse.engines.postgres.canceller import Canceller
from rehearse.errors import EnvironmentFailure, ServerLostError
from rehearse.judge.gates import holds
from rehearse.migrate.run import APPLICATION_NAME
from rehearse.model.gates import Aborted, Gate
from rehearse.model.migration import MigrationRun, MigrationState, StatementOutcome
from rehearse.model.target import Target
from rehearse.model.workload import LiveTraffic

# Of fewer transactions no rate of errors is told.
FEWEST_DUE = 50
_AGAIN_NS = 100_000_000  # a request that comes between two statements cancels nothing
_TERMINATE_NS = 5_000_000_000
_GIVE_UP_NS = 60_000_000_000
# query_canceled, admin_shutdown, connection_failure: what our own request makes of a statement
_OURS = frozenset({"57014", "57P01", "08006", None})


@dataclass(slots=True)
class LiveValues:
    """What the metrics of abort gates are at a moment of the migration, which began at `start_ns` with the
    traffic at `before`.
    """

    start_ns: int
    before: LiveTraffic
    answered: int = -1
    answered_ns: int = 0

    def at(self, now_ns: int, traffic: LiveTraffic, blocked: int) -> dict[str, float]:
        """By metric, in base units. To be asked again and again: when an answer last came is seen here."""
        answered = traffic.finished + traffic.failed
        waiting = traffic.in_flight + traffic.queued > 0
        if answered != self.answered or not waiting:
            self.answered, self.answered_ns = answered, now_ns
        silent_ns = now_ns - max(self.answered_ns, self.start_ns)
        oldest = traffic.oldest_in_flight_ns
        out_ns = 0 if oldest is None else now_ns - max(oldest, self.start_ns)
        failed = traffic.failed - self.before.failed
        due = traffic.due - self.before.due
        return {
            "stall.max": max(silent_ns, out_ns if blocked else 0) / 1e9,
            "latency.max": out_ns / 1e9,
            "errors.count": float(failed),
            "errors.rate": failed / due if due >= FEWEST_DUE else 0.0,
            "duration": (now_ns - self.start_ns) / 1e9,
        }


class Breaker:
    """Watches over one migration from `began` on, and breaks it off."""

    def __init__(self, gates: Sequence[Gate], target: Target) -> None:
        self._gates = gates
        self._target = target
        self._values: LiveValues | None = None
        self._canceller: Canceller | None = None
        self._asked_ns = 0
        self.aborted: Aborted | None = None

    def began(self, traffic: LiveTraffic) -> None:
        """The migration is about to begin. The session that would cancel it is opened now, while there is
        room for it.
        """
        self._values = LiveValues(time.monotonic_ns(), traffic)
        if self._gates:
            self._canceller = Canceller(self._target)

    def close(self) -> None:
        """Hang up."""
        if self._canceller is not None:
            self._canceller.close()

    def look(self, traffic: LiveTraffic, blocked: int, state: MigrationState) -> None:
        """Once more. Raises EnvironmentFailure where the migration cannot be ended."""
        if not self._gates or self._values is None:
            return
        now_ns = time.monotonic_ns()
        if self.aborted is None:
            values = self._values.at(now_ns, traffic, blocked)
            self.aborted = tripped(self._gates, values, now_ns)
        if self.aborted is not None and now_ns - self._asked_ns >= _AGAIN_NS:
            self._asked_ns = now_ns
            self._break_off(now_ns - self.aborted.at_ns, state)

    def _break_off(self, since_ns: int, state: MigrationState) -> None:
        if since_ns > _GIVE_UP_NS:
            raise EnvironmentFailure(
                f"the migration could not be broken off within {_GIVE_UP_NS // 1_000_000_000} s",
                "the server's log may say what it is doing",
            )
        with suppress(psycopg.Error, ServerLostError):  # asked again in a moment, by a new session
            if self._canceller is None:
                self._canceller = Canceller(self._target)
            if not self._canceller.end(APPLICATION_NAME, state.pid, terminate=since_ns > _TERMINATE_NS):
                self._canceller = None

    def noted(self, run: MigrationRun) -> MigrationRun:
        """`run`, whose statement that was broken off says so."""
        failed = run.failed
        if self.aborted is None or failed is None or failed.sqlstate not in _OURS:
            return run
        cancelled = replace(
            failed,
            outcome=StatementOutcome.CANCELLED,
            message=f"cancelled: the gate {self.aborted.gate} broke the migration off",
        )
        return replace(
            run, statements=tuple(cancelled if s.index == failed.index else s for s in run.statements)
        )


def tripped(gates: Sequence[Gate], values: dict[str, float], now_ns: int) -> Aborted | None:
    """The first of `gates` that is true of `values`."""
    for gate in gates:
        value = values[gate.metric.name]
        if holds(gate.comparison, value, gate.limit):
            return Aborted(gate.text, value, now_ns)
    return None
