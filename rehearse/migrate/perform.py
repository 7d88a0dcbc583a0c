"""Executes statements on the migration's session, one way for each kind, and reads what they did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import sql

from rehearse.engines.postgres.catalog import CATALOG_WITHIN, catalog_within
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
from rehearse.engines.postgres.session import Reply, Session
from rehearse.engines.postgres.split import SqlStatement
from rehearse.engines.postgres.totals import OWN, VIRTUAL, Totals, own_totals
from rehearse.migrate.blocks import Before, block_effects, evidence_of
from rehearse.migrate.documented import documented_locks, tables_named
from rehearse.migrate.journal import Ending, Journal, ending_of, overdue
from rehearse.migrate.ledger import Ledger
from rehearse.migrate.lockers import Lockers
from rehearse.migrate.sending import NEEDS_TO_BE_ALONE, changes_settings, is_probed, sends_alone
from rehearse.migrate.witness import Witness
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, MigrationState

SEPARATOR = "\n;\n"


@dataclass(slots=True)
class Run:
    """What is the same for all files of one run."""

    journal: Journal
    ledger: Ledger
    witness: Witness
    deadline_ns: int
    timeout_s: float
    on_state: Callable[[MigrationState], None]


@dataclass(frozen=True, slots=True)
class Performed:
    """One statement, executed. `effects` is None where it failed or could not be looked into."""

    reply: Reply
    started_ns: int
    ended_ns: int
    effects: Effects | None


class Performer:
    """One session of the migration, from its first statement to its last."""

    def __init__(self, session: Session, run: Run) -> None:
        self._session = session
        self._run = run
        self._lockers = Lockers(run.witness.bodies)
        self._offset_ns = 0  # monotonic clock minus the server's
        self.lock_timeout_ms = 0
        self.statement_timeout_ms = 0
        self._lsn = 0
        self._mark: Mark | None = None
        self.mark()

    @property
    def session(self) -> Session:
        """The session itself."""
        return self._session

    def mark(self) -> None:
        """Reads clock, log position and settings between two transactions, and lets the server set the
        session's counters to zero.
        """
        version = self._session.server_version
        flush = flush_for(version)
        if flush:
            self._session.query(flush)
        asked_ns = time.monotonic_ns()
        reply = self._session.query(mark_for(version))
        self._run.ledger.flushed()
        self._mark = None
        if reply.failure is None:
            self._mark = mark_of(reply.answers[0][0])
            self._offset_ns = (asked_ns + reply.ended_ns) // 2 - self._mark.clock_us * 1000
            self.lock_timeout_ms = self._mark.lock_timeout_ms
            self.statement_timeout_ms = self._mark.statement_timeout_ms
            self._lsn = self._mark.lsn

    def account(self) -> None:
        """A mark after the end of a transaction, and what that has cost since the last one."""
        before = self._mark
        self.mark()
        if before is not None and self._mark is not None:
            self._run.journal.account(self._mark.work_since(before))

    def perform(self, statement: SqlStatement) -> bool:
        """Executes one statement and writes it down; whether the next one may follow."""
        run = self._run
        fresh = self._session.idle
        started_ns = self.announce(statement)
        if fresh:
            self.begin(started_ns)
        transaction = run.journal.transaction()
        lock_timeout_ms = self.lock_timeout_ms
        before = self._mark
        if started_ns > run.deadline_ns:
            ending, done = overdue(run.timeout_s), None
        else:
            done = self._execute(statement, started_ns, fresh=fresh)
            ending = ending_of(done.reply, run.timeout_s)
        statement_timeout_ms = self.statement_timeout_ms  # of the probe behind it, which runs under the same
        self._after(statement, done, done.reply.ended_ns if done else started_ns, ok=ending.ok)
        effects = done.effects if done else None
        if fresh and before and self._mark and self._mark is not before:
            effects = with_wal(effects, before, self._mark)
        run.journal.add(
            ending,
            (done.started_ns, done.ended_ns) if done else (started_ns, started_ns),
            transaction=transaction,
            lock_timeout_ms=lock_timeout_ms,
            effects=effects,
            statement_timeout_ms=statement_timeout_ms,
        )
        return ending.ok

    def announce(self, statement: SqlStatement) -> int:
        """Tells the observer which statement comes; the time it starts."""
        started_ns = time.monotonic_ns()
        state = MigrationState(self._session.pid, self._run.journal.next, statement.text, started_ns)
        self._run.on_state(state)
        return started_ns

    def begin(self, at_ns: int) -> None:
        """A transaction begins."""
        self._run.journal.begin(at_ns)
        self._run.ledger.begin()

    def end(self, at_ns: int, *, committed: bool) -> None:
        """The transaction has ended, if one was open."""
        self._run.journal.end(at_ns, committed=committed)
        self._run.ledger.end(committed=committed)

    def control(self, text: str) -> Reply:
        """A BEGIN or COMMIT that stands in no file."""
        return self._session.query(text, deadline_ns=self._run.deadline_ns)

    def ending(self, reply: Reply) -> Ending:
        """How it ended."""
        return ending_of(reply, self._run.timeout_s)

    def align(self, probe: Probe, sent_ns: int, answered_ns: int) -> None:
        """Keeps the difference of the clocks within what the query that ended with `probe` proves: the server
        received it after `sent_ns` and had done it before `answered_ns`. So a mark that was served late makes
        no statement shorter than the server says it was, and none that did its work seems to take no time.
        """
        latest_ns = answered_ns - probe.clock_us * 1000
        earliest_ns = sent_ns - probe.began_us * 1000
        if probe.clock_us < probe.began_us:  # the server's clock was set back meanwhile
            earliest_ns = latest_ns
        self._offset_ns = min(max(self._offset_ns, earliest_ns), latest_ns)

    def server_ns(self, probe: Probe) -> int:
        """The time of a probe on the monotonic clock."""
        return probe.clock_us * 1000 + self._offset_ns

    def observe(self, statement: SqlStatement, probe: Probe, tag: str) -> Effects:
        """What the statement before this probe, which was answered with `tag`, did."""
        self.lock_timeout_ms = probe.lock_timeout_ms
        self.statement_timeout_ms = probe.statement_timeout_ms
        effects = self._run.ledger.probed(statement.command, probe)
        wal_bytes, self._lsn = probe.lsn - self._lsn, probe.lsn
        effects = replace(effects, wal_bytes=wal_bytes)
        read = self._run.ledger.read_under(LockMode.ROW_SHARE)
        locked = self._lockers.rows_locked(statement, tag, effects, read)
        return replace(effects, rows_locked=locked)

    def _execute(self, statement: SqlStatement, started_ns: int, *, fresh: bool) -> Performed:
        if fresh and sends_alone(statement):
            return self._alone(statement, started_ns)
        if not is_probed(statement, in_transaction=not fresh):
            return self._unprobed(statement, started_ns)
        done = self._probed(statement, started_ns)
        failure = done.reply.failure
        if fresh and failure and failure.sqlstate in NEEDS_TO_BE_ALONE:
            return self._alone(statement, self.announce(statement))
        return done

    def _send(self, statement: SqlStatement, *further: str) -> Reply:
        return self._session.query(
            SEPARATOR.join([statement.text, *further]),
            copy_data=[] if statement.copy_data is None else [statement.copy_data],
            deadline_ns=self._run.deadline_ns,
        )

    def _unprobed(self, statement: SqlStatement, started_ns: int) -> Performed:
        reply = self._send(statement)
        if reply.failure:
            return Performed(reply, started_ns, reply.ended_ns, None)
        if not self._session.idle:
            self._settle(statement)
        return Performed(reply, started_ns, reply.ended_ns, Effects())

    def _settle(self, statement: SqlStatement) -> None:
        """Learns, inside a transaction, what a statement may have changed besides tables."""
        if changes_settings(statement):
            shown = self._session.query(SHOW_LOCK_TIMEOUT)
            if shown.failure is None:
                self.lock_timeout_ms = milliseconds(shown.answers[0][0][0] or "0")
        if statement.control is Control.ROLLBACK_TO:
            reply = self._session.query(SEPARATOR.join([PROBE, CATALOG_WITHIN]))
            if reply.failure is None:
                probe, catalog = (answer[0][0] or "" for answer in reply.answers)
                ledger = self._run.ledger
                ledger.rolled_back_to(probe_of(probe), catalog_within(catalog, ledger.catalog()))

    def _probed(self, statement: SqlStatement, started_ns: int) -> Performed:
        """The statement and the probe as one query: one transaction of both where none is open."""
        renames = statement.command == "ALTER SCHEMA"  # changes names of tables without locking them
        reply = self._send(statement, PROBE, *([CATALOG_WITHIN] if renames else []))
        if reply.failure:
            return Performed(reply, started_ns, reply.ended_ns, None)
        probe = probe_of(reply.answers[1][0][0] or "")
        self.align(probe, started_ns, reply.ended_ns)
        if renames:
            catalog = catalog_within(reply.answers[2][0][0] or "", self._run.ledger.catalog())
            effects = self._run.ledger.recaptured(statement.command, catalog, ())
        else:
            effects = self.observe(statement, probe, reply.tags[0])
        ended_ns = min(max(self.server_ns(probe), started_ns), reply.ended_ns)
        return Performed(reply, started_ns, ended_ns, effects)

    def _alone(self, statement: SqlStatement, started_ns: int) -> Performed:
        """A statement that makes its own transactions is seen from outside."""
        if statement.command in ("DO", "CALL"):
            return self._block(statement)
        run = self._run
        with run.witness.watching(self._session.pid) as seen:
            reply = self._send(statement)
        after = None if reply.lost else run.witness.catalog()
        if after is None:
            return Performed(reply, started_ns, reply.ended_ns, None)
        named = self._oids(tables_named(statement))
        documented = documented_locks(statement, run.ledger.catalog(), after, named)
        effects = run.ledger.recaptured(statement.command, after, evidence_of(seen.locks, documented, {}))
        run.ledger.begin()  # it has committed as it went: a failure takes nothing back
        return Performed(reply, started_ns, reply.ended_ns, effects)

    def _block(self, statement: SqlStatement) -> Performed:
        """One that may commit as it goes: its own counts are asked for before the session is idle again."""
        run = self._run
        before = Before(run.witness.marks())
        transaction = self._last_transaction()
        started_ns = self.announce(statement)
        with run.witness.watching(self._session.pid) as seen:
            reply = self._session.query_with(statement.text, OWN, deadline_ns=run.deadline_ns)
        after = None if reply.lost else run.witness.catalog()
        if after is None:
            return Performed(reply, started_ns, reply.ended_ns, None)
        answered = len(reply.answers) > 1
        totals = Totals(counted=False)
        if answered:
            totals = own_totals(reply.answers[1][0][0] or "", transaction)
        effects = block_effects(statement, seen, run.ledger, run.witness, before, after, totals)
        run.ledger.begin()  # it has committed as it went: a failure takes nothing back
        at_ns = (totals.clock_us or 0) * 1000 + self._offset_ns if answered else reply.ended_ns
        return Performed(reply, started_ns, min(max(at_ns, started_ns), reply.ended_ns), effects)

    def _last_transaction(self) -> int | None:
        """The number of the session's transaction just now; its counts begin anew behind it."""
        flush = flush_for(self._session.server_version)
        if flush:  # there may be those of a first attempt that the server refused
            self._session.query(flush)
        reply = self._session.query(VIRTUAL)
        return int(reply.answers[0][0][0] or 0) if reply.failure is None else None

    def _oids(self, names: tuple[str, ...]) -> tuple[int, ...]:
        found = []
        for name in names:
            call = sql.SQL("SELECT pg_catalog.to_regclass({})::pg_catalog.oid").format(sql.Literal(name))
            reply = self._session.query(call.as_string(None))
            if reply.failure is None and reply.answers[0][0][0]:
                found.append(int(reply.answers[0][0][0]))
        return tuple(found)

    def _after(self, statement: SqlStatement, done: Performed | None, ended_ns: int, *, ok: bool) -> None:
        """Closes the transaction if the statement ended it, and prepares for the next one."""
        if not ok or done is None:
            self.end(ended_ns, committed=False)
        elif statement.control in (Control.COMMIT, Control.ROLLBACK):
            self.end(ended_ns, committed=done.reply.tags[0] == "COMMIT")
            if not self._session.idle:
                self.begin(ended_ns)  # AND CHAIN
        elif self._session.idle:
            self.end(ended_ns, committed=True)
        if self._session.idle and not self._session.lost:
            self.account()


def with_wal(effects: Effects | None, before: Mark, after: Mark) -> Effects | None:
    """Log written by a transaction of one statement: the session's own count, where the server keeps one."""
    if effects is None:
        return None
    if before.wal_bytes is not None and after.wal_bytes is not None:
        return replace(effects, wal_bytes=after.wal_bytes - before.wal_bytes, wal_exact=True)
    return replace(effects, wal_bytes=effects.wal_bytes or after.lsn - before.lsn)
