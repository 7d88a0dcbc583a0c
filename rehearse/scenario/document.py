"""A scenario as the user writes it: the tables and keys of its TOML, checked strictly, nothing read yet.

Descriptions stand in the JSON Schema that editors use, so they are written for the person editing.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rehearse.model.migration import TransactionMode
from rehearse.model.scenario import ADVERSARY_KINDS
from rehearse.model.target import EngineName
from rehearse.model.workload import Arrivals, Protocol, RetryPolicy
from rehearse.scenario.entries import (
    ALL_TRIALS,
    ARRIVALS,
    DURATION_SCHEMA,
    ENGINES,
    MODES,
    PROTOCOLS,
    TRIALS,
    Command,
    Day,
    Duration,
    Files,
    FolderName,
    Length,
    LengthOrNone,
    Memory,
    Processors,
    ProductionRows,
    Provision,
    Rows,
    Settings,
    Share,
    Size,
    Text,
    VariableName,
    Words,
    as_list,
    choices,
    lasting,
    one_of,
)
from rehearse.scenario.generation import ColumnTable, TableTable
from rehearse.scenario.pacing import (
    APPLICATION,
    CLOSED_LOOP,
    HIGHEST_RATE,
    NONE,
    as_retry,
    as_steps,
    check_sqlstate,
)


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ContainerTable(_Table):
    """What a container may use, with docker:IMAGE."""

    cpus: Processors | None = Field(
        None, description="Processors, 0.5 for half of one; all of them if not given."
    )
    memory: Memory | None = Field(None, description='Memory without swap, "2GiB"; no limit if not given.')
    shm_size: Size | None = Field(
        None, description='Shared memory for parallel queries and index builds; "1GiB" if not given.'
    )
    tmpfs: bool = Field(False, description="Keep the data in memory instead of in a volume.")


class DatabaseTable(_Table):
    """Where the rehearsal takes place."""

    engine: Annotated[str, one_of(*ENGINES), choices(ENGINES)] = Field(
        EngineName.POSTGRES.value, description="The database engine."
    )
    provision: Provision = Field(
        "embedded", description="embedded, docker:IMAGE, local:BINDIR, or the DSN of an existing server."
    )
    settings: Settings = Field(
        {},
        description="Server settings, as in postgresql.conf; or the file that production's were saved to, "
        'which "include" names beside others.',
    )
    extensions: Words = Field(
        [], description="Extensions that the database needs, created before the schema."
    )
    init: Files = Field([], description="SQL files to run before the schema.")
    container: ContainerTable | None = Field(None, description="What the container may use.")


class DatabaseDocument(_Table):
    """A database alone, without anything to rehearse."""

    database: DatabaseTable


class DatasetTable(_Table):
    """What is in the database before the migration."""

    schema_file: Text = Field(
        alias="schema", description="SQL file that creates the schema, such as pg_dump --schema-only prints."
    )
    rows: Rows = Field({}, description='Rows to generate: a count, or by table; "*" is every other table.')
    load: Files = Field([], description="SQL files that fill tables instead of generation.")
    seed: int = Field(42, ge=0, lt=2**63, description="Everything drawn at random is drawn from it.")
    columns: dict[Text, ColumnTable] = Field(
        {}, description='How single columns are filled, by "table.column".'
    )
    tables: dict[Text, TableTable] = Field(
        {}, description="How rows are shared out over parents, and how much of a table is dead, by table."
    )
    locale: Text = Field("en_US", description="Faker's locale, for names, cities and other words.")
    profile: Text | None = Field(
        None, description="Profile of production, from `rehearse data profile`: rows and distributions."
    )
    scale: float = Field(1.0, gt=0, le=1e6, description="The profile's row counts are multiplied by this.")
    snapshot: Text | None = Field(
        None, description="Folder that `rehearse data mask --out` wrote; `schema` is the schema.sql in it."
    )


class RateTable(_Table):
    """A step of a rate that changes."""

    rate: float = Field(ge=0, le=HIGHEST_RATE, description="Transactions a second.")
    until: Length | None = Field(None, description="Until when, from the start of the traffic.")
    ramp: bool = Field(False, description="The rate changes evenly from the step before until then.")


class RetryTable(_Table):
    """What the application sends again."""

    sqlstates: list[Annotated[str, AfterValidator(check_sqlstate)]] = Field(
        list(RetryPolicy().sqlstates), min_length=1, description="The errors after which it does."
    )
    attempts: int = Field(RetryPolicy().attempts, ge=2, le=1000, description="How often at most, in all.")
    backoff: LengthOrNone = lasting("50ms", "The pause before the second attempt, doubled for each further.")


class AfterTable(_Table):
    """The new application, which comes once the migration is through."""

    scripts: Annotated[Files, Field(min_length=1)] = Field(
        description="Its transactions: pgbench scripts as FILE@WEIGHT."
    )
    share: Share = Field(
        0.5,
        description="The part of the traffic that goes to it in the end.",
        json_schema_extra={"default": "50%"},
    )
    ramp: LengthOrNone = lasting("5s", "How long its share grows, from nothing.")


_STEP_SCHEMA: dict[str, object] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rate"],
    "properties": {
        "rate": {"type": "number", "minimum": 0, "maximum": HIGHEST_RATE},
        "until": DURATION_SCHEMA,
        "ramp": {"type": "boolean"},
    },
}
_RATE_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": HIGHEST_RATE},
        {"const": CLOSED_LOOP},
        {"type": "array", "items": _STEP_SCHEMA, "minItems": 1},
    ],
}
_RETRY_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"enum": [NONE, APPLICATION]},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "sqlstates": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "attempts": {"type": "integer", "minimum": 2, "maximum": 1000},
                "backoff": DURATION_SCHEMA,
            },
        },
    ],
}
Rate = Annotated[list[RateTable], BeforeValidator(as_steps), WithJsonSchema(_RATE_SCHEMA)]
Retry = Annotated[RetryTable | None, BeforeValidator(as_retry), WithJsonSchema(_RETRY_SCHEMA)]


class WorkloadTable(_Table):
    """The running application's traffic."""

    rate: Rate = Field(
        [RateTable(rate=400.0, until=None, ramp=False)],
        description="Transactions a second, open loop; steps and ramps; or closed-loop, which measures no "
        "waiting time.",
        json_schema_extra={"default": 400},
    )
    arrivals: Annotated[str, one_of(*ARRIVALS), choices(ARRIVALS)] = Field(
        Arrivals.POISSON.value, description="How transactions are spread: as many users' are, or evenly."
    )
    trace: Text | None = Field(
        None, description="A recorded schedule instead of a rate: a file of `seconds,script` lines, repeated."
    )
    retry: Retry = Field(
        None,
        description="What the application sends again: none, application (40001, 40P01, 55P03), or a table.",
        json_schema_extra={"default": NONE},
    )
    after: AfterTable | None = Field(None, description="The new application, deployed after the migration.")
    writes: Share | None = Field(None, description="Part of an inferred workload's transactions that write.")
    hot: dict[Text, Annotated[int, Field(ge=1, le=1000)]] = Field(
        {}, description="Tables of an inferred workload with so many times the traffic."
    )
    clients: int = Field(32, ge=1, le=10_000, description="Connections.")
    processes: int = Field(1, ge=1, le=256, description="Processes that drive them.")
    protocol: Annotated[str, one_of(*PROTOCOLS), choices(PROTOCOLS)] = Field(
        Protocol.PREPARED.value, description="How statements are sent, as pgbench -M."
    )
    scripts: Files = Field(
        [], description="pgbench scripts as FILE@WEIGHT, or a built-in such as tpcb-like; none: inferred."
    )
    variables: dict[VariableName, int] = Field({}, description="Integers that scripts use as :name.")
    warm_up: LengthOrNone = lasting("3s", "Traffic before anything is measured.")
    baseline: Length = lasting("8s", "Traffic before the migration, which it is compared with.")
    recovery: LengthOrNone = lasting("4s", "Traffic after the migration.")


