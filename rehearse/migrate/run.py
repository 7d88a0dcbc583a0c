"""Runs a migration: its files in order, each on a session of its own, as one of the three modes says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rehearse.engines.postgres.probe import PROBE, SHOW_LOCK_TIMEOUT, Probe, milliseconds, probe_of
from rehearse.engines.postgres.session import Reply, Session
from rehearse.engines.postgres.split import Control, SqlStatement, split
from rehearse.errors import ServerLostError
from rehearse.migrate.aftermath import aftermath
from rehearse.migrate.command import run_command
from rehearse.migrate.journal import LEFT_OPEN, LOST, LOST_SQLSTATE, Ending, Journal
from rehearse.migrate.ledger import Ledger
from rehearse.migrate.perform import SEPARATOR, Performer, Run
from rehearse.migrate.sending import changes_settings, is_probed
from rehearse.migrate.witness import Witness
from rehearse.model.migration import (
    Effects,
    MigrationRun,
    MigrationState,
    SqlFile,
    StatementOutcome,
    TransactionMode,
)
from rehearse.model.target import Target

APPLICATION_NAME = "rehearse-migration"


def run_migration(
    target: Target,
    files: Sequence[SqlFile],
    mode: TransactionMode,
    *,
    timeout_s: float,
    on_state: Callable[[MigrationState], None],
    broken_off: Callable[[], bool] = lambda: False,
) -> MigrationRun:
    """Executes `files` on `target`, and reads what each statement did.

    A file that stands for the command of a migration tool is run as `run_command` says; it is the only one.
    `broken_off` is asked whether to end it.

    A statement that fails stops the migration there; that is part of the answer, as are a server that
    dies meanwhile and a migration that is cancelled after `timeout_s`. `on_state` is called in this
    thread before each statement, and with no statement at the end. Each file has a session of its own,
    so that neither settings nor an open transaction outlive it. If the caller is interrupted, the
    statement that runs is cancelled and the session closed. Raises SqlFileError before anything is
    executed, ServerLostError when there is no server to begin with.
    """
    if files and files[0].tool is not None:
        return run_command(
            target,
            files[0],
            application_name=APPLICATION_NAME,
            timeout_s=timeout_s,
            on_state=on_state,
            broken_off=broken_off,
        )
    parts = [split(file) for file in files]
    with Witness(target) as witness:
        before, rows = witness.base()
        dead_before = witness.dead_rows()
        ledger = Ledger(before, rows)
        started_ns = time.monotonic_ns()
        journal = Journal(mode, [statement for part in parts for statement in part], started_ns)
        deadline_ns = started_ns + int(timeout_s * 1e9)
        run = Run(journal, ledger, witness, deadline_ns, timeout_s, on_state)
        for number, part in enumerate(parts):
            if part and not _run_file(target, part, mode, run, first=number == 0):
                break
        on_state(MigrationState())
        done = journal.run(time.monotonic_ns())
        after = witness.catalog()
        if after is None:
            return done
        left = aftermath(before, after, dead_before, witness.dead_rows(), done.statements)
        return replace(done, aftermath=left)


def _run_file(
    target: Target, statements: Sequence[SqlStatement], mode: TransactionMode, run: Run, *, first: bool
) -> bool:
    try:
        session = Session(target, APPLICATION_NAME)
    except ServerLostError:
        if first:
            raise
        _lost_between(run)
        return False
    with session:
        performer = Performer(session, run)
        if mode is TransactionMode.PER_FILE:
            return _per_file(performer, statements, run)
        if mode is TransactionMode.SINGLE_QUERY and len(statements) > 1:
            return _single_query(performer, statements, run)
        return _as_written(performer, statements, run)


def _lost_between(run: Run) -> None:
    now_ns = time.monotonic_ns()
    run.journal.add(
        Ending(StatementOutcome.FAILED, LOST_SQLSTATE, LOST),
        (now_ns, now_ns),
        transaction=run.journal.transaction(),
        lock_timeout_ms=0,
        effects=None,
    )


def _as_written(performer: Performer, statements: Sequence[SqlStatement], run: Run) -> bool:
    """As psql: each statement a transaction of its own, unless the file says otherwise."""
    done = all(performer.perform(statement) for statement in statements)
    if done and not performer.session.idle:  # psql hangs up at the end of the file
        performer.end(time.monotonic_ns(), committed=False)
        run.journal.amend_last(Ending(StatementOutcome.OK, message=LEFT_OPEN))
    return done


def _per_file(performer: Performer, statements: Sequence[SqlStatement], run: Run) -> bool:
    """BEGIN ... COMMIT around the file, as most migration tools do."""
    performer.begin(time.monotonic_ns())
    begun = performer.ending(performer.control("BEGIN"))
    if not begun.ok:
        performer.end(time.monotonic_ns(), committed=False)
        return performer.perform(statements[0])  # the session is gone: it says so itself
    if not all(performer.perform(statement) for statement in statements):
        return False
    if performer.session.idle:
        return True  # the file has committed by itself
    reply = performer.control("COMMIT")
    ending = performer.ending(reply)
    performer.end(reply.ended_ns, committed=ending.ok)
    if not performer.session.lost:
        performer.account()
    if not ending.ok:
        run.journal.amend_last(ending)
    return ending.ok


def _single_query(performer: Performer, statements: Sequence[SqlStatement], run: Run) -> bool:
    """The whole file as one simple query, which is one implicit transaction."""
    pieces: list[str] = []
    owners: list[int] = []  # of each piece, the statement it belongs to
    for number, statement in enumerate(statements):
        question = _question(statement)
        pieces += [statement.text, *([question] if question else [])]
        owners += [number] * (2 if question else 1)
    start_ns = performer.announce(statements[0])
    performer.begin(start_ns)
    first = run.journal.next
    pid = performer.session.pid

    def progress(answered: int) -> None:
        if answered < len(owners) and owners[answered] != owners[answered - 1]:
            number = owners[answered]
            text = statements[number].text
            run.on_state(MigrationState(pid, first + number, text, time.monotonic_ns()))

    reply = performer.session.query(
        SEPARATOR.join(pieces),
        copy_data=[s.copy_data for s in statements if s.copy_data is not None],
        deadline_ns=run.deadline_ns,
        on_answer=progress,
    )
    return _Reading(performer, statements, run, reply).read(start_ns)


def _question(statement: SqlStatement) -> str | None:
    if is_probed(statement, in_transaction=True):
        return PROBE
    return SHOW_LOCK_TIMEOUT if changes_settings(statement) else None


class _Reading:
    """Takes the answers of a single query apart again, statement by statement."""

    def __init__(
        self, performer: Performer, statements: Sequence[SqlStatement], run: Run, reply: Reply
    ) -> None:
        self._performer = performer
        self._statements = statements
        self._run = run
        self._reply = reply
        self._ending = performer.ending(reply)
        self._answers = iter(zip(reply.tags, reply.answers, strict=True))

    def read(self, start_ns: int) -> bool:
        """Writes down all statements that were executed; whether all of them were, and committed."""
        last = self._last_probe()
        if last is not None:
            self._performer.align(last, start_ns, self._reply.ended_ns)
        at_ns = start_ns
        for statement in self._statements:
            answer = next(self._answers, None)
            if answer is None:
                self._stopped_at(at_ns)
                return False
            finished_ns = self._executed(statement, answer[0], at_ns)
            if finished_ns is None:
                return False
            at_ns = finished_ns
        return self._finished()

    def _last_probe(self) -> Probe | None:
        """The last that was answered."""
        answers = iter(self._reply.answers)
        last: str | None = None
        for statement in self._statements:
            next(answers, None)
            answer = next(answers, None) if _question(statement) else None
            if answer is not None and is_probed(statement, in_transaction=True):
                last = answer[0][0]
        return probe_of(last) if last else None

    def _executed(self, statement: SqlStatement, tag: str, at_ns: int) -> int | None:
        """One that was answered: when it ended; None where what came behind it was not answered."""
        journal = self._run.journal
        if not journal.in_transaction:  # the one before was ended by a COMMIT in the file
            self._performer.begin(at_ns)
        transaction, lock_timeout_ms = journal.transaction(), self._performer.lock_timeout_ms
        ended_ns, effects = at_ns, Effects()
        if _question(statement):
            answer = next(self._answers, None)
            if answer is None:
                self._stopped_at(at_ns)
                return None
            value = answer[1][0][0] or ""
            if is_probed(statement, in_transaction=True):
                probe = probe_of(value)
                ended_ns = self._time(probe, at_ns)
                effects = self._performer.observe(statement, probe, tag)
            else:
                self._performer.lock_timeout_ms = milliseconds(value)
        if statement.control in (Control.COMMIT, Control.ROLLBACK):
            self._performer.end(ended_ns, committed=tag == "COMMIT")
        journal.add(
            Ending(StatementOutcome.OK),
            (at_ns, ended_ns),
            transaction=transaction,
            lock_timeout_ms=lock_timeout_ms,
            effects=effects,
            statement_timeout_ms=self._performer.statement_timeout_ms,
        )
        return ended_ns

    def _time(self, probe: Probe, at_ns: int) -> int:
        return min(max(self._performer.server_ns(probe), at_ns), self._reply.ended_ns)

    def _stopped_at(self, at_ns: int) -> None:
        """The next statement is the one that failed."""
        journal = self._run.journal
        journal.add(
            self._ending,
            (at_ns, self._reply.ended_ns),
            transaction=journal.transaction(),
            lock_timeout_ms=self._performer.lock_timeout_ms,
            effects=None,
        )
        self._performer.end(self._reply.ended_ns, committed=False)

    def _finished(self) -> bool:
        """All were answered: what is left is the commit, which may fail, too."""
        performer, journal = self._performer, self._run.journal
        if not self._ending.ok:
            journal.amend_last(self._ending)
        elif not performer.session.idle:
            journal.amend_last(replace(self._ending, message=LEFT_OPEN))
        committed = self._ending.ok and performer.session.idle
        performer.end(self._reply.ended_ns, committed=committed)
        if performer.session.idle and not performer.session.lost:
            performer.account()
        return self._ending.ok
