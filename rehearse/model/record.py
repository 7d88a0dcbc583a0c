"""A run as it is kept: everything that was measured, and what was concluded from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.model.compatibility import CompatibilityFacts
from rehearse.model.drift import DriftFacts
from rehearse.model.gates import Aborted
from rehearse.model.migration import MigrationRun
from rehearse.model.plans import CountedStatement, PlansFacts
from rehearse.model.relation import Relation
from rehearse.model.repeats import Repeat
from rehearse.model.replica import ReplicaFacts
from rehearse.model.scale import ScaleFacts
from rehearse.model.scenario import Scenario
from rehearse.model.trials import IntegrityFacts, InterruptionFacts, MissingRows, RollbackFacts
from rehearse.model.trials import TrialKind as TrialKind  # noqa: PLC0414 - part of the record, too
from rehearse.model.verdict import Judgement
from rehearse.model.waits import LockWait, ObserverCost, ResourceSample
from rehearse.model.workload import DriverHealth, Footprint, Version

SCHEMA_VERSION = 1


class Phase(Enum):
    """A stretch of the traffic trial; a sample belongs to the one its *scheduled* time lies in."""

    WARM_UP = "warm-up"
    BASELINE = "baseline"
    MIGRATION = "migration"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase: `start_ns <= t < end_ns`."""

    phase: Phase
    start_ns: int
    end_ns: int


class Stage(Enum):
    """How far a run came; written to the record as each begins."""

    PROVISION = "provision"
    LOAD = "load"
    PREPARE = "prepare"
    WARM_UP = "warm-up"
    BASELINE = "baseline"
    MIGRATION = "migration"
    RECOVERY = "recovery"
    TRIALS = "trials"
    JUDGE = "judge"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the run ran on. `settings` are server settings that differ from the shipped defaults, `notes`
    what a reader should know about the database that was provided (how copies were made, what was off),
    `limits` what a container may use, by name.
    """

    provisioner: str  # embedded, docker, local, dsn: never the address
    server_version: str
    cpus: int
    memory_bytes: int
    platform: str
    tool_version: str
    python_version: str
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table of the rehearsal: rows and bytes (heap, indexes) before the migration, and its rows in
    production (None: not said). `touched` says whether the migration locks it, `key` names the columns
    of its primary key (empty: it has none, or it is not said). A `ledger` is where a migration tool notes
    what it has applied: no data of the application's.
    """

    relation: Relation
    rows: int
    heap_bytes: int
    index_bytes: int
    production_rows: int | None = None
    touched: bool = False
    key: tuple[str, ...] = ()
    ledger: bool = False


@dataclass(frozen=True, slots=True)
class ScriptInfo:
    """A script of the mix, its parametrised statements and what it is for; `inferred` if we wrote it.
    `version` says whether the application that runs already sends it, or the one that comes after.
    """

    name: str
    weight: int
    statements: tuple[str, ...]
    inferred: bool = False
    version: Version = Version.OLD


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What was loaded and how long it took. `precautions` say what generation did so that the migration
    can succeed (a column that becomes NOT NULL has no nulls), `notes` what it could not do.
    """

    rows: int
    size_bytes: int
    load_seconds: float
    index_seconds: float
    seed: int
    precautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One fresh copy of the database, put through one script of acts.

    The samples of the traffic stand in the file `samples_file` of the run's folder, not in here.
    `missing_adversaries` are those that the scenario asked for and that were not there when they should be.
    `unmeasured` says why the trial could not be made, or not to its end; what a trial of its kind found
    stands in the field of that name. `missing_rows` were committed by the traffic and are not there.
    `aborted` is the gate that broke the migration off. `counted` is what pg_stat_statements says of the
    application's statements, None where it is not loaded.
    """

    kind: TrialKind
    phases: tuple[PhaseSpan, ...] = ()
    migration: MigrationRun | None = None
    waits: tuple[LockWait, ...] = ()
    resources: tuple[ResourceSample, ...] = ()
    observer: ObserverCost | None = None
    driver: DriverHealth | None = None
    samples_file: str | None = None
    missing_adversaries: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unmeasured: str | None = None
    missing_rows: tuple[MissingRows, ...] = ()
    integrity: IntegrityFacts | None = None
    rollback: RollbackFacts | None = None
    interruption: InterruptionFacts | None = None
    aborted: Aborted | None = None
    plans: PlansFacts | None = None
    compatibility: CompatibilityFacts | None = None
    drift: DriftFacts | None = None
    scale: ScaleFacts | None = None
    replica: ReplicaFacts | None = None
    counted: tuple[CountedStatement, ...] | None = None

    def phase(self, phase: Phase) -> PhaseSpan | None:
        """The span of `phase`, None where the trial never came to it."""
        return next((span for span in self.phases if span.phase is phase), None)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All of a run. `stage` is where it stands, or stood when it died; `error` what ended it early.

    `origin_ns` is the monotonic clock at `started_at` (UTC, ISO 8601): every `_ns` of the record is on
    that clock. `repeats` are all traffic trials, where there was more than one, with that in `trials`.
    """

    schema_version: int
    run_id: str
    started_at: str
    origin_ns: int
    stage: Stage
    scenario: Scenario
    environment: Environment | None = None
    dataset: DatasetFacts | None = None
    tables: tuple[TableFacts, ...] = ()
    scripts: tuple[ScriptInfo, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    trials: tuple[Trial, ...] = ()
    judgement: Judgement | None = None
    error: str | None = None
    repeats: tuple[Repeat, ...] = ()

    def trial(self, kind: TrialKind) -> Trial | None:
        """The first trial of that kind, if it was run."""
        return next((trial for trial in self.trials if trial.kind is kind), None)
