"""The observer: a thread with a session of its own that watches who waits for whom while a trial runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psycopg

from rehearse.engines.postgres.activity import ActivityReader, Snapshot
from rehearse.engines.postgres.connect import connect
from rehearse.errors import EnvironmentFailure
from rehearse.model.migration import MigrationState, WorkPhase
from rehearse.model.target import Target
from rehearse.model.waits import LockWait, ObserverCost, ResourceSample
from rehearse.model.workload import LiveTraffic
from rehearse.observe.cost import CostMeter
from rehearse.observe.ledger import Sighting, WaitLedger
from rehearse.observe.pace import Situation, interval_ns, suspicious
from rehearse.observe.party import ScriptNames
from rehearse.observe.progress import ProgressLog
from rehearse.observe.resources import ResourceLog

APPLICATION_NAME = "rehearse-observer"

_TICK_S = 0.025  # what is looked at costs next to nothing, but to be woken up costs the machine 0.1 ms
_SHORTEST_S = 0.001
_GIVE_UP_S = 5.0  # for the thread to end: a question to the server is cut off after two
_QUESTION_LIMIT_MS = 2_000
_RECENT = 8  # samples; the cheapest of them is what one costs when nothing else wants the processor


@dataclass(frozen=True, slots=True)
class Observation:
    """All that was seen. `waits` are lower bounds, by their beginning; `dropped` shorter ones had no room.

    With `server_lost` the server went away while it was watched, and nothing was seen from then on.
    """

    waits: tuple[LockWait, ...]
    resources: tuple[ResourceSample, ...]
    cost: ObserverCost
    server_lost: bool = False
    dropped: int = 0
    phases: tuple[WorkPhase, ...] = ()  # of the migration's work


class Observer:
    """Watches `target` from `start()` to `stop()`.

    `scripts` maps the statements of the traffic, as the server shows them, to the names of their scripts.
    `migration` and `traffic` are asked every few milliseconds and have to answer at once; what they say
    decides how often the server is asked.
    """

    def __init__(
        self,
        target: Target,
        *,
        scripts: Mapping[str, str],
        migration: Callable[[], MigrationState],
        traffic: Callable[[], LiveTraffic],
    ) -> None:
        self._target = target
        self._scripts = scripts
        self._migration = migration
        self._traffic = traffic
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._reader: ActivityReader | None = None
        self._ledger = WaitLedger()
        self._meter = CostMeter(time.monotonic_ns())
        self._resources = ResourceLog()
        self._progress = ProgressLog()
        self._recent_ns: deque[int] = deque(maxlen=_RECENT)
        self._blocked = 0
        self._in_vain = 0
        self._lost = False
        self._defect: BaseException | None = None
        self._observation: Observation | None = None

    def start(self) -> None:
        """Connect and begin; ServerLostError or EnvironmentFailure where that cannot be done."""
        self._reader = self._connect(self._target)
        self._ledger = WaitLedger(ScriptNames(self._scripts, self._reader.query_bytes()))
        self._meter = CostMeter(time.monotonic_ns())
        self._thread.start()

    def blocked(self) -> int:
        """How many sessions of the database were waiting for a lock when last looked at."""
        return self._blocked

    def cpu_ns(self) -> int:
        """Processor time that its thread has used; 0 where it does not run, or the system does not say."""
        if not self._thread.is_alive() or self._thread.ident is None:
            return 0
        clock = getattr(time, "pthread_getcpuclockid", None)  # not on every platform
        return time.clock_gettime_ns(clock(self._thread.ident)) if clock else 0

    def stop(self) -> Observation:
        """End, and tell what was seen; the same again if called again. A defect of ours that ended the
        thread is raised here.
        """
        if self._observation is None:
            self._observation = self._end()
        if self._defect is not None:
            raise self._defect
        return self._observation

    def _end(self) -> Observation:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_GIVE_UP_S)
        hung = self._thread.is_alive()
        folded = self._ledger.folded()
        return Observation(
            waits=folded.waits,
            resources=self._resources.samples(),
            cost=replace(self._meter.cost(time.monotonic_ns()), unflushed=self._resources.unflushed()),
            server_lost=self._lost or hung,
            dropped=folded.dropped,
            phases=self._progress.phases(),
        )

    def _connect(self, target: Target) -> ActivityReader:
        connection = connect(target, APPLICATION_NAME)
        try:
            return ActivityReader(connection, limit_ms=_QUESTION_LIMIT_MS)
        except BaseException:
            connection.close()
            raise

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:  # raised by stop(), in a thread that can tell of it
            self._defect = error
        finally:
            if self._reader is not None:
                self._reader.close()

    def _watch(self) -> None:
        last_ns = 0
        nap_s = 0.0
        while not self._ended.is_set() and not self._lost:
            time.sleep(nap_s)  # half as dear as to wait for the end with a limit
            now_ns = time.monotonic_ns()
            self._meter.awake(now_ns)
            interval_ns = self._interval_ns(now_ns)
            if now_ns - last_ns >= interval_ns:
                last_ns = now_ns
                self._look()
            due_s = (last_ns + interval_ns - time.monotonic_ns()) / 1e9
            nap_s = min(_TICK_S, max(_SHORTEST_S, due_s))
        if not self._lost:
            self._look()

    def _interval_ns(self, now_ns: int) -> int:
        state = self._migration()
        oldest_ns = self._traffic().oldest_in_flight_ns
        if not suspicious(oldest_ns, now_ns):
            self._in_vain = 0
        return interval_ns(
            Situation(
                now_ns=now_ns,
                oldest_in_flight_ns=oldest_ns,
                statement_started_ns=None if state.statement is None else state.started_ns,
                blocked=self._blocked,
                in_vain=self._in_vain,
                cost_ns=min(self._recent_ns, default=0),
            )
        )

    def _look(self) -> None:
        """One sample, whatever becomes of it."""
        started_ns = time.monotonic_ns()
        try:
            snapshot = self._sample()
        except psycopg.Error:
            self._meter.failed(started_ns, time.monotonic_ns())
            self._blocked = 0
            self._recover()
            return
        ended_ns = time.monotonic_ns()
        self._meter.succeeded(snapshot.asked_ns, ended_ns)

    def _sample(self) -> Snapshot:
        assert self._reader is not None  # start() has connected
        before = self._migration()
        snapshot = self._reader.snapshot()
        self._ledger.add(Sighting(snapshot, before, self._migration()))
        self._blocked = len(snapshot.waiting)
        self._recent_ns.append(time.monotonic_ns() - snapshot.asked_ns)
        self._in_vain = 0 if snapshot.waiting else self._in_vain + 1
        self._ask_progress(before)
        self._resources.take(
            self._reader,
            snapshot.answered_ns,
            last=self._ended.is_set(),
            calm=before.statement is None,
            suspicious=suspicious(self._traffic().oldest_in_flight_ns, snapshot.asked_ns),
        )
        return snapshot

    def _ask_progress(self, state: MigrationState) -> None:
        """What phase the migration's work is in, where something is executed and it is time to ask."""
        assert self._reader is not None  # start() has connected
        now_ns = time.monotonic_ns()
        if state.statement is None or state.pid is None or not self._progress.due(now_ns):
            return
        self._progress.add(state.statement, now_ns, *self._reader.progress(state.pid))

    def _recover(self) -> None:
        """After a failed sample: our session may have been ended (by the migration, say) and the server be
        well. If it takes no new one, it is lost.
        """
        assert self._reader is not None  # start() has connected
        if not self._reader.closed:
            return
        options = (*self._target.options, ("connect_timeout", "2"))
        try:
            self._reader = self._connect(replace(self._target, options=options))
        except (EnvironmentFailure, psycopg.Error):
            self._lost = True
