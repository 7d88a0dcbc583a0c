"""What an act of a trial has to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rehearse.acts.casting import Cast
from rehearse.acts.loading import Base
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun, SqlFile
from rehearse.model.record import Trial
from rehearse.model.scenario import Scenario
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind
from rehearse.model.workload import SampleColumns
from rehearse.provision import Server

TRIAL = "rehearse_trial"


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What an act has to work with.

    `base` is the loaded database, which no trial may change; `cast` the traffic, ready to be sent. `spool`
    is a folder for what is measured meanwhile; `on_status` tells a person what goes on; `note` says what a
    reader of the report should know about the databases. `done` are the trials made so far; the database of
    the last of them is still there. `keep` puts samples into the run's folder, and says under which name.
    """

    server: Server
    base: Base
    cast: Cast
    scenario: Scenario
    spool: Path
    on_status: Callable[[str], None]
    note: Callable[[str], None]
    done: tuple[Trial, ...] = ()
    keep: Callable[[SampleColumns, TrialKind], str] | None = None

    @property
    def traffic(self) -> Trial | None:
        """The traffic trial, if it was made."""
        return next((trial for trial in self.done if trial.kind is TrialKind.TRAFFIC), None)

    def copy(self, name: str = TRIAL, *, of: str | None = None) -> Target:
        """A fresh copy of the base, or of the database `of`, in the place of the last one of that `name`
        (one of RUN_DATABASES).
        """
        drop_database(self.server.target, name)
        made = create_database(self.server.target, name, template=of or self.base.target.dbname)
        self.note(f"the trial's database was copied by {made}")
        return self.server.target.on(name)


def quietly(target: Target, files: tuple[SqlFile, ...], scenario: Scenario) -> MigrationRun:
    """Run `files` as the scenario sends its migration, with nobody else there."""
    spec = scenario.migration
    return run_migration(target, files, spec.transaction, timeout_s=spec.timeout_s, on_state=lambda _: None)
