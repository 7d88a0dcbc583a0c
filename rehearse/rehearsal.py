"""The conductor: the acts of a rehearsal, in order.

Provision a database, load a dataset, make the traffic ready, run the traffic trial and the others that are
wanted, judge. Every step is in the record before the next begins, so that a run that dies leaves what it
had measured.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rehearse.acts.casting import Cast, check_scripts, footprints, make_cast, spared
from rehearse.acts.engines import require_rehearsable
from rehearse.acts.keeping import EMPTY, Keeping, KeptBase, keeping_of
from rehearse.acts.loading import Base, build_base
from rehearse.acts.lookout import Lookout
from rehearse.acts.losses import count_losses, count_missing
from rehearse.acts.repeats import Repeats, raise_if_disk_full
from rehearse.acts.traffic import TrafficSetup, TrafficTrial
from rehearse.acts.trial import TrialContext
from rehearse.acts.trials import make_trial
from rehearse.dataset.load import LoadProgress
from rehearse.engines.postgres.databases import RUN_DATABASES, drop_database
from rehearse.errors import InterruptedRunError, RehearseError
from rehearse.judge.accepted import check_accepted
from rehearse.judge.down import without_way_back
from rehearse.judge.judge import judge
from rehearse.judge.rules import RULE_NAMES
from rehearse.migrate.tool import require_tool
from rehearse.model.record import SCHEMA_VERSION, RunRecord, Stage, Trial, TrialKind
from rehearse.model.scenario import Scenario
from rehearse.model.verdict import Judgement
from rehearse.model.workload import SampleColumns
from rehearse.provision import Server
from rehearse.record.folder import RunFolder, utc_now
from rehearse.record.journal import Journal
from rehearse.report.live import LiveStatus
from rehearse.scenario.redact import redact


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a finished run leaves: its record, its samples, and the folder that holds both."""

    record: RunRecord
    samples: SampleColumns | None
    folder: RunFolder


def rehearse(
    scenario: Scenario,
    out: Path,
    *,
    disposable: str | None,
    on_status: Callable[[LiveStatus], None],
    cache: bool = True,
) -> Rehearsal:
    """Run `scenario` and write its record under `out`. Errors are noted in the record, then raised.

    `cache` False: the data set is made, even if it is kept from an earlier run, and is not kept.
    """
    check_accepted(scenario.accepted, RULE_NAMES)
    require_rehearsable(scenario.database)
    require_tool((*scenario.migration.up, *scenario.migration.down))
    check_scripts(scenario.workload)
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
    run = _Run(scenario, journal, disposable, on_status, keeping_of(scenario, wanted=cache))
    try:
        samples = run.perform()
    except RehearseError as error:
        journal.fail(str(error))
        raise
    except KeyboardInterrupt:
        where = f"interrupted in the stage {journal.record.stage.value}{run.step}"
        journal.fail(where)
        raise InterruptedRunError(where, f"what was measured is in {folder.path}") from None
    except Exception as error:
        journal.fail(f"a defect of Rehearse itself: {type(error).__name__}")
        raise
    return Rehearsal(journal.record, samples, folder)


