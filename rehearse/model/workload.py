"""The traffic: what is sent, when, and what became of each transaction."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation


class Protocol(Enum):
    """How statements are sent, as `pgbench -M`."""

    SIMPLE = "simple"
    EXTENDED = "extended"
    PREPARED = "prepared"


class Arrivals(Enum):
    """How the arrivals of a given rate are spread."""

    POISSON = "poisson"  # independent of each other, as those of many users are
    UNIFORM = "uniform"  # evenly spaced


@dataclass(frozen=True, slots=True)
class RateStep:
    """`rate` transactions a second until `until_s` from the traffic's start (None: for ever); `ramp`: the
    rate changes evenly from that of the step before (0 at the start) and reaches `rate` at `until_s`.
    """

    rate: float
    until_s: float | None = None
    ramp: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded schedule: when each transaction is due, in nanoseconds from the start and ascending, and the
    place of its script in the mix. `length_ns` is the time after which it begins again where it is repeated.
    """

    file: str
    length_ns: int
    due_ns: tuple[int, ...] = field(default=(), repr=False)
    script: tuple[int, ...] = field(default=(), repr=False)
    repeat: bool = True


@dataclass(frozen=True, slots=True)
class Pacing:
    """How transactions are spread over time. Without `steps` and `trace` the rate is steady."""

    arrivals: Arrivals = Arrivals.POISSON
    steps: tuple[RateStep, ...] = ()
    trace: Trace | None = None


STEADY = Pacing()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Transactions that fail with one of `sqlstates` are sent again, `attempts` times in all, after a pause
    that doubles from `backoff_s` on. What is sent again is the same transaction: its latency goes on.
    """

    sqlstates: tuple[str, ...] = ("40001", "40P01", "55P03")
    attempts: int = 3
    backoff_s: float = 0.05


class Version(Enum):
    """Which application a script belongs to: the one that runs already, or the one that comes after."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """One script of the mix, in pgbench's script syntax, with its weight. `name` is unique in a workload."""

    name: str
    text: str
    weight: int = 1
    file: str = ""  # where it was read from; empty for an inferred one


@dataclass(frozen=True, slots=True)
class Footprint:
    """The tables that one script locks, and in which modes: read from `pg_locks` inside its transaction."""

    script: str
    locks: tuple[tuple[Relation, LockMode], ...]


class Outcome(IntEnum):
    """What became of one transaction. The numbers stand in the sample files: append only."""

    OK = 0
    ERROR = 1  # the server refused a statement: see the SQLSTATE
    CONNECTION_LOST = 2
    UNFINISHED = 3  # still waiting, or never started, when the run ended
    SKIPPED = 4  # the client had nothing to send (a pool of fresh rows ran out); not the server's doing
    RETRIED = 5  # not a transaction: an attempt that was refused and made again, before the one that counts


NOT_DUE = (Outcome.SKIPPED, Outcome.RETRIED)
"""What stands in the samples and is no transaction that was to be sent."""


@dataclass(frozen=True, slots=True)
class TransactionSample:
    """One transaction: when it was due, when it was sent, when it was answered.

    Latency counts from `scheduled_ns`. `statement` is the index within the script of the statement that
    failed, -1 where none did.
    """

    script: str
    scheduled_ns: int
    started_ns: int
    ended_ns: int
    outcome: Outcome = Outcome.OK
    sqlstate: str | None = None
    statement: int = -1


def _longs() -> array[int]:
    return array("q")


def _shorts() -> array[int]:
    return array("h")


@dataclass(slots=True)
class SampleColumns:
    """Many `TransactionSample`s as columns of one length; numpy reads them in place (buffer protocol).

    `script` indexes `scripts`, `sqlstate` indexes `sqlstates` (-1: none). A transaction that never
    started has `started_ns == 0`; one that never ended has `ended_ns` of the end of the run.
    """

    scripts: tuple[str, ...] = ()
    sqlstates: tuple[str, ...] = ()
    script: array[int] = field(default_factory=_shorts)
    scheduled_ns: array[int] = field(default_factory=_longs)
    started_ns: array[int] = field(default_factory=_longs)
    ended_ns: array[int] = field(default_factory=_longs)
    outcome: array[int] = field(default_factory=_shorts)
    sqlstate: array[int] = field(default_factory=_shorts)
    statement: array[int] = field(default_factory=_shorts)

    def __len__(self) -> int:
        return len(self.scheduled_ns)


@dataclass(frozen=True, slots=True)
class DriverHealth:
    """What the driver says of itself.

    Lag is `started - scheduled` of the transactions that found a free connection at once, over the
    baseline: what the driver alone added. `cpu_share` is its processes' CPU time over wall time, 1.0 a
    core. Latencies include the time queued for a connection; `peak_queue` is the longest such queue.
    `pauses` are the times (start, end) in which all of its processes wanted to run, and none was served.
    """

    processes: int
    clients: int
    offered: int
    finished: int
    offered_baseline: int
    finished_baseline: int
    lag_p50_ns: int
    lag_p99_ns: int
    lag_max_ns: int
    cpu_share: float
    peak_queue: int
    skipped: int = 0
    reconnects: int = 0
    retries: int = 0
    pauses: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LiveTraffic:
    """The driver as it stands, cheap enough to ask for every few milliseconds.

    `oldest_in_flight_ns` is when the oldest unanswered transaction was sent, None where none is out.
    `rate` and `p99_ns` are over the last second or so; `queued` transactions are due and have no
    connection yet.
    """

    due: int = 0
    finished: int = 0
    failed: int = 0
    in_flight: int = 0
    queued: int = 0
    oldest_in_flight_ns: int | None = None
    rate: float = 0.0
    p99_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PoolKey:
    """A column that scripts draw from: `sample(table.column)` draws from rows that exist, `fresh(...)`
    from rows that generation would have made next and nobody has inserted. Within one transaction all
    draws of one kind from one table come from one row.
    """

    kind: str  # sample, fresh
    table: str  # as the script wrote it, schema-qualified or not, unquoted
    column: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows to draw from: `columns[name][i]` is row i's value as text the server reads, None for NULL."""

    kind: str
    table: str
    columns: dict[str, list[bytes | None]]

    @property
    def rows(self) -> int:
        """How many rows there are to draw from."""
        return len(next(iter(self.columns.values()), []))
