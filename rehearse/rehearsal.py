"""The conductor: the acts of a rehearsal, in order.

Provision a database, load a dataset, make the traffic ready, run the traffic trial, judge. Every step is
in the record before the next begins, so that a run that dies leaves what it had measured.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rehearse.acts.casting import Cast, footprints, make_cast
from rehearse.acts.loading import BASE, Base, build_base
from rehearse.acts.losses import count_losses
from rehearse.acts.steadiness import deciding, enough
from rehearse.acts.traffic import TrafficSetup, TrafficTrial
from rehearse.dataset.load import LoadProgress
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import InterruptedRunError, RehearseError, ServerLostError
from rehearse.judge.judge import judge
from rehearse.model.migration import MigrationState
from rehearse.model.record import SCHEMA_VERSION, PhaseSpan, RunRecord, Stage, Trial, TrialKind
from rehearse.model.scenario import Scenario
from rehearse.model.verdict import Judgement
from rehearse.model.workload import LiveTraffic, SampleColumns
from rehearse.provision import Server, provision
from rehearse.record.folder import RunFolder, utc_now
from rehearse.record.journal import Journal
from rehearse.report.live import LiveStatus
from rehearse.scenario.redact import redact

TRIAL = "rehearse_trial"
_ALIVE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a finished run leaves: its record, its samples, and the folder that holds both."""

    record: RunRecord
    samples: SampleColumns | None
    folder: RunFolder


def rehearse(
    scenario: Scenario, out: Path, *, disposable: str | None, on_status: Callable[[LiveStatus], None]
) -> Rehearsal:
    """Run `scenario` and write its record under `out`. Errors are noted in the record, then raised."""
    started = utc_now()
    folder = RunFolder.create(out, scenario.name, started)
    record = RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=uuid.uuid4().hex[:12],
        started_at=started.isoformat(timespec="seconds"),
        origin_ns=time.monotonic_ns(),
        stage=Stage.PROVISION,
        scenario=redact(scenario),
    )
    journal = Journal(folder, record)
    try:
        samples = _Run(scenario, journal, disposable, on_status).perform()
    except RehearseError as error:
        journal.fail(str(error))
        raise
    except KeyboardInterrupt:
        journal.fail(f"interrupted in the stage {journal.record.stage.value}")
        raise InterruptedRunError(
            f"interrupted in the stage {journal.record.stage.value}", f"what was measured is in {folder.path}"
        ) from None
    except Exception as error:
        journal.fail(f"a defect of Rehearse itself: {type(error).__name__}")
        raise
    return Rehearsal(journal.record, samples, folder)