class MigrationTable(_Table):
    """The change."""

    up: Annotated[Files, Field(min_length=1)] | None = Field(None, description="SQL file or files, in order.")
    down: Files = Field([], description="SQL file or files that take it back.")
    command: Command = Field(
        [],
        description="Instead of files: the migration tool as you run it, program and arguments, without a "
        "shell. It finds the database in DATABASE_URL and the PG* variables.",
    )
    down_command: Command = Field([], description="The command that takes it back.")
    env: dict[str, str] = Field(
        {}, description="Variables for the commands; ${PGPORT} and the like stand for the rehearsal's."
    )
    cwd: str = Field("", description="Where the commands run; by default in the scenario's folder.")
    transaction: Annotated[str, one_of(*MODES), choices(MODES)] = Field(
        TransactionMode.AS_WRITTEN.value,
        description="How a file is sent: it decides how long locks are held.",
    )
    expendable: Words = Field([], description="Tables and columns (table.column) whose data may go.")
    timeout: Length = lasting("10m", "The migration is cancelled after this long.")


class ProductionTable(_Table):
    """Facts of the database that the verdict is for."""

    rows: ProductionRows = Field({}, description="Rows in production: a count, or by table.")


Kind = Annotated[str, one_of(*TRIALS, ALL_TRIALS), choices([*TRIALS, ALL_TRIALS])]


