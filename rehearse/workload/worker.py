"""One process of the driver: `python -m rehearse.workload.worker`, told what to do over its standard input.

It ends when that pipe ends, so that none is left when its parent is killed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import BinaryIO

import numpy as np

from rehearse.engines.postgres import frames
from rehearse.engines.postgres.connect import ignore_environment
from rehearse.errors import SqlFileError
from rehearse.model.workload import Protocol
from rehearse.workload.again import Retries
from rehearse.workload.agenda import Agenda
from rehearse.workload.bulk import Blocks
from rehearse.workload.check import is_straight
from rehearse.workload.commands import Sql
from rehearse.workload.detours import Program
from rehearse.workload.evaluate import Lots
from rehearse.workload.gauges import Gauges
from rehearse.workload.interpret import Interpreter
from rehearse.workload.job import Change, Go, Job, Ready, Refused, Stop, receive, send
from rehearse.workload.loop import Loop
from rehearse.workload.page import Page
from rehearse.workload.poller import sharpen_timers
from rehearse.workload.pools import Pools
from rehearse.workload.session import PrepareError, Session, statement_name
from rehearse.workload.settings import command_for, common, with_timeouts
from rehearse.workload.spool import Recorder
from rehearse.workload.variables import CLIENT_ID

_STDIN = 0


class ParentGoneError(Exception):
    """Nobody is there any more to work for."""


def main() -> int:
    """Serve one job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    ignore_environment()
    job = receive(_STDIN)
    if not isinstance(job, Job):
        return 1
    worker = Worker(job)
    try:
        return worker.serve(sys.stdout.buffer)
    except ParentGoneError:
        worker.recorder.close()
        os._exit(1)  # not a moment for tidying up: sockets close by themselves


class Worker:
    """A job being done."""

    def __init__(self, job: Job) -> None:
        self._job = job
        root = np.random.SeedSequence([job.seed, job.worker])
        self._agenda_seed, pools_seed, *self._script_seeds = root.spawn(2 + len(job.scripts))
        self._pools = Pools(job.pools, np.random.default_rng(pools_seed))
        self.recorder = Recorder(job.spool, job.worker)
        self._loop = self._make_loop()

    def serve(self, answers: BinaryIO) -> int:
        """From connecting to the last sample; the process's exit status."""
        try:
            self._loop.connect()
        except PrepareError as error:
            send(answers, self._refusal(error))
            return 0
        except ConnectionError as error:
            send(answers, Refused(f"the traffic cannot connect: {error}"))
            return 0
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a collection is a pause for every client
        sharpen_timers()
        send(answers, Ready())
        go = receive(_STDIN)
        if not isinstance(go, Go):
            raise ParentGoneError
        if self._job.late:
            self._pools.add(go.pools)
            self._loop.prepare(self._statements)
        self._loop.start(go.zero_ns)
        self._loop.run(_STDIN, self._obey)
        self._loop.finish()
        self.recorder.close()
        return 0

    def _obey(self, descriptor: int) -> None:
        if descriptor != _STDIN:
            return
        order = receive(_STDIN)
        if isinstance(order, Change):
            self._loop.change(order.at_ns, order.steps)
            return
        if not isinstance(order, Stop):
            raise ParentGoneError
        self._loop.end(order.stop_ns, order.end_ns)

    def _make_loop(self) -> Loop:
        job = self._job
        self._statements = [[text.encode() for text in script.statements] for script in job.scripts]
        known = [] if job.late else self._statements
        sessions = [
            Session(number, job.protocol, known, {**dict(job.variables), CLIENT_ID: number})
            for number in job.clients
        ]
        shared = common([script.timeouts for script in job.scripts])
        for session in sessions:
            session.has_settings = shared is None
        conninfo = with_timeouts(job.conninfo, shared or ())
        weights = [script.weight for script in job.scripts]
        agenda = Agenda(job.rate, weights, self._agenda_seed, job.pacing, job.worker / job.workers)
        gauges = Gauges(Page(job.page, len(job.clients)), self.recorder, agenda, sessions)
        programs = [self._program(place) for place in range(len(job.scripts))]
        loop = Loop(sessions, programs, agenda, self._pools, self.recorder, gauges, conninfo.encode())
        loop.retries = Retries(job.retry)
        return loop

    def _program(self, place: int) -> Program:
        job, script = self._job, self._job.scripts[place]
        seeds = self._script_seeds[place].spawn(2)
        bulk, single = (np.random.default_rng(seed) for seed in seeds)
        blocks = None
        if is_straight(script):
            literal = job.protocol is Protocol.SIMPLE
            blocks = Blocks(script, dict(job.variables), self._pools, bulk, literal=literal)
        heads = tuple(
            statement_name(place, index) if job.protocol is Protocol.PREPARED else text.encode()
            for index, text in enumerate(script.statements)
        )
        envelopes = tuple(self._envelope(head, sql) for head, sql in zip(heads, script.sql, strict=True))
        timeouts = [script.timeouts for script in job.scripts]
        settings = b"" if common(timeouts) is not None else command_for(script.timeouts, timeouts)
        return Program(Interpreter(script.commands, Lots(single)), heads, envelopes, blocks, settings)

    def _envelope(self, head: bytes, sql: Sql) -> frames.Envelope:
        if self._job.protocol is Protocol.PREPARED:
            return frames.prepared(head, len(sql.names))
        if self._job.protocol is Protocol.EXTENDED:
            return frames.extended(head, len(sql.names))
        return frames.simple()

    def _refusal(self, error: PrepareError) -> Refused:
        script = self._job.scripts[error.script]
        statement = script.sql[error.statement]
        if not error.failure.is_mistake:
            return Refused(f"the traffic cannot prepare its statements: {error.failure.message}")
        before = statement.text[: max(error.failure.position - 1, 0)]
        what = SqlFileError(script.file, statement.line + before.count("\n"), error.failure.message)
        return Refused(error.failure.message, "", what.file, what.line)


if __name__ == "__main__":
    sys.exit(main())
