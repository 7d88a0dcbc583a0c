"""The replica trial: a streaming standby that is read from while the primary is migrated."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from rehearse.acts.lag import LagLog
from rehearse.acts.standby_reader import StandbyReader
from rehearse.acts.trial import TrialContext, quietly
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.footprint import footprint
from rehearse.engines.postgres.standby_state import (
    CONFLICT_SQLSTATES,
    conflict_settings,
    conflicts,
    positions,
)
from rehearse.errors import EnvironmentFailure
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationRun
from rehearse.model.record import Trial
from rehearse.model.replica import Cancelled, ReplicaFacts, ReplicaSample
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Outcome, SampleColumns
from rehearse.provision.server import Standby
from rehearse.workload.driver import Driver
from rehearse.workload.script import Script
from rehearse.workload.traffic import Load

# Reading goes on for so long before the migration, so that all sessions have read something.
_BEFORE_S = 1.0
# Replay waits for a reader for 30 s as shipped, and then has to make up for it.
_PATIENCE_S = 90.0
_COUNTED_S = 3.0
_DRAIN_S = 10.0
_MOST_SAMPLES = 500
# Modest traffic: what matters is that somebody reads, not how many do.
_RATE, _CLIENTS = 40.0, 4

Connection = psycopg.Connection[tuple[Any, ...]]


def replica(context: TrialContext) -> Trial:
    """Migrate a copy of the base while a standby follows. ProvisionError where the server gets none."""
    target = context.copy()
    scripts = _read_only(context, target)
    context.on_status("replica: making a standby")
    with context.server.standby() as standby:
        return _Replica(context, target, standby, scripts).run()


def _read_only(context: TrialContext, target: Target) -> tuple[Script, ...]:
    """The scripts that a standby can run: those that lock nothing more than readers do."""
    variables = context.scenario.workload.variables
    with connect(target, "rehearse") as connection:
        return tuple(
            script
            for script in context.cast.scripts
            if script.weight and _reads(footprint(connection, script, context.cast.pools, variables).locks)
        )


def _reads(locks: Iterable[tuple[object, LockMode]]) -> bool:
    modes = {mode for _, mode in locks}
    return modes <= {LockMode.ACCESS_SHARE}


@dataclass(frozen=True, slots=True)
class _Replica:
    """One migration of `target`, seen from the standby."""

    context: TrialContext
    target: Target
    standby: Standby
    scripts: tuple[Script, ...]

    def run(self) -> Trial:
        """The trial; whatever happens, nothing of ours reads on the standby afterwards."""
        with ExitStack() as stack:
            asking = stack.enter_context(connect(self.standby.target, "rehearse"))
            log = self._log(stack)
            if log.wait_caught_up(time.monotonic_ns(), _PATIENCE_S) is None:
                raise EnvironmentFailure("the standby had not caught up before the migration was to begin")
            before = conflicts(asking, self.target.dbname)
            driver = self._reading(stack)
            reader = self._holding(stack)
            self.context.on_status("replica: migrating")
            run = quietly(self.target, self.context.scenario.migration.up, self.context.scenario)
            if run.failed is not None:
                return _failed(run)
            self.context.on_status("replica: waiting for the standby")
            seen_ns = log.wait_caught_up(run.ended_ns, _PATIENCE_S)
            waited_ns = time.monotonic_ns() - run.ended_ns
            log.stop()
            cancelled = reader.end() if reader else ()
            samples = driver.stop(_DRAIN_S) if driver else None
            cancelled += _cancelled(samples)
            counts = _counted(asking, self.target.dbname, before, sum(each.count for each in cancelled))
            settings = conflict_settings(asking)
        course = log.course.since(run.started_ns)
        if not course:  # no sample is not a lag of nothing
            raise EnvironmentFailure("the standby's position was not read once while the migration ran")
        facts = ReplicaFacts(
            lag_max_ns=max((sample.lag_ns for sample in course), default=0),
            unflushed_max_bytes=max((sample.unflushed_bytes for sample in course), default=0),
            unreplayed_max_bytes=max((sample.unreplayed_bytes for sample in course), default=0),
            wal_bytes=log.course.written(run.started_ns, run.ended_ns),
            caught_up_ns=None if seen_ns is None else max(0, seen_ns - run.ended_ns),
            waited_ns=waited_ns,
            scripts=tuple(script.name for script in self.scripts),
            finished=_count(samples, Outcome.OK),
            failed=_count(samples, Outcome.ERROR) - sum(each.count for each in cancelled if each.script),
            conflicts=counts,
            cancelled=cancelled,
            reader_s=self.context.scenario.trials.standby_reader_s,
            settings=settings,
            samples=_thinned(course),
            refused=_refused(samples),
        )
        return Trial(TrialKind.REPLICA, migration=run, replica=facts)

    def _log(self, stack: ExitStack) -> LagLog:
        primary = stack.enter_context(connect(self.context.server.target, "rehearse"))
        standby = stack.enter_context(connect(self.standby.target, "rehearse"))
        log = LagLog(partial(positions, primary, standby, self.standby.name), self.standby.last_words)
        stack.callback(log.stop)
        log.start()
        return log

    def _reading(self, stack: ExitStack) -> Driver | None:
        """The application's readers, on the standby; None where it has none."""
        if not self.scripts:
            return None
        workload, spool = self.context.scenario.workload, self.context.spool
        load = Load(min(_RATE, workload.rate), _CLIENTS, 1, workload.protocol, workload.variables)
        there = self.standby.target.on(self.target.dbname)
        spool.mkdir(exist_ok=True)
        stack.callback(shutil.rmtree, spool, ignore_errors=True)
        driver = Driver(there, self.scripts, self.context.cast.pools, load, self.context.scenario.seed, spool)
        stack.callback(driver.abort)
        self.context.on_status("replica: reading on the standby")
        driver.start()
        time.sleep(_BEFORE_S)
        return driver

    def _holding(self, stack: ExitStack) -> StandbyReader | None:
        length_s = self.context.scenario.trials.standby_reader_s
        if not length_s:
            return None
        base = self.context.base
        tables = [table.relation for table in base.tables if table.relation in base.preview.touched]
        reader = StandbyReader(self.standby.target.on(self.target.dbname), tables, length_s)
        stack.callback(reader.close)
        return reader