class TrialsTable(_Table):
    """What the migration is put through besides the traffic, each on a fresh copy."""

    run: (
        Annotated[
            list[Kind],
            BeforeValidator(as_list),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string", "enum": [*TRIALS, ALL_TRIALS]},
                        {"type": "array", "items": {"type": "string", "enum": [*TRIALS, ALL_TRIALS]}},
                    ]
                }
            ),
        ]
        | None
    ) = Field(
        None,
        description='The kinds of trial, or "all". traffic is always made; if nothing is said, so are '
        "integrity, plans, compatibility, with a down rollback, and with a history drift.",
    )
    rollback_traffic: bool = Field(
        False, description="Run down under traffic, too; takes as long as the traffic trial."
    )
    interruptions: int = Field(
        3, ge=1, le=50, description="How often an interruption trial breaks the migration off, each way."
    )
    standby_reader: LengthOrNone = lasting(
        "0s", "How long the replica trial holds a reading transaction open on the standby."
    )


class RunTable(_Table):
    """How the rehearsal is made."""

    repeat: int = Field(
        1, ge=1, le=100, description="How often the traffic trial is made, to judge by intervals over them."
    )


class AcceptTable(_Table):
    """A risk that is taken: it is found and shown, and does not stop the migration."""

    rule: Text = Field(description="The rule whose findings are accepted.")
    statement: Text | None = Field(
        None,
        description="Of which statement: its text, a pattern with * and ?, a /regular expression/, or its "
        "number.",
    )
    subject: Text | None = Field(
        None, description="About which table, column, index or script: its name, or a pattern with * and ?."
    )
    reason: Text = Field(description="Why; it stands in every report.")
    until: Day = Field(description="The last day on which it is accepted, 2027-01-31.")
    by: Text | None = Field(None, description="Who takes the risk.")


class DriftTable(_Table):
    """The migrations in the repository, whose schema is compared with production's."""

    history: Annotated[Files, Field(min_length=1)] = Field(
        description="The migrations that were ever applied: SQL files in order, or the folder they are in."
    )
    schema_file: Text | None = Field(
        None,
        alias="schema",
        description="SQL file of production's schema (pg_dump --schema-only); the dataset's if not given.",
    )


class AdversaryTable(_Table):
    """Company for the migration: a session that is in its way."""

    kind: Annotated[str, one_of(*ADVERSARY_KINDS), choices(list(ADVERSARY_KINDS))] = Field(
        description="What the session does."
    )
    table: Text = Field(description="The table it does it to.")
    duration: Length = Field(description="How long it stays.")
    start: Duration = lasting("-1s", "When it starts, from the migration's start; may be negative.")


class ScenarioDocument(_Table):
    """One rehearsal: a schema, its data, the traffic, the migration, and what counts as a GO."""

    name: FolderName | None = Field(None, description="Names the run; the file's name if not given.")
    database: Annotated[DatabaseTable, Field(default_factory=DatabaseTable)]
    dataset: DatasetTable
    workload: Annotated[WorkloadTable, Field(default_factory=WorkloadTable)]
    migration: MigrationTable
    production: Annotated[ProductionTable, Field(default_factory=ProductionTable)]
    gates: dict[str, str] = Field({}, description='"metric{selector}" = "op limit", or "off".')
    abort: dict[str, str] = Field(
        {}, description='"metric" = "> limit": as soon as it is true, the migration is broken off.'
    )
    accept: list[AcceptTable] = Field([], description="Risks that are taken, each until a day.")
    adversaries: list[AdversaryTable] = Field([], description="Company for the migration.")
    trials: Annotated[TrialsTable, Field(default_factory=TrialsTable)]
    drift: DriftTable | None = Field(None, description="The history, to compare with production.")
    run: Annotated[RunTable, Field(default_factory=RunTable)]
