"""What the user asked for. Built once, by `rehearse.scenario`, and never mutated."""

from __future__ import annotations

from dataclasses import dataclass, field

from rehearse.model.accepted import AcceptSpec
from rehearse.model.gates import Gate
from rehearse.model.generation import ColumnSpec, TableSpec
from rehearse.model.migration import SqlFile, TransactionMode
from rehearse.model.profile import Profile
from rehearse.model.target import EngineName
from rehearse.model.trials import TrialsSpec
from rehearse.model.workload import Arrivals, Pacing, Protocol, RateStep, RetryPolicy, ScriptSource, Trace


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a container may use; None: no limit but the engine's own. `tmpfs`: its files are in memory."""

    cpus: float | None = None
    memory_bytes: int | None = None
    shm_size_bytes: int | None = None
    tmpfs: bool = False


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A server's settings as its owner exported them, in the order of `file`: names in lower case, values
    as in postgresql.conf. They may hold passwords (`primary_conninfo`), and are kept out of every record.
    """

    file: str
    values: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """`provision` is `embedded`, `docker:IMAGE`, `local:BINDIR`, or a DSN (kept out of every report).

    `settings` come on top of `production`, the settings of another server, of which is taken over what
    can be. `extensions`, then the SQL of `init`, are made in the database before its schema.
    """

    engine: EngineName = EngineName.POSTGRES
    provision: str = field(default="embedded", repr=False)  # a DSN may hold a password
    settings: tuple[tuple[str, str], ...] = ()
    production: ServerSettings | None = None
    extensions: tuple[str, ...] = ()
    init: tuple[SqlFile, ...] = ()
    container: ContainerSpec | None = None


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Row counts as asked for: by table name as the user wrote it, and for every other table.

    `default` None: not given.
    """

    default: int | None = None
    tables: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """The schema's SQL, how many rows, and SQL files that load some of it.

    `columns` and `tables` say what generated rows are to be like; `locale` is Faker's, for words. `profile`
    is of production: its rows times `scale`, and its distributions, wherever nothing else is said.
    """

    schema: SqlFile
    rows: RowCounts = RowCounts()
    load: tuple[SqlFile, ...] = ()
    seed: int = 42
    columns: tuple[ColumnSpec, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    locale: str = "en_US"
    profile: Profile | None = field(default=None, repr=False)
    scale: float = 1.0
    snapshot: str = ""  # folder of a masked snapshot, whose schema is the schema and whose rows are loaded


@dataclass(frozen=True, slots=True)
class PhaseLengths:
    """Seconds of each phase that does not depend on the migration."""

    warm_up_s: float = 3.0
    baseline_s: float = 8.0
    recovery_s: float = 4.0


@dataclass(frozen=True, slots=True)
class NewApplication:
    """The version that is deployed once the migration is through: its scripts, and the share of the traffic
    that goes to it, which grows evenly from nothing over `ramp_s`, as in a rolling deploy.
    """

    scripts: tuple[ScriptSource, ...]
    share: float = 0.5
    ramp_s: float = 5.0


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """The traffic. No scripts: infer them. `rate` is transactions a second over all clients, open loop; where
    it changes (`steps`, `trace`) the highest of them. In a closed loop each client sends its next transaction
    when the one before has ended, and `rate` says nothing.

    `variables` are integers that scripts may use as `:name` (`scale`). `writes` and `hot` are for an inferred
    workload: the part of its transactions that write (None: as the schema suggests), and tables whose
    scripts have their weight multiplied.
    """

    scripts: tuple[ScriptSource, ...] = ()
    rate: float = 400.0
    clients: int = 32
    processes: int = 1
    protocol: Protocol = Protocol.PREPARED
    variables: tuple[tuple[str, int], ...] = ()
    phases: PhaseLengths = PhaseLengths()
    closed_loop: bool = False
    arrivals: Arrivals = Arrivals.POISSON
    steps: tuple[RateStep, ...] = ()
    trace: Trace | None = None
    retry: RetryPolicy | None = None
    after: NewApplication | None = None
    writes: float | None = None
    hot: tuple[tuple[str, float], ...] = ()

    @property
    def pacing(self) -> Pacing:
        """How its transactions are spread over time."""
        return Pacing(self.arrivals, self.steps, self.trace)


@dataclass(frozen=True, slots=True)
class MigrationSpec:
    """The change. `expendable` names columns (`table.column`) and tables whose data may go.

    `timeout_s` bounds the whole migration; it is cancelled after that.
    """

    up: tuple[SqlFile, ...]
    down: tuple[SqlFile, ...] = ()
    transaction: TransactionMode = TransactionMode.AS_WRITTEN
    expendable: tuple[str, ...] = ()
    timeout_s: float = 600.0


ADVERSARY_KINDS = ("long-reader", "idle-in-transaction", "long-writer", "snapshot", "autovacuum")


@dataclass(frozen=True, slots=True)
class AdversarySpec:
    """Company for the migration: starts `start_s` from the migration's start (negative: before)."""

    kind: str
    table: str
    duration_s: float
    start_s: float = -1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything said about one rehearsal; defaults filled in, files read.

    `aborts` break the migration off as soon as one of them is true. The traffic trial is made `repeat`
    times. `accepted` are risks that are taken.
    """

    name: str
    dataset: DatasetSpec
    migration: MigrationSpec
    database: DatabaseSpec = DatabaseSpec()
    workload: WorkloadSpec = WorkloadSpec()
    production: RowCounts = RowCounts()
    gates: tuple[Gate, ...] = ()
    adversaries: tuple[AdversarySpec, ...] = ()
    trials: TrialsSpec = field(default_factory=TrialsSpec)
    seed: int = 42
    source: str = ""  # the scenario file, or the command line, for the report
    aborts: tuple[Gate, ...] = ()
    repeat: int = 1
    accepted: tuple[AcceptSpec, ...] = ()
