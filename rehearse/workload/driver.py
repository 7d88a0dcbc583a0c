"""The open-loop driver, seen from the process that conducts the rehearsal.

It runs some worker processes, each with its share of the clients and of the rate, and puts what they
measured together.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as StructuralType

import numpy as np
from numpy.typing import NDArray

import rehearse
from rehearse.engines.postgres.connect import conninfo
from rehearse.errors import EnvironmentFailure, InputError, SqlFileError
from rehearse.model.spans import common
from rehearse.model.target import Target
from rehearse.model.workload import (
    STEADY,
    DriverHealth,
    LiveTraffic,
    Outcome,
    Pacing,
    Pool,
    Protocol,
    RateStep,
    RetryPolicy,
    SampleColumns,
)
from rehearse.workload.check import check_pools, check_script, check_values
from rehearse.workload.evaluate import Lots
from rehearse.workload.job import Change, Go, Job, Message, Ready, Refused, Stop, receive, send
from rehearse.workload.page import Field, Page, make_page_file, percentile_ns, window_s
from rehearse.workload.pools import share_of
from rehearse.workload.schedule import share_of_pacing
from rehearse.workload.script import Script
from rehearse.workload.spool import read_spool
from rehearse.workload.variables import default_variables

APPLICATION_NAME = "rehearse-traffic"
_HEAD_START_NS = 20_000_000  # for every worker to hear of time zero before it comes
_P99_EVERY_NS = 50_000_000
START_PATIENCE_S = 60.0
# numpy's linear algebra would start a thread a core, which spin, and is not used here
_SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Load(StructuralType):
    """How much traffic, and how it is sent; `WorkloadSpec` is one. `rate` None is a closed loop."""

    @property
    def rate(self) -> float | None: ...  # noqa: D102 - said of the class
    @property
    def clients(self) -> int: ...  # noqa: D102 - said of the class
    @property
    def processes(self) -> int: ...  # noqa: D102 - said of the class
    @property
    def protocol(self) -> Protocol: ...  # noqa: D102 - said of the class
    @property
    def variables(self) -> tuple[tuple[str, int], ...]: ...  # noqa: D102 - said of the class


@dataclass(frozen=True, slots=True)
class Manner:
    """How the traffic is spread over time, and what is sent again. `late` traffic is that of an application
    whose tables or columns do not exist yet: it connects when it is opened, and prepares when it begins.
    """

    pacing: Pacing = STEADY
    retry: RetryPolicy | None = None
    late: bool = False


PLAIN = Manner()


class Driver:
    """Traffic on one database. Raises InputError at once where the scripts cannot be run as asked."""

    def __init__(
        self,
        target: Target,
        scripts: Sequence[Script],
        pools: Sequence[Pool],
        load: Load,
        seed: int,
        spool: Path,
        manner: Manner = PLAIN,
    ) -> None:
        if not scripts or not any(script.weight for script in scripts):
            raise InputError("the workload has no script with a weight above 0")
        self._target = target
        self._scripts = tuple(scripts)
        self._load = load
        self._seed = seed
        self._spool = spool
        self._processes = max(1, min(load.processes, load.clients))
        variables = default_variables(seed, load.variables)
        self._variables = tuple(variables.items())
        self._manner = manner
        if not manner.late:
            check_pools(scripts, pools)
        for script in scripts:
            check_script(script, variables, load.protocol)
            check_values(script, dict(variables), Lots(np.random.default_rng(seed)))
        self._pools = tuple(pools)
        self._workers: list[_Process] = []
        self._zero_ns = self._end_ns = 0
        self._halted_ns: int | None = None  # until when what is due is waited for
        self._samples: SampleColumns | None = None
        self._prompt = np.empty(0, dtype=np.bool_)
        self._p99: tuple[int, float, int | None] = (0, 0.0, None)

    def start(self, patience_s: float = START_PATIENCE_S) -> int:
        """Open all connections, prepare all statements, begin; returns time zero (monotonic ns).

        Raises SqlFileError where the server refuses a statement as wrong, EnvironmentFailure where the
        traffic cannot connect, or has not in `patience_s`.
        """
        self.open(patience_s)
        return self.begin()

    def open(self, patience_s: float = START_PATIENCE_S) -> None:
        """The first half of `start`: all connections open, and statements prepared unless they are late."""
        self._spool.mkdir(parents=True, exist_ok=True)
        for stale in self._spool.glob("worker-*"):
            stale.unlink()
        try:
            self._workers = [_Process(self._job(place)) for place in range(self._processes)]
            deadline_ns = time.monotonic_ns() + round(patience_s * 1e9)
            for worker in self._workers:
                worker.await_ready(deadline_ns, patience_s)
        except BaseException:
            self.abort()
            raise

    def begin(self, pools: Sequence[Pool] = (), *, in_s: float = 0.0) -> int:
        """The second half: time zero, `in_s` from now, and what late traffic draws from. InputError where
        that is not all.
        """
        if self._manner.late:
            check_pools(self._scripts, pools)
        self._zero_ns = time.monotonic_ns() + _HEAD_START_NS + round(in_s * 1e9)
        for place, worker in enumerate(self._workers):
            worker.tell(Go(self._zero_ns, tuple(share_of(pools, place, self._processes))))
        return self._zero_ns

    def change(self, at_ns: int, steps: Iterable[RateStep]) -> None:
        """From `at_ns` on (monotonic ns), the traffic comes by `steps`, whose times count from then."""
        steps = tuple(steps)
        for place, worker in enumerate(self._workers):
            scaled = share_of_pacing(Pacing(steps=steps), place, self._processes, self._share(place))
            worker.tell(Change(at_ns, scaled.steps))

    @property
    def zero_ns(self) -> int:
        """Time zero (monotonic ns), once it is known."""
        return self._zero_ns

    def live(self) -> LiveTraffic:
        """Where the traffic stands, to within a few milliseconds. Costs microseconds."""
        pages = [worker.page for worker in self._workers]
        words = [page.words.tolist() for page in pages] or [[0] * len(Field)]
        totals = [sum(column) for column in zip(*words, strict=True)]
        oldest = [page[Field.OLDEST_NS] for page in words if page[Field.OLDEST_NS]]
        rate, p99 = self._recent(pages)
        return LiveTraffic(
            due=totals[Field.DUE],
            finished=totals[Field.FINISHED],
            failed=totals[Field.FAILED],
            in_flight=totals[Field.IN_FLIGHT],
            queued=totals[Field.QUEUED],
            oldest_in_flight_ns=min(oldest, default=None),
            rate=rate,
            p99_ns=p99,
        )

    def pids(self) -> frozenset[int]:
        """The server's processes that serve the traffic."""
        return frozenset(int(pid) for worker in self._workers for pid in worker.page.pids if pid)

    def stop(self, drain_s: float) -> SampleColumns:
        """Schedule nothing more, wait up to `drain_s` for what is due, and collect all samples.

        What has not ended then is UNFINISHED. Raises EnvironmentFailure where a worker died.
        """
        if self._samples is not None:
            return self._samples
        end_ns = self.halt(drain_s)
        for worker in self._workers:
            worker.await_end(end_ns)
        self._end_ns = time.monotonic_ns()
        self._samples, self._prompt = read_spool(self._spool, [script.name for script in self._scripts])
        return self._samples

    def halt(self, drain_s: float) -> int:
        """The first half of `stop`: returns until when what is due is waited for (monotonic ns)."""
        if self._halted_ns is None:
            stop_ns = time.monotonic_ns()
            self._halted_ns = stop_ns + round(drain_s * 1e9)
            for worker in self._workers:
                worker.tell(Stop(stop_ns, self._halted_ns))
        return self._halted_ns

    def health(self, baseline: tuple[int, int]) -> DriverHealth:
        """How well the driver kept its own schedule in `baseline` (monotonic ns); after `stop`."""
        if self._samples is None:
            raise RuntimeError("the driver has not been stopped")
        scheduled = np.frombuffer(self._samples.scheduled_ns, dtype=np.int64)
        outcome = np.frombuffer(self._samples.outcome, dtype=np.int16)
        first, last = np.searchsorted(scheduled, baseline).tolist()
        ended = np.isin(outcome, (Outcome.OK, Outcome.ERROR))
        retried = np.equal(outcome, Outcome.RETRIED)
        lag = self.lag_ns(baseline)
        words = np.array([worker.page.words.tolist() for worker in self._workers])
        p50, p99 = np.percentile(lag, (50, 99)).tolist() if len(lag) else (0.0, 0.0)
        return DriverHealth(
            processes=self._processes,
            clients=self._load.clients,
            offered=int((~retried).sum()),
            finished=int(ended.sum()),
            offered_baseline=int((~retried[first:last]).sum()),
            finished_baseline=int(ended[first:last].sum()),
            lag_p50_ns=round(p50),
            lag_p99_ns=round(p99),
            lag_max_ns=int(lag.max(initial=0)),
            cpu_share=self.cpu_ns / max(self._end_ns - self._zero_ns, 1),
            peak_queue=int(words[:, Field.PEAK_QUEUE].sum()),
            skipped=int((outcome == Outcome.SKIPPED).sum()),
            reconnects=int(words[:, Field.RECONNECTS].sum()),
            retries=int(retried.sum()),
            pauses=common([worker.page.pauses() for worker in self._workers]),
        )

    def lag_ns(self, span: tuple[int, int]) -> NDArray[np.int64]:
        """What the driver alone added: the lags, in no order, of the transactions due in `span` that found
        a free connection at once; after `stop`.
        """
        if self._samples is None:
            raise RuntimeError("the driver has not been stopped")
        scheduled = np.frombuffer(self._samples.scheduled_ns, dtype=np.int64)
        first, last = np.searchsorted(scheduled, span).tolist()
        started = np.frombuffer(self._samples.started_ns, dtype=np.int64)[first:last]
        outcome = np.frombuffer(self._samples.outcome, dtype=np.int16)[first:last]
        prompt = self._prompt[first:last] & (started > 0) & np.not_equal(outcome, Outcome.RETRIED)
        lag: NDArray[np.int64] = (started - scheduled[first:last])[prompt]
        return lag

    @property
    def cpu_ns(self) -> int:
        """CPU time of the workers from time zero on, to within a twentieth of a second's worth."""
        return sum(
            worker.page.words[Field.CPU_NS] - worker.page.words[Field.CPU_AT_ZERO_NS]
            for worker in self._workers
        )

    def abort(self) -> None:
        """End every worker at once. Does nothing where none is left."""
        for worker in self._workers:
            worker.kill()

    def _recent(self, pages: Sequence[Page]) -> tuple[float, int | None]:
        """Rate and p99 of the last second, worked out anew some twenty times a second."""
        now = time.monotonic_ns()
        at, rate, p99 = self._p99
        if pages and now - at >= _P99_EVERY_NS:
            recents = [page.recent(now) for page in pages]
            covered_s = min(window_s(), max(now - self._zero_ns, 1) / 1e9)
            rate = sum(count for count, _ in recents) / covered_s
            p99 = percentile_ns(sum((histogram for _, histogram in recents[1:]), recents[0][1]), 0.99)
            self._p99 = (now, rate, p99)
        return rate, p99

    def _clients(self, place: int) -> tuple[int, ...]:
        return tuple(range(place, self._load.clients, self._processes))

    def _share(self, place: int) -> float:
        """The part of the traffic that a process sends."""
        return len(self._clients(place)) / self._load.clients

    def _job(self, place: int) -> Job:
        clients, share = self._clients(place), self._share(place)
        rate, manner = self._load.rate, self._manner
        return Job(
            worker=place,
            workers=self._processes,
            conninfo=conninfo(self._target, APPLICATION_NAME),
            scripts=self._scripts,
            pools=tuple(share_of(self._pools, place, self._processes)),
            variables=self._variables,
            protocol=self._load.protocol,
            rate=None if rate is None else rate * share,
            clients=clients,
            seed=self._seed,
            spool=self._spool,
            page=make_page_file(len(clients)),
            pacing=share_of_pacing(manner.pacing, place, self._processes, share),
            retry=manner.retry,
            late=manner.late,
        )