class _Run:
    """One rehearsal under way. `entered` and `tick` make it the watch of its trial."""

    def __init__(
        self,
        scenario: Scenario,
        journal: Journal,
        disposable: str | None,
        on_status: Callable[[LiveStatus], None],
    ) -> None:
        self._scenario = scenario
        self._journal = journal
        self._disposable = disposable
        self._show = on_status
        self._server: Server | None = None
        self._asked_ns = 0
        self._statement: int | None = None

    def perform(self) -> SampleColumns:
        """All acts; the judgement is in the journal's record afterwards."""
        with ExitStack() as stack:
            self._show(LiveStatus(Stage.PROVISION, f"starting {self._scenario.database.engine.value}"))
            server = stack.enter_context(provision(self._scenario.database, disposable=self._disposable))
            self._server = server
            self._journal.update(environment=server.environment, stage=Stage.LOAD)
            try:
                base, cast = self._prepare(server, stack)
                return self._traffic(server, base, cast)
            except Exception as error:
                self._raise_if_dead(error)
                raise

    def _prepare(self, server: Server, stack: ExitStack) -> tuple[Base, Cast]:
        self._show(LiveStatus(Stage.LOAD, "applying the schema"))
        for name in (BASE, TRIAL):
            stack.callback(_drop_quietly, server, name)
        base = build_base(server.target, self._scenario, self._loading)
        self._journal.update(stage=Stage.PREPARE, dataset=base.facts, tables=base.tables)
        self._show(LiveStatus(Stage.PREPARE, "making the traffic ready"))
        cast = make_cast(base, self._scenario)
        self._journal.update(scripts=cast.infos)
        return base, cast

    def _traffic(self, server: Server, base: Base, cast: Cast) -> SampleColumns:
        """Trials until the verdict does not rest on the machine's mood; the record keeps the deciding one."""
        tried: list[tuple[Trial, SampleColumns]] = []
        judgements: list[Judgement] = []
        while not judgements or not enough(judgements):
            tried.append(self._trial(server, base, cast))
            judgements.append(self._conclude(*tried[-1]))
        place = deciding(judgements)
        (trial, samples), judgement = tried[place], judgements[place]
        if len(tried) > 1:
            shown = ", ".join(judgement.verdict.value for judgement in judgements)
            self._note(f"only times spoke against a go, so the traffic trial was run again: {shown}")
            judgement = self._conclude(trial, samples)
        self._journal.update(stage=Stage.DONE, judgement=judgement)
        return samples

    def _trial(self, server: Server, base: Base, cast: Cast) -> tuple[Trial, SampleColumns]:
        drop_database(server.target, TRIAL)
        copied = create_database(server.target, TRIAL, template=base.target.dbname)
        self._note(f"the trial's database was copied by {copied}")
        target = server.target.on(TRIAL)
        self._journal.update(footprints=footprints(target, cast, self._scenario.workload.variables))
        spool = self._journal.folder.spool
        setup = TrafficSetup(target, self._scenario, cast.scripts, cast.pools, spool)
        trial, samples = TrafficTrial(setup, self).run()
        if trial.migration is not None:
            trial = replace(trial, migration=count_losses(base.target, trial.migration))
        return trial, samples

    def _conclude(self, trial: Trial, samples: SampleColumns) -> Judgement:
        self._show(LiveStatus(Stage.JUDGE, "judging"))
        folder = self._journal.folder
        trial = replace(trial, samples_file=folder.write_samples(samples))
        shutil.rmtree(folder.spool, ignore_errors=True)
        self._journal.update(stage=Stage.JUDGE, trials=(trial,))
        return judge(self._journal.record, samples)

    def _note(self, text: str) -> None:
        environment = self._journal.record.environment
        assert environment is not None
        if text not in environment.notes:
            self._journal.update(environment=replace(environment, notes=(*environment.notes, text)))

    def _loading(self, progress: LoadProgress) -> None:
        self._show(
            LiveStatus(
                Stage.LOAD,
                f"{progress.stage} {progress.table}",
                rows_done=progress.rows_done,
                rows_total=progress.rows_total,
                rows_per_s=progress.rows_per_second,
            )
        )

    def entered(self, stage: Stage, phases: tuple[PhaseSpan, ...]) -> None:
        """A phase of the traffic trial begins."""
        self._statement = None  # a trial that is run again notes its statements again
        trial = Trial(kind=TrialKind.TRAFFIC, phases=phases)
        self._journal.update(stage=stage, trials=(trial,))

    def tick(
        self,
        stage: Stage,
        since_ns: int,
        length_s: float | None,
        traffic: LiveTraffic,
        blocked: int,
        migration: MigrationState,
    ) -> None:
        """Show where the trial is; raise if the server is gone; note which statement has begun."""
        now_ns = time.monotonic_ns()
        running = migration.statement is not None
        self._show(
            LiveStatus(
                stage,
                elapsed_s=(now_ns - since_ns) / 1e9,
                length_s=length_s,
                traffic=traffic,
                blocked=blocked,
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
            self._raise_if_dead(None)

    def _raise_if_dead(self, cause: Exception | None) -> None:
        server = self._server
        if server is not None and not server.alive():
            stage = self._journal.record.stage.value
            raise ServerLostError(
                f"the database server died in the stage {stage}: {server.last_words()}",
                f"what was measured is in {self._journal.folder.path}",
            ) from cause


def _drop_quietly(server: Server, name: str) -> None:
    """Leave nothing on a server that outlives us; one that is gone has nothing left on it."""
    try:
        drop_database(server.target, name)
    except RehearseError:
        return