class _Run:
    """One rehearsal under way."""

    def __init__(
        self,
        scenario: Scenario,
        journal: Journal,
        disposable: str | None,
        on_status: Callable[[LiveStatus], None],
        keeping: Keeping,
    ) -> None:
        self._scenario = scenario
        self._journal = journal
        self._disposable = disposable
        self._keeping = keeping
        self._show = on_status
        self._watch: Lookout | None = None
        self.step = ""  # of the stage, as an error says it

    def perform(self) -> SampleColumns:
        """All acts; the judgement is in the journal's record afterwards."""
        with ExitStack() as stack:
            self._show(LiveStatus(Stage.PROVISION, f"starting {self._scenario.database.engine.value}"))
            spec = self._scenario.database
            server, kept, note = self._keeping.provisioned(spec, self._disposable, stack)
            self._watch = Lookout(journal=self._journal, server=server, show=self._show)
            self._journal.update(environment=server.environment, stage=Stage.LOAD)
            self._note(note)
            try:
                base, cast = self._prepare(server, stack, kept)
                spool = self._journal.folder.spool
                keep = self._journal.folder.write_samples
                context = TrialContext(
                    server, base, cast, self._scenario, spool, self._trying, self._note, keep=keep
                )
                samples = self._traffic(context)
                self._beyond(context)
                self._journal.update(stage=Stage.DONE, judgement=self._judged(samples))
                return samples
            except Exception as error:
                self._watch.raise_if_dead(error)
                raise

    def _prepare(self, server: Server, stack: ExitStack, kept: KeptBase | None) -> tuple[Base, Cast]:
        self._show(LiveStatus(Stage.LOAD, "applying the schema"))
        for name in RUN_DATABASES:
            stack.callback(_drop_quietly, server, name)
        keep = self._keeping.wanted
        base = build_base(
            server.target, self._scenario, self._loading, kept=kept, keep=keep, on_step=self._stepping
        )
        self.step = ""
        if kept is not None and base.facts is not kept.facts:
            self._keeping.forget()
            self._note("the data set from the cache is not what would be made now: it was made anew")
        if base.keepable:
            self._show(LiveStatus(Stage.LOAD, "keeping the data set"))
            self._note(self._keeping.keep(server, base.facts, base.excused, base.plan))
        drop_database(server.target, EMPTY)
        self._journal.update(stage=Stage.PREPARE, dataset=base.facts, tables=base.tables)
        self._show(LiveStatus(Stage.PREPARE, "making the traffic ready"))
        cast = make_cast(base, self._scenario)
        base = spared(base, cast, self._scenario)
        for ledger in sorted(map(str, base.ledgers)):
            self._note(f"{ledger} is a migration tool's own table: it has no traffic, and is not compared")
        self._journal.update(scripts=cast.infos, tables=base.tables)
        return base, cast

    def _traffic(self, context: TrialContext) -> SampleColumns:
        """As many trials as are asked for, else until the verdict does not rest on the machine's mood; the
        record keeps one of them whole, and the numbers of all.
        """
        made = Repeats(self._scenario.repeat)
        while made.wanted:
            trial, samples = self._trial(context)
            made.add(trial, samples, self._conclude(trial, samples))
            self._journal.update(repeats=made.kept())
        trial, samples = made.trials[made.chosen]
        if len(made.trials) > 1:
            self._note(made.note())
            self._keep(trial, samples)
        return samples

    def _beyond(self, context: TrialContext) -> None:
        """The other trials that are wanted, whatever the traffic has shown: each is evidence by itself. None
        where a gate broke the migration off, so that the run ends early.
        """
        if self._journal.record.trials[0].aborted is not None:
            return
        self._journal.enter(Stage.TRIALS)
        for kind in self._scenario.trials.beyond_traffic(has_down=bool(self._scenario.migration.down)):
            self._show(LiveStatus(Stage.TRIALS, kind.value, step=True))
            trial = make_trial(kind, replace(context, done=self._journal.record.trials))
            self._journal.update(trials=(*self._journal.record.trials, trial))

    def _trial(self, context: TrialContext) -> tuple[Trial, SampleColumns]:
        base, cast = context.base, context.cast
        assert self._watch is not None
        target = context.copy()
        self._journal.update(footprints=footprints(target, cast, self._scenario.workload.variables))
        spool = self._journal.folder.spool
        aside = None if context.server.environment.provisioner == "dsn" else context.server.target
        setup = TrafficSetup(target, self._scenario, cast.scripts, cast.pools, spool, cast.newcomer, aside)
        trial, samples = TrafficTrial(setup, self._watch).run()
        if trial.migration is not None:
            trial = replace(trial, migration=count_losses(base.target, trial.migration))
            missing = count_missing(base.target, target, trial, samples, cast.infos)
            trial = replace(trial, missing_rows=missing)
        return trial, samples

    def _conclude(self, trial: Trial, samples: SampleColumns) -> Judgement:
        self._keep(trial, samples)
        raise_if_disk_full(trial)
        return self._judged(samples, alone=True)

    def _judged(self, samples: SampleColumns, *, alone: bool = False) -> Judgement:
        """`alone`: the trial at hand by itself, whatever others there were or will be."""
        self._show(LiveStatus(Stage.JUDGE, "judging"))
        self._journal.enter(Stage.JUDGE)
        record = self._journal.record
        if alone:
            return judge(without_way_back(replace(record, repeats=())), samples)
        return judge(record, samples, self._journal.folder.read_samples(record, TrialKind.ROLLBACK))

    def _keep(self, trial: Trial, samples: SampleColumns) -> None:
        folder = self._journal.folder
        trial = replace(trial, samples_file=folder.write_samples(samples))
        shutil.rmtree(folder.spool, ignore_errors=True)
        self._journal.update(trials=(trial,))

    def _trying(self, text: str) -> None:
        self._show(LiveStatus(Stage.TRIALS, text))

    def _note(self, text: str) -> None:
        environment = self._journal.record.environment
        assert environment is not None
        if text and text not in environment.notes:
            self._journal.update(environment=replace(environment, notes=(*environment.notes, text)))

    def _stepping(self, text: str) -> None:
        self.step = f", {text}"
        self._show(LiveStatus(Stage.LOAD, text, step=True))

    def _loading(self, progress: LoadProgress) -> None:
        self.step = ""
        self._show(
            LiveStatus(
                Stage.LOAD,
                f"{progress.stage} {progress.table}",
                rows_done=progress.rows_done,
                rows_total=progress.rows_total,
                rows_per_s=progress.rows_per_second,
                left_s=progress.seconds_left,
            )
        )


def _drop_quietly(server: Server, name: str) -> None:
    """Leave nothing on a server that outlives us; one that is gone has nothing left on it."""
    with suppress(RehearseError):
        drop_database(server.target, name)
