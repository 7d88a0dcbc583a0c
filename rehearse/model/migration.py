"""The migration as it was executed: statements, their transactions, and what each did to the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation


class TransactionMode(Enum):
    """How a migration file is sent, because it decides how long its locks are held."""

    AS_WRITTEN = "as-written"  # as psql: each statement its own transaction unless the file says BEGIN
    PER_FILE = "per-file"  # BEGIN ... COMMIT around the file
    SINGLE_QUERY = "single-query"  # the whole file as one simple-protocol query


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A migration tool as its team runs it: the command and its arguments, run without a shell in `cwd`.

    `env` comes on top of our own environment; its values may hold passwords: no record has them.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str = "."


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file of a migration, in the order it is to be run; or in its place the command of a `tool`, whose
    `name` and `text` are the command line.
    """

    name: str
    text: str
    tool: ToolSpec | None = None


class StatementOutcome(Enum):
    """How a statement ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"  # by us: the migration took longer than it was allowed
    REFUSED = "refused"  # by the server, and the migration tool that had sent it went on
    RUNNING = "running"  # in a record that was cut short
    NOT_RUN = "not run"  # after one that failed


class LockEvidence(Enum):
    """Where the knowledge of a lock comes from."""

    TRANSACTION = "transaction"  # read from pg_locks inside the transaction: exact
    SAMPLED = "sampled"  # seen from another session while the statement ran
    DOCUMENTED = "documented"  # what the manual says the command takes, because it could not be read


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock this statement took, held to the end of its transaction.

    `table` is the table itself, or the one an index belongs to. `created_here` marks relations that the
    migration itself created: no application can be waiting for those. Where the statement commits as it
    goes, `span_ns` is the longest time that the lock can have been held in one of its transactions: from the
    last look that did not find it to the first that no longer did. `weaker` modes on the same relation the
    statement took as well, for as long or longer; they keep out nobody whom `mode` does not keep out.
    """

    relation: Relation
    mode: LockMode
    kind: str  # table, partitioned table, index, view, materialized view, sequence
    table: Relation
    created_here: bool = False
    evidence: LockEvidence = LockEvidence.TRANSACTION
    span_ns: tuple[int, int] | None = None
    weaker: tuple[LockMode, ...] = ()


@dataclass(frozen=True, slots=True)
class TableWork:
    """A table that was rewritten or read as a whole: its rows and bytes (heap) at that moment."""

    table: Relation
    rows: int
    size_bytes: int
    created_here: bool = False


