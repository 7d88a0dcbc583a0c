"""The traffic trial: the workload runs before, while and after the migration does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rehearse.acts.abort import Breaker
from rehearse.acts.moments import Moment, Watch
from rehearse.acts.newcomer import Deployment, Newcomer
from rehearse.acts.server_counts import ServerCounts
from rehearse.migrate.command import refuse_idle
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun, MigrationState
from rehearse.model.record import Phase, PhaseSpan, Stage, Trial, TrialKind
from rehearse.model.scenario import Scenario
from rehearse.model.target import Target
from rehearse.model.workload import Pool, SampleColumns
from rehearse.observe.observer import Observer
from rehearse.observe.waits import observed
from rehearse.workload.adversaries import Adversaries
from rehearse.workload.driver import Driver, Manner
from rehearse.workload.script import Script
from rehearse.workload.traffic import Load

# An instant change still has to be met by some transactions that were due in its phase.
SHORTEST_MIGRATION_PHASE_NS = 1_000_000_000
# After the last phase, what is due gets this long to finish before it counts as unfinished.
DRAIN_S = 20.0
_TICK_S = 0.1
_STAGES = {
    Phase.WARM_UP: Stage.WARM_UP,
    Phase.BASELINE: Stage.BASELINE,
    Phase.MIGRATION: Stage.MIGRATION,
    Phase.RECOVERY: Stage.RECOVERY,
}


@dataclass(frozen=True, slots=True)
class TrafficSetup:
    """What one traffic trial needs: a database of its own, and the traffic ready to be sent.

    `aside` is another database of the same server, where that is ours.
    """

    target: Target
    scenario: Scenario
    scripts: tuple[Script, ...]
    pools: tuple[Pool, ...]
    spool: Path
    newcomer: Newcomer | None = None
    aside: Target | None = None


class _MigrationThread:
    """Runs the migration beside the trial's own loop. It is a daemon: a trial that is broken off does not
    wait for it, and the database it works on is dropped with force.
    """

    def __init__(self, target: Target, scenario: Scenario) -> None:
        self.state = MigrationState()
        self._result: MigrationRun | None = None
        self._error: BaseException | None = None
        self._broken_off = False
        self._target, self._spec = target, scenario.migration
        self._thread = threading.Thread(target=self._work, name="migration", daemon=True)

    def _work(self) -> None:
        try:
            self._result = run_migration(
                self._target,
                self._spec.up,
                self._spec.transaction,
                timeout_s=self._spec.timeout_s,
                on_state=self._set_state,
                broken_off=lambda: self._broken_off,
            )
        except BaseException as error:  # handed to the thread that waits for it
            self._error = error

    def _set_state(self, state: MigrationState) -> None:
        self.state = state

    def start(self) -> None:
        self._thread.start()

    def break_off(self) -> None:
        """End a migration tool and all that it has started; what we send ourselves is cancelled by others."""
        self._broken_off = True

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> MigrationRun:
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


class TrafficTrial:
    """One run of the acts warm-up, baseline, migration, recovery."""

    def __init__(self, setup: TrafficSetup, watch: Watch) -> None:
        self._setup = setup
        self._watch = watch
        self._spans: list[PhaseSpan] = []
        self._migration = _MigrationThread(setup.target, setup.scenario)
        self._counts = ServerCounts(setup.target, setup.aside)
        self._breaker = Breaker(setup.scenario.aborts, setup.target)
        workload = setup.scenario.workload
        load = Load(
            None if workload.closed_loop else workload.rate,
            workload.clients,
            workload.processes,
            workload.protocol,
            workload.variables,
        )
        manner = Manner(workload.pacing, workload.retry)
        seed = setup.scenario.seed
        self._driver = Driver(setup.target, setup.scripts, setup.pools, load, seed, setup.spool, manner)
        newcomer = setup.newcomer
        self._deployment = (
            None
            if newcomer is None
            else Deployment(self._driver, setup.target, newcomer, workload, seed, setup.spool)
        )
        self._both: Driver | Deployment = self._deployment or self._driver
        # of a text that both versions send, it is the old one's script that is named
        scripts = (*(newcomer.scripts if newcomer else ()), *setup.scripts)
        self._observer = Observer(
            setup.target,
            scripts={text: script.name for script in scripts for text in script.statements},
            migration=lambda: self._migration.state,
            traffic=self._both.live,
        )

    def run(self) -> tuple[Trial, SampleColumns]:
        """The trial and its samples. Whatever happens, no session of ours is left running."""
        lengths = self._setup.scenario.workload.phases
        with ExitStack() as stack:
            stack.callback(self._driver.abort)
            stack.callback(self._counts.close)
            stack.callback(self._migration.break_off)
            adversaries = Adversaries(self._setup.target, self._setup.scenario.adversaries)
            adversaries.check()
            stack.callback(adversaries.stop)
            if self._deployment is not None:
                stack.callback(self._deployment.abort)
                self._deployment.open()
            now = self._driver.start()
            self._observer.start()
            stack.callback(self._observer.stop)
            now = self._timed(Phase.WARM_UP, now, lengths.warm_up_s)
            self._counts.look()
            now = self._timed(Phase.BASELINE, now, lengths.baseline_s)
            self._counts.look()
            now = self._invite(adversaries, now)
            stack.callback(self._breaker.close)
            run, now = self._migrate(now)
            broken_off = self._breaker.aborted is not None
            recovery_s = lengths.recovery_s
            if self._deployment is not None and run.failed is None and not broken_off:
                self._deployment.begin()
                # its values were drawn meanwhile; it has the whole of the recovery from then on
                recovery_s += (time.monotonic_ns() - now) / 1e9
            if not broken_off:  # else what is due is waited for, and no more is sent
                self._counts.look()
                self._timed(Phase.RECOVERY, now, recovery_s)
                self._counts.look()
            samples = self._both.stop(DRAIN_S)
            notes = adversaries.stop()
            missing = tuple(spec.kind for spec in adversaries.missing())
            observation = self._observer.stop()
        baseline = self._spans[1]
        trial = Trial(
            kind=TrialKind.TRAFFIC,
            phases=tuple(self._spans),
            migration=observed(run, observation.waits, observation.phases),
            waits=observation.waits,
            resources=observation.resources,
            observer=observation.cost,
            driver=self._both.health((baseline.start_ns, baseline.end_ns)),
            missing_adversaries=missing,
            notes=notes,
            aborted=self._breaker.aborted,
            counted=self._counts.compared(self._setup.scripts),
        )
        return trial, samples

    def _timed(self, phase: Phase, start_ns: int, length_s: float) -> int:
        """Stay in `phase` for `length_s`; returns its end."""
        self._watch.entered(_STAGES[phase], tuple(self._spans))
        end_ns = start_ns + round(length_s * 1e9)
        while (left := end_ns - time.monotonic_ns()) > 0:
            time.sleep(min(_TICK_S, left / 1e9))
            self._tick(phase, start_ns, length_s)
        self._spans.append(PhaseSpan(phase, start_ns, end_ns))
        return end_ns

    def _invite(self, adversaries: Adversaries, now_ns: int) -> int:
        """Start the adversaries, those that come before the migration first; returns when it is to start."""
        specs: Sequence[float] = [spec.start_s for spec in self._setup.scenario.adversaries]
        ahead_s = max([0.0, *(-start for start in specs)])
        start_ns = now_ns + round(ahead_s * 1e9)
        if specs:
            adversaries.start(start_ns)
            while (left := start_ns - time.monotonic_ns()) > 0:
                time.sleep(min(_TICK_S, left / 1e9))
                self._tick(Phase.BASELINE, now_ns, ahead_s)
        return time.monotonic_ns()

    def _migrate(self, start_ns: int) -> tuple[MigrationRun, int]:
        self._watch.entered(Stage.MIGRATION, tuple(self._spans))
        self._breaker.began(self._both.live())
        self._migration.start()
        while self._migration.running:
            time.sleep(_TICK_S / 4)
            self._tick(Phase.MIGRATION, start_ns, None)
            self._breaker.look(self._both.live(), self._observer.blocked(), self._migration.state)
            if self._breaker.aborted is not None:
                self._migration.break_off()
        run = self._breaker.noted(self._migration.result())
        refuse_idle(run)
        end_ns = max(run.ended_ns, start_ns + SHORTEST_MIGRATION_PHASE_NS)
        while time.monotonic_ns() < end_ns:
            time.sleep(_TICK_S / 4)
            self._tick(Phase.MIGRATION, start_ns, None)
        self._spans.append(PhaseSpan(Phase.MIGRATION, start_ns, end_ns))
        return run, end_ns

    def _tick(self, phase: Phase, start_ns: int, length_s: float | None) -> None:
        traffic, blocked = self._both.live(), self._observer.blocked()
        self._watch.tick(Moment(_STAGES[phase], start_ns, length_s, traffic, blocked, self._migration.state))
