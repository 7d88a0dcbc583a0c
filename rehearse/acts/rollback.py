"""The rollback trial: up, down, and everything compared with the start; on request, down under traffic."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace

from rehearse.acts.contents import compare_contents
from rehearse.acts.drift import without_ledgers
from rehearse.acts.ledgers import without
from rehearse.acts.losses import count_losses
from rehearse.acts.moments import Moment
from rehearse.acts.traffic import TrafficSetup, TrafficTrial
from rehearse.acts.trial import TRIAL, TrialContext, quietly
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.differences import Objects, describe, differences
from rehearse.errors import ServerLostError
from rehearse.model.migration import MigrationRun
from rehearse.model.record import PhaseSpan, Stage, Trial
from rehearse.model.target import Target
from rehearse.model.trials import RollbackFacts, TableIntegrity, TrialKind, TrialsSpec

_ALIVE_EVERY_S = 1.0
_NO_DOWN = "there is no down migration: give one, [migration] down, or leave rollback out of [trials]"


def rollback(context: TrialContext) -> Trial:
    """Migrate a copy of the base there and back, and compare its schema and data with the base."""
    if not context.scenario.migration.down:
        return without_down(context.scenario.trials)
    facts, unmeasured = _in_quiet(context)
    trial = Trial(TrialKind.ROLLBACK, unmeasured=unmeasured, rollback=facts)
    wanted = context.scenario.trials.rollback_traffic
    return _under_traffic(context, trial) if wanted and unmeasured is None else trial


def without_down(trials: TrialsSpec) -> Trial:
    """The trial where there is no way back: nothing to try, or what was asked for and cannot be had."""
    if trials.must(TrialKind.ROLLBACK):
        return Trial(TrialKind.ROLLBACK, unmeasured=_NO_DOWN)
    return Trial(TrialKind.ROLLBACK, rollback=RollbackFacts(has_down=False))


def _in_quiet(context: TrialContext) -> tuple[RollbackFacts, str | None]:
    migration = context.scenario.migration
    target, up = _migrated(context)
    if up.failed is not None:
        why = f"the migration failed in quiet, {up.failed.whereabouts}: {up.failed.message}"
        return RollbackFacts(has_down=True, up=up), why
    context.on_status("rollback: down")
    down = quietly(target, migration.down, context.scenario)
    context.on_status("rollback: comparing with the start")
    base = context.base
    start, back, schema = _described(base.target), _described(target), base.schema
    if up.tool is not None:  # the table that it made for itself is meant to stay, and is its own affair
        start, back = without_ledgers(start), without_ledgers(back)
        schema = without(schema, base.ledgers)
    return RollbackFacts(
        has_down=True,
        up=up,
        down=down,
        schema=differences(start, back),
        tables=tuple(
            table for table in compare_contents(base.target, schema, target).tables if _differs(table)
        ),
    ), None


def _migrated(context: TrialContext) -> tuple[Target, MigrationRun]:
    """A copy that was migrated in quiet: that of the integrity trial, where it was the last."""
    last = context.done[-1] if context.done else None
    if last and last.kind is TrialKind.INTEGRITY and last.migration and last.migration.failed is None:
        return context.server.target.on(TRIAL), last.migration
    target = context.copy()
    return target, quietly(target, context.scenario.migration.up, context.scenario)


def _described(target: Target) -> Objects:
    with connect(target, "rehearse") as connection:
        return describe(connection)


def _differs(table: TableIntegrity) -> bool:
    changed = any(column.differences or column.after is None for column in table.columns)
    return changed or table.after is None or bool(table.lost or table.added)


def _under_traffic(context: TrialContext, trial: Trial) -> Trial:
    """`down` met by the traffic, on a copy that was brought up in quiet."""
    scenario = context.scenario
    target = context.copy()
    up = quietly(target, scenario.migration.up, scenario)
    if up.failed is not None:
        return replace(trial, unmeasured="the migration failed in quiet, before down could meet the traffic")
    way_back = replace(scenario, migration=replace(scenario.migration, up=scenario.migration.down, down=()))
    context.spool.mkdir(exist_ok=True)
    setup = TrafficSetup(target, way_back, context.cast.scripts, context.cast.pools, context.spool)
    try:
        measured, samples = TrafficTrial(setup, _Watch(context)).run()
        kept = None if context.keep is None else context.keep(samples, TrialKind.ROLLBACK)
    finally:
        shutil.rmtree(context.spool, ignore_errors=True)
    run = measured.migration
    return replace(
        measured,
        samples_file=kept,
        kind=TrialKind.ROLLBACK,
        migration=count_losses(context.base.target, run) if run else None,
        rollback=trial.rollback,
    )


@dataclass(slots=True)
class _Watch:
    """Says where the trial is, and ends it if the server is gone."""

    context: TrialContext
    asked_s: float = 0.0

    def entered(self, stage: Stage, phases: tuple[PhaseSpan, ...]) -> None:  # noqa: ARG002 - a Watch's
        """A phase begins."""
        self.context.on_status(f"rollback under traffic: {stage.value}")

    def tick(self, moment: Moment) -> None:  # noqa: ARG002 - a Watch's
        """Some ten times a second."""
        if time.monotonic() - self.asked_s > _ALIVE_EVERY_S:
            self.asked_s = time.monotonic()
            if not self.context.server.alive():
                raise ServerLostError(f"the database server died: {self.context.server.last_words()}")
