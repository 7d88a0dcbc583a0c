"""The lookout of a run: shows a person where it is, writes it down, and ends it when the server is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from rehearse.acts.moments import Moment
from rehearse.errors import ServerLostError
from rehearse.model.record import PhaseSpan, Stage, Trial, TrialKind
from rehearse.provision import Server
from rehearse.record.journal import Journal
from rehearse.report.live import LiveStatus

_ALIVE_EVERY_S = 1.0


class Lookout:
    """The `Watch` of a run's traffic trial."""

    def __init__(self, journal: Journal, server: Server, show: Callable[[LiveStatus], None]) -> None:
        self._journal = journal
        self._server = server
        self._show = show
        self._asked_ns = 0
        self._statement: int | None = None

    def entered(self, stage: Stage, phases: tuple[PhaseSpan, ...]) -> None:
        """A phase of the traffic trial begins."""
        self._statement = None  # a trial that is run again notes its statements again
        trial = Trial(kind=TrialKind.TRAFFIC, phases=phases)
        self._journal.update(stage=stage, trials=(trial,))

    def tick(self, moment: Moment) -> None:
        """Show where the trial is; raise if the server is gone; note which statement has begun."""
        now_ns = time.monotonic_ns()
        migration = moment.migration
        running = migration.statement is not None
        self._show(
            LiveStatus(
                moment.stage,
                elapsed_s=(now_ns - moment.since_ns) / 1e9,
                length_s=moment.length_s,
                traffic=moment.traffic,
                blocked=moment.blocked,
                statement=migration.text if running else "",
                statement_s=(now_ns - migration.started_ns) / 1e9 if running else None,
            )
        )
        if migration.statement != self._statement and migration.statement is not None:
            self._statement = migration.statement
            trial = self._journal.record.trials[0]
            note = f"statement {migration.statement + 1} of the migration had begun"
            self._journal.update(trials=(replace(trial, notes=(note,)),))
        if now_ns - self._asked_ns > _ALIVE_EVERY_S * 1e9:
            self._asked_ns = now_ns
            self.raise_if_dead(None)

    def raise_if_dead(self, cause: Exception | None) -> None:
        """ServerLostError, with the server's last words, if it is gone; `cause` is what it made fail."""
        if not self._server.alive():
            stage = self._journal.record.stage.value
            raise ServerLostError(
                f"the database server died in the stage {stage}: {self._server.last_words()}",
                f"what was measured is in {self._journal.folder.path}",
            ) from cause