@dataclass(frozen=True, slots=True)
class TableTotals:
    """What a statement that commits as it goes did to a table in all of its transactions together: rows read
    one after the other and rows changed, of a table of `rows` before. `locks_rows`: its text has a FOR
    UPDATE or the like, so that the rows it read may be rows it locked.
    """

    table: Relation
    rows: int
    read: int
    changed: int
    created_here: bool = False
    locks_rows: bool = False


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """An index that was built or rebuilt over `table`: the rows it covers, its bytes afterwards."""

    index: Relation
    table: Relation
    rows: int
    size_bytes: int
    concurrently: bool = False
    created_here: bool = False  # whether the *table* was created by the migration itself


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column that went away or changed: `after` is its new name or type, None if it was dropped.

    `rows_with_data` counts the rows that held a value in it before the migration (None: not counted).
    """

    table: Relation
    column: str
    what: str  # dropped, renamed, retyped
    after: str | None = None
    rows_with_data: int | None = None


@dataclass(frozen=True, slots=True)
class RelationChange:
    """A table that went away, was emptied or renamed. `rows` is what it held before the migration."""

    relation: Relation
    what: str  # dropped, truncated, renamed
    after: str | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """What one statement did. Every field is a fact read from the server, not a guess from the text.

    `rows_changed` is what INSERT, UPDATE and DELETE reported by table, `rows_locked` how many rows were
    locked at most without being changed (SELECT ... FOR UPDATE). `wal_bytes` is None where not
    measured; `wal_exact` tells the session's own count from a difference of log positions, which has
    the traffic's share in it. Where `counted` is false the server did not count rows: that `scanned` and
    `rows_changed` have none says nothing. A statement that commits as it goes has `totals` instead of these
    two: which of its transactions did what is not known.
    """

    locks: tuple[HeldLock, ...] = ()
    rewritten: tuple[TableWork, ...] = ()
    scanned: tuple[TableWork, ...] = ()
    built: tuple[IndexBuild, ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    relations: tuple[RelationChange, ...] = ()
    rows_changed: tuple[tuple[Relation, int], ...] = ()
    invalid_indexes: tuple[Relation, ...] = ()  # indexes that this statement left INVALID
    wal_bytes: int | None = None
    wal_exact: bool = False
    longest_transaction_ns: int | None = None  # sampled, of a statement that commits as it goes
    counted: bool = True
    rows_locked: tuple[tuple[Relation, int], ...] = ()
    totals: tuple[TableTotals, ...] = ()  # of a statement that commits as it goes
    transactions: int | None = None  # of it: how many they were, None where not counted
    loops: bool | None = None  # of it: whether its text may do a thing again and again


@dataclass(frozen=True, slots=True)
class WorkPhase:
    """A phase of an index build, a rewrite, a vacuum or a copy as the server reports its progress.

    Sampled: a phase may have gone unseen, and has lasted at least from `first_seen_ns` to `last_seen_ns`.
    `done` of `total` (blocks, rows or bytes; 0 of 0: not said) is as last seen.
    """

    statement: int
    command: str
    table: Relation | None
    phase: str
    first_seen_ns: int
    last_seen_ns: int
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class SessionWork:
    """What a transaction cost in files. `temp_files` and `temp_bytes` (sorts and hashes that did not fit
    into memory) are counted by the server for the whole database, the traffic's among them. `read_bytes`
    and `written_bytes` (blocks of tables and indexes that went through the server's buffers; what an index
    build or a rewrite writes past them is not among them) are the session's own where `own` is true; else
    reads are the whole database's and writes are not measured.
    """

    temp_files: int
    temp_bytes: int
    read_bytes: int | None
    written_bytes: int | None
    own: bool


@dataclass(frozen=True, slots=True)
class Aftermath:
    """A relation that the migration touched: its bytes (main fork) before and after, None where it did not
    exist, and the dead rows that came meanwhile, the traffic's among them. `peak_bytes` is the most that it
    is known to have taken meanwhile, a lower bound: while it is made anew, its old file lies beside the new.
    """

    relation: Relation
    kind: str
    before_bytes: int | None
    after_bytes: int | None
    dead_rows: int = 0
    peak_bytes: int | None = None  # None: in a record that is older than it


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as executed. `waited_ns` is the lock wait of the migration itself, a lower bound.
    `retries` of its waits were given up and begun again (by a loop of its own around a lock_timeout), which
    lost it `retried_ns`; both are lower bounds.

    `transaction` numbers the transaction it ran in (statements that share one share their locks to its
    end). `lock_timeout_ms` is what was in force when it started, and `statement_timeout_ms` while it ran, 0
    for none. `message` is the server's, without its DETAIL, which may quote rows.
    """

    index: int
    text: str
    file: str
    line: int
    command: str  # its first words, upper case: ALTER TABLE, CREATE INDEX CONCURRENTLY, UPDATE
    transaction: int
    started_ns: int
    ended_ns: int
    outcome: StatementOutcome
    sqlstate: str | None = None
    message: str | None = None
    lock_timeout_ms: int = 0
    statement_timeout_ms: int = 0
    waited_ns: int = 0
    effects: Effects | None = None  # None: not measured
    retries: int = 0
    retried_ns: int = 0
    phases: tuple[WorkPhase, ...] = ()

    @property
    def is_command(self) -> bool:
        """Whether it stands for the command of a tool that failed by itself, after all that it had sent."""
        return self.text == self.file

    @property
    def whereabouts(self) -> str:
        """Where a migration failed: `in statement 3`, or `after its 13 statements`."""
        if not self.is_command:
            return f"in statement {self.index + 1}"
        if self.index == 0:
            return "before its first statement"
        return f"after its {self.index} statement{'s' if self.index > 1 else ''}"


@dataclass(frozen=True, slots=True)
class TransactionSpan:
    """One transaction of the migration, from its first statement to its COMMIT or ROLLBACK."""

    index: int
    started_ns: int
    ended_ns: int
    committed: bool
    work: SessionWork | None = None  # None: not measured


@dataclass(frozen=True, slots=True)
class ToolRun:
    """How the command of a migration tool ended. `exit_status` is negative where a signal ended it, and None
    where we did; `output` are its last lines, passwords masked; `sessions` counts its connections.
    """

    command: str
    exit_status: int | None
    output: tuple[str, ...] = ()
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class MigrationRun:
    """The migration from first to last statement."""

    mode: TransactionMode
    started_ns: int
    ended_ns: int
    statements: tuple[Statement, ...]
    transactions: tuple[TransactionSpan, ...]
    aftermath: tuple[Aftermath, ...] = ()
    tool: ToolRun | None = None  # None: it was sent by us

    @property
    def failed(self) -> Statement | None:
        """The statement that stopped it, if one did."""
        bad = (StatementOutcome.FAILED, StatementOutcome.CANCELLED)
        return next((s for s in self.statements if s.outcome in bad), None)


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Where a running migration is, for whoever observes it from another thread."""

    pid: int | None = None  # the server process of its session; of a tool's, the one that executes
    statement: int | None = None  # index of the statement being executed
    text: str = ""
    started_ns: int = 0  # of that statement
    pids: frozenset[int] = frozenset()  # of all its sessions, where a tool may have several
