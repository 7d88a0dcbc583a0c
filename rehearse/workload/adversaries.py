"""Company for the migration: sessions that hold a table open, each at its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from rehearse.engines.postgres.adversary import KINDS, Connection, Hold, Kind, find_table
from rehearse.engines.postgres.connect import connect
from rehearse.errors import EnvironmentFailure, ScenarioError
from rehearse.model.relation import Relation
from rehearse.model.scenario import AdversarySpec
from rehearse.model.target import Target

APPLICATION_NAME = "rehearse-adversary"

_LATE_NS = 100_000_000
_GIVE_UP_S = 5.0


class Adversaries:
    """The adversaries of one trial; `start` and `stop` once each (`stop` again gives the same answer).

    Their sessions are called "rehearse-adversary <kind>".
    """

    def __init__(self, target: Target, specs: Sequence[AdversarySpec]) -> None:
        self._target = target
        self._specs = tuple(specs)
        self._players: list[_Player] = []

    def check(self) -> tuple[Relation, ...]:
        """The tables they will stand on, in the order of `specs`; ScenarioError, with the nearest name, for
        a table or a kind that there is not.
        """
        for spec in self._specs:
            if spec.kind not in KINDS:
                raise ScenarioError(
                    f"unknown kind of adversary {spec.kind!r}", f"there are {', '.join(KINDS)}"
                )
        if not self._specs:
            return ()
        with connect(self._target, APPLICATION_NAME) as connection:
            return tuple(find_table(connection, spec.table) for spec in self._specs)

    def start(self, migration_start_ns: int) -> None:
        """Send each out, to take its stand `start_s` from `migration_start_ns`: at once if that is past.

        Raises what `check` does. Returns at once.
        """
        for spec, relation in zip(self._specs, self.check(), strict=True):
            self._players.append(_Player(self._target, spec, relation, migration_start_ns))
        for player in self._players:
            player.start()

    def stop(self) -> tuple[str, ...]:
        """End those that are still there; what a reader of the run should know about them, a sentence each:
        the times they held out, relative to the migration's planned start, and what went wrong.
        """
        for player in self._players:
            player.end()
        return tuple(player.note() for player in self._players)

    def missing(self) -> tuple[AdversarySpec, ...]:
        """After `stop`: those that never took their stand, so that nothing is known of what they would do."""
        return tuple(player.spec for player in self._players if not player.stood)


@dataclass(slots=True)
class _Times:
    """When an adversary took its stand and when it left; None: never."""

    taken_ns: int | None = None
    left_ns: int | None = None


class _Player:
    """One adversary in a thread of its own."""

    def __init__(self, target: Target, spec: AdversarySpec, relation: Relation, zero_ns: int) -> None:
        self._target = target
        self.spec = spec
        self._relation = relation
        self._zero_ns = zero_ns
        self._due_ns = zero_ns + round(spec.start_s * 1e9)
        self._times = _Times()
        self._ended = threading.Event()
        self._connection: Connection | None = None
        self._error = ""
        self._thread = threading.Thread(target=self._run, name=f"adversary {spec.kind}", daemon=True)

    @property
    def stood(self) -> bool:
        """Whether it ever held what it was to hold."""
        return self._times.taken_ns is not None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Make it leave. What it executes is cancelled until it has noticed: it may have been between two."""
        self._ended.set()
        give_up_ns = time.monotonic_ns() + round(_GIVE_UP_S * 1e9)
        while self._thread.is_alive() and time.monotonic_ns() < give_up_ns:
            if self._connection is not None and not self._connection.closed:
                with suppress(psycopg.Error):  # a server that is gone has ended it already
                    self._connection.cancel_safe(timeout=_GIVE_UP_S)
            self._thread.join(0.1)

    def note(self) -> str:
        """What became of it, in one sentence."""
        who = f"adversary {self.spec.kind} on {self._relation}"
        if self._times.taken_ns is None:
            return f"{who} never took its stand" + (f": {self._error}" if self._error else "")
        text = f"{who} stood from {self._relative(self._times.taken_ns)}"
        if self._times.left_ns is not None:
            text += f" to {self._relative(self._times.left_ns)}"
        text += " of the migration's planned start"
        if self._times.taken_ns - self._due_ns > _LATE_NS:
            text += f", late by {(self._times.taken_ns - self._due_ns) / 1e9:.1f} s"
        return text + (f"; it ended with: {self._error}" if self._error else "")

    def _relative(self, at_ns: int) -> str:
        return f"{(at_ns - self._zero_ns) / 1e9:+.1f} s"

    def _run(self) -> None:
        kind = KINDS[self.spec.kind]
        name = f"{APPLICATION_NAME} {self.spec.kind}"
        try:
            with connect(self._target, name) as connection:
                self._connection = connection
                self._hold(kind, connection, name)
        except (EnvironmentFailure, psycopg.Error) as error:
            # cancelled because it was told to end is how it is meant to be
            if not (self._ended.is_set() and isinstance(error, psycopg.errors.QueryCanceled)):
                self._error = _one_line(error)
        finally:
            if self._times.taken_ns is not None:
                self._times.left_ns = time.monotonic_ns()

    def _hold(self, kind: Kind, connection: Connection, name: str) -> None:
        watcher = connect(self._target, name) if kind.watched else None
        try:
            if self._ended.wait(max(0, self._due_ns - time.monotonic_ns()) / 1e9):
                return
            duration_s = self.spec.duration_s
            kind.play(Hold(connection, watcher, self._relation, duration_s, self._ended, self._taken))
            if not connection.closed:
                connection.rollback()
        finally:
            if watcher is not None:
                watcher.close()

    def _taken(self) -> None:
        self._times.taken_ns = time.monotonic_ns()


def _one_line(error: Exception) -> str:
    """The error's first line: those that follow it quote statements and rows."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or str(error).strip().partition("\n")[0]
