"""What one session of a migration tool does, statement by statement: told of each as it begins and ends,
writes down what it did. It asks the server only between two commands of the tool.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from psycopg import sql

from rehearse.engines.postgres.catalog import CATALOG_WITHIN, Catalog, catalog_within
from rehearse.engines.postgres.command import Control
from rehearse.engines.postgres.probe import (
    PROBE,
    SHOW_LOCK_TIMEOUT,
    Mark,
    Probe,
    flush_for,
    mark_for,
    mark_of,
    milliseconds,
    probe_of,
)
from rehearse.engines.postgres.session import Failure
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.blocks import Before, block_effects, called, evidence_of, since
from rehearse.migrate.documented import documented_locks, tables_named
from rehearse.migrate.journal import LOST, LOST_SQLSTATE
from rehearse.migrate.ledger import Ledger
from rehearse.migrate.lockers import Lockers
from rehearse.migrate.perform import with_wal
from rehearse.migrate.sending import changes_settings
from rehearse.migrate.toolbook import HUNG_UP, ToolBook, changed_nothing, shown
from rehearse.migrate.witness import Seen, Witness
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, Statement, StatementOutcome, TransactionSpan

RENAMES = "ALTER SCHEMA"
# Another session of the tool may hold any lock, while the tool waits for this one: before a statement, which
# is held up by it, and after one whose effects hang on it.
_BRIEFLY_S, _PATIENCE_S = 0.05, 2.0
_BLOCKS = ("DO", "CALL")
Ask = Callable[[str], list[tuple[str | None, ...]] | None]  # rows, or None where the server refused


@dataclass(slots=True)
class Work:
    """A statement of the tool on its way. `probed`: a question follows it in the same transaction; `alone`:
    it can only be watched from outside; `quiet`: it touches nothing, so there is nothing to ask.
    """

    source: SqlStatement
    probed: bool = False
    alone: bool = False
    quiet: bool = False
    index: int = -1
    sent_ns: int = field(default_factory=time.monotonic_ns)  # it is made as it is sent
    started_ns: int = 0
    ended_ns: int = 0
    transaction: int = 0
    lock_timeout_ms: int = 0
    statement_timeout_ms: int = 0
    fresh: bool = False
    tag: str | None = None  # of its answer: None until there is one
    failure: Failure | None = None
    effects: Effects | None = None

    @property
    def started(self) -> bool:
        """Whether it has been sent."""
        return self.index >= 0


class Course:
    """One session's. `ask` puts a simple query to the server in that session; it may be called only from
    `settled`.
    """

    def __init__(self, book: ToolBook, witness: Witness, ledger: Ledger, pid: int, version: int) -> None:
        self._book = book
        self._witness = witness
        self._lockers = Lockers(witness.bodies)
        self._ledger = ledger
        self._pid = pid
        self._version = version
        self._seen = 0  # of the book's commits
        self._offset_ns = 0
        self._lsn = 0
        self._mark: Mark | None = None
        self._lock_timeout_ms = 0
        self._statement_timeout_ms = 0
        self._transaction: int | None = None
        self._began_ns = 0
        self._done: list[Work] = []  # since the last ReadyForQuery
        self._changed = False
        self._status = b"I"  # as the server last said
        self._watching = ExitStack()
        self._watched: Seen | None = None
        # Of a command, which the server answers as a whole: how far it is known to have come. When the answer
        # to a statement arrives says nothing, a question behind it does.
        self._reached_ns = 0
        self._before: Before | None = None  # of a statement that may commit as it goes

    def commits(self, source: SqlStatement) -> bool:
        """Whether the procedure that a CALL names may end transactions; to be asked before it is sent."""
        return self._witness.procedure_commits(called(source))

    def start(self, work: Work) -> None:
        """It is about to be sent, or the one before it in the same command has just ended."""
        if self._transaction is None:
            self._catch_up()
        work.index, work.started_ns = self._book.announce(self._pid, shown(work.source.text))
        if self._done:
            work.started_ns = max(work.sent_ns, self._reached_ns)
            self._ended_by(self._done[-1], work.started_ns)
        else:
            self._reached_ns = work.started_ns
        work.fresh = self._transaction is None
        if self._transaction is None:
            self._begin(work.started_ns)
        assert self._transaction is not None
        work.transaction = self._transaction
        work.lock_timeout_ms = self._lock_timeout_ms
        work.statement_timeout_ms = self._statement_timeout_ms
        if work.alone:
            if work.source.command in _BLOCKS:
                self._before = Before(self._witness.marks(), self._witness.shared_counters())
            self._watched = self._watching.enter_context(self._witness.watching(self._pid))
        self._done.append(work)

    def answered(self, work: Work, tag: str) -> None:
        """It has succeeded."""
        work.tag, work.ended_ns = tag, time.monotonic_ns()
        if work.quiet:
            work.effects = Effects()
        if work.source.control in (Control.COMMIT, Control.ROLLBACK):
            self._end(work.ended_ns, committed=tag == "COMMIT")

    def probed(self, work: Work, value: str) -> None:
        """What the question behind it was answered."""
        probe = probe_of(value)
        self._lock_timeout_ms = probe.lock_timeout_ms
        self._statement_timeout_ms = work.statement_timeout_ms = probe.statement_timeout_ms
        self._align(probe, time.monotonic_ns())
        at_ns = probe.clock_us * 1000 + self._offset_ns
        work.ended_ns = self._reached_ns = min(max(at_ns, work.started_ns), time.monotonic_ns())
        effects = self._ledger.probed(work.source.command, probe)
        effects = replace(effects, wal_bytes=probe.lsn - self._lsn)
        read = self._ledger.read_under(LockMode.ROW_SHARE)
        locked = self._lockers.rows_locked(work.source, work.tag or "", effects, read)
        work.effects = replace(effects, rows_locked=locked)
        self._lsn = probe.lsn

    @staticmethod
    def _ended_by(work: Work, at_ns: int) -> None:
        """What was not asked about takes no time; the one behind it, which has effects, has it all. The end
        of a transaction stays where it was heard of, which is not too early.
        """
        if not work.probed and work.source.control not in (Control.COMMIT, Control.ROLLBACK):
            work.ended_ns = min(work.ended_ns, max(at_ns, work.started_ns))

    def lock_timeout_is(self, shown: str) -> None:
        """What the server says of it between two statements of one command."""
        self._lock_timeout_ms = milliseconds(shown or "0")

    def _align(self, probe: Probe, answered_ns: int) -> None:
        """Keeps the difference of the clocks within what the probe proves: the server received it after the
        command's first statement was sent, and had done it before it was answered.
        """
        latest_ns = answered_ns - probe.clock_us * 1000
        earliest_ns = self._done[0].started_ns - probe.began_us * 1000 if self._done else latest_ns
        self._offset_ns = min(max(self._offset_ns, earliest_ns), latest_ns)

    def failed(self, work: Work | None, failure: Failure) -> None:
        """The server refused `work`, or (None) the commit of those before it."""
        work = work if work is not None else (self._done[-1] if self._done else None)
        if work is not None and work.started and work.failure is None:
            work.failure, work.effects = failure, None
            work.ended_ns = time.monotonic_ns()

    def settled(self, status: bytes, ask: Ask) -> None:
        """The server is ready for the next command."""
        # one that the server skipped, behind one that it refused, was never executed
        self._done = done = [w for w in self._done if w.tag is not None or w.failure is not None]
        self._status = status
        watched = self._stop_watching()
        refused = any(work.failure for work in done)
        before = self._mark
        if status == b"I":
            self._after_alone(done, watched, ask)
            self._after_renaming(done, ask, committed=True)
            if self._transaction is not None:
                self._end(time.monotonic_ns(), committed=not refused)
            self.mark(ask)
            self._account(done, before)
        elif status == b"T":
            self._after_renaming(done, ask, committed=False)
            self._inside(done, ask)
        self._done = []
        for work in done:
            self._write(work)

    def mark(self, ask: Ask) -> None:
        """Between two transactions: clock, position in the log, settings; counters are set to zero."""
        if flush := flush_for(self._version):
            ask(flush)
        asked_ns = time.monotonic_ns()
        rows = ask(mark_for(self._version))
        answered_ns = time.monotonic_ns()
        self._ledger.flushed()
        self._mark = mark_of(rows[0]) if rows else None
        if self._mark is not None:
            self._offset_ns = (asked_ns + answered_ns) // 2 - self._mark.clock_us * 1000
            self._lock_timeout_ms = self._mark.lock_timeout_ms
            self._statement_timeout_ms = self._mark.statement_timeout_ms
            self._lsn = self._mark.lsn

    def lost(self, *, by_server: bool) -> None:
        """The session is over, whatever was going on in it."""
        self._stop_watching()
        at_ns = time.monotonic_ns()
        done = self._done
        for work in done:
            if work.tag is None and work.failure is None:
                text = LOST if by_server else HUNG_UP
                work.failure, work.ended_ns = Failure(LOST_SQLSTATE if by_server else None, text), at_ns
        committing = any(w.source.control is Control.COMMIT and w.tag is None for w in done)
        if self._transaction is not None and (by_server or not committing):  # else nobody knows how it ended
            # what only asked has nothing to lose
            harmless = not self._changed and self._status != b"E" and not any(w.failure for w in done)
            self._end(at_ns, committed=harmless)
        self._done = []
        for work in done:
            self._write(work)

    def _catch_up(self) -> None:
        """With what other sessions have committed."""
        committed = self._book.committed
        if committed != self._seen:
            catalog = self._witness.catalog(patience_s=_BRIEFLY_S)
            if catalog is not None:
                self._seen = committed
                self._ledger.caught_up(catalog)

    def _begin(self, at_ns: int) -> None:
        self._transaction, self._began_ns, self._changed = self._book.begin(), at_ns, False
        self._ledger.begin()

    def _end(self, at_ns: int, *, committed: bool) -> None:
        if self._transaction is None:
            return
        changed = self._changed or not changed_nothing(map(self._statement, self._done))
        self._book.end(TransactionSpan(self._transaction, self._began_ns, at_ns, committed), changed=changed)
        self._seen += committed and changed
        self._ledger.end(committed=committed)
        self._transaction = None

    def _stop_watching(self) -> Seen | None:
        watched, self._watched = self._watched, None
        self._watching.close()
        return watched

    def _after_alone(self, done: list[Work], watched: Seen | None, ask: Ask) -> None:
        """One that makes its own transactions was seen from outside. A failure leaves what it had done by
        then, an invalid index for one, and the tool may go on in spite of it.
        """
        before, self._before = self._before, None
        work = next((work for work in done if work.alone), None)
        if work is None or watched is None:
            return
        after = self._witness.catalog(patience_s=_PATIENCE_S)
        if after is None:
            return
        command = work.source.command
        if before is not None:
            if flush := flush_for(self._version):
                ask(flush)
            totals = since(before.counters, self._witness.shared_counters())
            work.effects = block_effects(
                work.source, watched, self._ledger, self._witness, before, after, totals
            )
        else:
            named = self._oids(tables_named(work.source), ask)
            documented = documented_locks(work.source, self._ledger.catalog(), after, named)
            evidence = evidence_of(watched.locks, documented, {})
            work.effects = self._ledger.recaptured(command, after, evidence)
        self._ledger.begin()  # it has committed as it went

    def _after_renaming(self, done: list[Work], ask: Ask, *, committed: bool) -> None:
        """ALTER SCHEMA changes the names of tables without locking them: the whole catalog is read anew."""
        work = next((w for w in done if w.source.command == RENAMES and w.tag is not None), None)
        if work is None or work.failure:
            return
        catalog = self._witness.catalog(patience_s=_PATIENCE_S) if committed else self._within(ask)
        if catalog is not None:
            work.effects = self._ledger.recaptured(RENAMES, catalog, ())

    def _within(self, ask: Ask) -> Catalog | None:
        """The catalog as the open transaction sees it."""
        rows = ask(CATALOG_WITHIN)
        return catalog_within(rows[0][0] or "", self._ledger.catalog()) if rows else None

    def _oids(self, names: tuple[str, ...], ask: Ask) -> tuple[int, ...]:
        found = []
        for name in names:
            call = sql.SQL("SELECT pg_catalog.to_regclass({})::pg_catalog.oid").format(sql.Literal(name))
            rows = ask(call.as_string(None))
            if rows and rows[0][0]:
                found.append(int(rows[0][0]))
        return tuple(found)

    def _account(self, done: list[Work], before: Mark | None) -> None:
        """What the transaction cost, and of one statement how much log it wrote itself."""
        if not done or before is None or self._mark is None:
            return
        if len(done) == 1 and done[0].fresh:
            done[0].effects = with_wal(done[0].effects, before, self._mark)
        self._book.account(done[-1].transaction, self._mark.work_since(before))

    def _inside(self, done: list[Work], ask: Ask) -> None:
        """Learns, within an open transaction, what no question behind a statement has told."""
        if any(work.source.control is Control.ROLLBACK_TO for work in done):
            probe, catalog = ask(PROBE), self._within(ask)
            if probe and catalog is not None:
                self._ledger.rolled_back_to(probe_of(probe[0][0] or ""), catalog)
        if any(changes_settings(work.source) for work in done):
            shown = ask(SHOW_LOCK_TIMEOUT)
            self._lock_timeout_ms = milliseconds(shown[0][0] or "0") if shown else 0
        last = done[-1] if done else None
        if last and last.tag is not None and last.effects is None and not last.failure:
            rows = ask(PROBE)
            if rows:
                ended_ns = last.ended_ns
                self.probed(last, rows[0][0] or "")
                last.ended_ns = ended_ns

    def _write(self, work: Work) -> None:
        statement = self._statement(work)
        self._changed = self._changed or not changed_nothing([statement])
        self._book.add(statement)

    def _statement(self, work: Work) -> Statement:
        outcome = StatementOutcome.REFUSED if work.failure else StatementOutcome.OK
        source = work.source
        return Statement(
            index=work.index,
            text=shown(source.text),
            file=self._book.name,
            line=work.index + 1,
            command=source.command,
            transaction=work.transaction,
            started_ns=work.started_ns,
            ended_ns=max(work.started_ns, work.ended_ns),
            outcome=outcome,
            sqlstate=work.failure.sqlstate if work.failure else None,
            message=work.failure.message if work.failure else None,
            lock_timeout_ms=work.lock_timeout_ms,
            statement_timeout_ms=work.statement_timeout_ms,
            effects=work.effects,
        )