def _failed(run: MigrationRun) -> Trial:
    assert run.failed is not None
    why = f"the migration failed in quiet, {run.failed.whereabouts}: {run.failed.message}"
    return Trial(TrialKind.REPLICA, migration=run, unmeasured=why)


def _count(samples: SampleColumns | None, outcome: Outcome) -> int:
    return 0 if samples is None else list(samples.outcome).count(outcome.value)


def _cancelled(samples: SampleColumns | None) -> tuple[Cancelled, ...]:
    """What replay cancelled of the readers, by script and SQLSTATE."""
    if samples is None:
        return ()
    states = zip(samples.script, samples.outcome, samples.sqlstate, strict=True)
    found = Counter(
        (samples.scripts[script], samples.sqlstates[state])
        for script, outcome, state in states
        if outcome == Outcome.ERROR and state >= 0 and samples.sqlstates[state] in CONFLICT_SQLSTATES
    )
    return tuple(Cancelled(script, state, count) for (script, state), count in sorted(found.items()))


def _refused(samples: SampleColumns | None) -> tuple[tuple[str, int], ...]:
    """What failed there by SQLSTATE, but for what replay cancelled."""
    if samples is None:
        return ()
    states = zip(samples.outcome, samples.sqlstate, strict=True)
    counted = Counter(
        samples.sqlstates[state] for outcome, state in states if outcome == Outcome.ERROR and state >= 0
    )
    return tuple((state, count) for state, count in counted.most_common() if state not in CONFLICT_SQLSTATES)


def _counted(
    asking: Connection, dbname: str, before: Mapping[str, int], seen: int
) -> tuple[tuple[str, int], ...]:
    """The server's counts since `before`. A session hands them in when it ends, so that those who were seen
    to be cancelled are waited for.
    """
    deadline = time.monotonic() + _COUNTED_S
    while True:
        now = conflicts(asking, dbname)
        counts = {kind: count - before.get(kind, 0) for kind, count in now.items()}
        if sum(counts.values()) >= seen or time.monotonic() > deadline:
            return tuple((kind, count) for kind, count in counts.items() if count)
        time.sleep(0.05)


def _thinned(course: tuple[ReplicaSample, ...]) -> tuple[ReplicaSample, ...]:
    """At most so many that a picture can be drawn of, with the worst of each stretch."""
    stretch = len(course) // _MOST_SAMPLES + 1
    pieces = (course[place : place + stretch] for place in range(0, len(course), stretch))
    return tuple(max(piece, key=lambda sample: (sample.lag_ns, sample.unreplayed_bytes)) for piece in pieces)