class _Process:
    """One worker."""

    def __init__(self, job: Job) -> None:
        self._log = job.spool / f"worker-{job.worker:03d}.log"
        self.page = Page(job.page, len(job.clients))
        package_root = str(Path(rehearse.__file__).parents[1])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rehearse.workload.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(job.page,),
                env={**os.environ, "PYTHONPATH": package_root, **_SINGLE_THREADED},
            )
        os.close(job.page)
        self.tell(job)

    def tell(self, message: Message) -> None:
        """Send an order; one that is dead already is found out when it is waited for."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            send(self._process.stdin, message)

    def await_ready(self, deadline_ns: int, patience_s: float) -> None:
        """Until its connections are open."""
        assert self._process.stdout is not None
        try:
            answer = receive(self._process.stdout.fileno(), deadline_ns)
        except TimeoutError:
            raise EnvironmentFailure(
                f"the traffic's connections were not open after {patience_s:g} s: the server does not answer",
                "look at the server and at what its sessions wait for, or lower [workload] clients",
            ) from None
        if isinstance(answer, Ready):
            return
        self._process.wait()
        if not isinstance(answer, Refused):
            raise self._died()
        if answer.file:
            raise SqlFileError(answer.file, answer.line, answer.what, answer.mend)
        raise EnvironmentFailure(answer.what, answer.mend)

    def await_end(self, deadline_ns: int) -> None:
        """Until it has written its last sample."""
        patience_s = max(deadline_ns - time.monotonic_ns(), 0) / 1e9 + 30
        try:
            status = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise EnvironmentFailure("a driver process did not end in time") from None
        self._close_pipes()
        if status:
            raise self._died()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _died(self) -> EnvironmentFailure:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return EnvironmentFailure(
            f"a driver process died: {lines[-1] if lines else self._process.returncode}"
        )
