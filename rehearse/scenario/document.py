"""A scenario as the user writes it: the tables and keys of its TOML, checked strictly, nothing read yet.

Descriptions stand in the JSON Schema that editors use, so they are written for the person editing.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rehearse.model.migration import TransactionMode
from rehearse.model.scenario import ADVERSARY_KINDS
from rehearse.model.target import EngineName
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Arrivals, Protocol, RetryPolicy
from rehearse.scenario.addresses import is_known
from rehearse.scenario.generation import ColumnTable, TableTable
from rehearse.scenario.nearest import suggestion
from rehearse.scenario.pacing import (
    APPLICATION,
    CLOSED_LOOP,
    HIGHEST_RATE,
    NONE,
    as_retry,
    as_steps,
    check_sqlstate,
)
from rehearse.scenario.values import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SHARE_PATTERN,
    SIZE_PATTERN,
    RefusedError,
    parse_count,
    parse_duration,
    parse_share,
    parse_size,
)

EVERY_OTHER = "*"
"""In a table of row counts: all tables that it does not name."""

INCLUDE = "include"
"""In a table of server settings, as in postgresql.conf: the file that holds another server's."""

_NAME = re.compile(r"[^\W_][\w.-]{0,79}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _known_provision(provision: str) -> str:
    if is_known(provision):
        return provision
    # The value is not repeated: a mistyped address may hold a password.
    raise RefusedError(
        "must be `embedded`, `docker:IMAGE`, `local:BINDIR` or a DSN such as `postgresql://...`"
    )


def _folder_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise RefusedError("must be up to 80 letters, digits, `.`, `_` and `-`", "it names a folder")
    return name


def _variable_name(name: str) -> str:
    if _VARIABLE.fullmatch(name) is None:
        raise RefusedError("is not a variable's name", "use letters, digits and `_`, and no digit first")
    return name


def _filled(text: str) -> str:
    if not text.strip():
        raise RefusedError("must not be empty")
    return text


def _at_least_one_row(count: int) -> int:
    if count < 1:
        raise RefusedError("must be at least 1", "a verdict for an empty table would mean nothing")
    return count


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise RefusedError("must be longer than 0")
    return seconds


def _not_negative(seconds: float) -> float:
    if seconds < 0:
        raise RefusedError("must not be negative")
    return seconds


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    raise RefusedError("must be text, a number, true or false")


def _as_settings(value: object) -> object:
    return {INCLUDE: value} if isinstance(value, str) else value


def _some_processors(cpus: float) -> float:
    if not 0.01 <= cpus <= 4096:
        raise RefusedError("must be a number of processors, such as 1 or 0.5")
    return cpus


def _enough_memory(size: int) -> int:
    if size < _LEAST_MEMORY_BYTES:
        raise RefusedError("must be at least 64MB", "a server needs that much to start")
    return size


def _one_of(*valid: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in valid:
            raise RefusedError(f'must not be "{value}"', suggestion(value, valid, otherwise="it is one of"))
        return value

    return AfterValidator(check)


def _as_day(value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, date) or isinstance(value, datetime):
        raise RefusedError("must be a day", "write it as 2027-01-31")
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_table(value: object) -> object:
    return value if isinstance(value, dict) else {EVERY_OTHER: value}


_LEAST_MEMORY_BYTES = 64 * 1024**2
_COUNT_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": COUNT_PATTERN}]
}
_ROWS_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": COUNT_PATTERN},
        {"type": "object", "additionalProperties": _COUNT_SCHEMA},
    ]
}
_DURATION_SCHEMA: dict[str, object] = {"type": "string", "pattern": DURATION_PATTERN}
_FILES_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}


def _choices(values: list[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": values})


_ENGINES = [engine.value for engine in EngineName]
_PROTOCOLS = [protocol.value for protocol in Protocol]
_ARRIVALS = [arrivals.value for arrivals in Arrivals]
_MODES = [mode.value for mode in TransactionMode]
_TRIALS = [kind.value for kind in TrialKind]

ALL_TRIALS = "all"
"""In the list of trials: every kind there is."""

Text = Annotated[str, AfterValidator(_filled)]
Count = Annotated[int, BeforeValidator(parse_count)]
Rows = Annotated[dict[Text, Count], BeforeValidator(_as_table), WithJsonSchema(_ROWS_SCHEMA)]
ProductionRows = Annotated[
    dict[Text, Annotated[Count, AfterValidator(_at_least_one_row)]],
    BeforeValidator(_as_table),
    WithJsonSchema(_ROWS_SCHEMA),
]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Length = Annotated[Duration, AfterValidator(_positive)]
LengthOrNone = Annotated[Duration, AfterValidator(_not_negative)]
Day = Annotated[date, BeforeValidator(_as_day), WithJsonSchema({"type": "string", "format": "date"})]
Files = Annotated[list[Text], BeforeValidator(_as_list), WithJsonSchema(_FILES_SCHEMA)]
Setting = Annotated[
    str, BeforeValidator(_setting_text), WithJsonSchema({"type": ["string", "boolean", "number"]})
]

Settings = Annotated[
    dict[Text, Setting],
    BeforeValidator(_as_settings),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": ["string", "boolean", "number"]}},
            ]
        }
    ),
]
Size = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})
]


Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SHARE_PATTERN}, {"type": "number"}]}),
]


def _lasting(default: str, description: str) -> float:
    """A field whose default is a duration: seconds for us, text in the schema that editors read."""
    field: float = Field(
        parse_duration(default), description=description, json_schema_extra={"default": default}
    )
    return field


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ContainerTable(_Table):
    """What a container may use, with docker:IMAGE."""

    cpus: Annotated[float, AfterValidator(_some_processors)] | None = Field(
        None, description="Processors, 0.5 for half of one; all of them if not given."
    )
    memory: Annotated[Size, AfterValidator(_enough_memory)] | None = Field(
        None, description='Memory without swap, "2GiB"; no limit if not given.'
    )
    shm_size: Size | None = Field(
        None, description='Shared memory for parallel queries and index builds; "1GiB" if not given.'
    )
    tmpfs: bool = Field(False, description="Keep the data in memory instead of in a volume.")


class DatabaseTable(_Table):
    """Where the rehearsal takes place."""

    engine: Annotated[str, _one_of(*_ENGINES), _choices(_ENGINES)] = Field(
        EngineName.POSTGRES.value, description="The database engine."
    )
    provision: Annotated[str, AfterValidator(_known_provision)] = Field(
        "embedded", description="embedded, docker:IMAGE, local:BINDIR, or the DSN of an existing server."
    )
    settings: Settings = Field(
        {},
        description="Server settings, as in postgresql.conf; or the file that production's were saved to, "
        'which "include" names beside others.',
    )
    extensions: Annotated[list[Text], BeforeValidator(_as_list)] = Field(
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
    backoff: LengthOrNone = _lasting("50ms", "The pause before the second attempt, doubled for each further.")


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
    ramp: LengthOrNone = _lasting("5s", "How long its share grows, from nothing.")


_STEP_SCHEMA: dict[str, object] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rate"],
    "properties": {
        "rate": {"type": "number", "minimum": 0, "maximum": HIGHEST_RATE},
        "until": _DURATION_SCHEMA,
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
                "backoff": _DURATION_SCHEMA,
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
    arrivals: Annotated[str, _one_of(*_ARRIVALS), _choices(_ARRIVALS)] = Field(
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
    protocol: Annotated[str, _one_of(*_PROTOCOLS), _choices(_PROTOCOLS)] = Field(
        Protocol.PREPARED.value, description="How statements are sent, as pgbench -M."
    )
    scripts: Files = Field(
        [], description="pgbench scripts as FILE@WEIGHT, or a built-in such as tpcb-like; none: inferred."
    )
    variables: dict[Annotated[str, AfterValidator(_variable_name)], int] = Field(
        {}, description="Integers that scripts use as :name."
    )
    warm_up: LengthOrNone = _lasting("3s", "Traffic before anything is measured.")
    baseline: Length = _lasting("8s", "Traffic before the migration, which it is compared with.")
    recovery: LengthOrNone = _lasting("4s", "Traffic after the migration.")


class MigrationTable(_Table):
    """The change."""

    up: Annotated[Files, Field(min_length=1)] = Field(description="SQL file or files, in order.")
    down: Files = Field([], description="SQL file or files that take it back.")
    transaction: Annotated[str, _one_of(*_MODES), _choices(_MODES)] = Field(
        TransactionMode.AS_WRITTEN.value,
        description="How a file is sent: it decides how long locks are held.",
    )
    expendable: Annotated[list[Text], BeforeValidator(_as_list)] = Field(
        [], description="Tables and columns (table.column) whose data may go."
    )
    timeout: Length = _lasting("10m", "The migration is cancelled after this long.")


class ProductionTable(_Table):
    """Facts of the database that the verdict is for."""

    rows: ProductionRows = Field({}, description="Rows in production: a count, or by table.")


Kind = Annotated[str, _one_of(*_TRIALS, ALL_TRIALS), _choices([*_TRIALS, ALL_TRIALS])]


class TrialsTable(_Table):
    """What the migration is put through besides the traffic, each on a fresh copy."""

    run: (
        Annotated[
            list[Kind],
            BeforeValidator(_as_list),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string", "enum": [*_TRIALS, ALL_TRIALS]},
                        {"type": "array", "items": {"type": "string", "enum": [*_TRIALS, ALL_TRIALS]}},
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
    standby_reader: LengthOrNone = _lasting(
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

    kind: Annotated[str, _one_of(*ADVERSARY_KINDS), _choices(list(ADVERSARY_KINDS))] = Field(
        description="What the session does."
    )
    table: Text = Field(description="The table it does it to.")
    duration: Length = Field(description="How long it stays.")
    start: Duration = _lasting("-1s", "When it starts, from the migration's start; may be negative.")


class ScenarioDocument(_Table):
    """One rehearsal: a schema, its data, the traffic, the migration, and what counts as a GO."""

    name: Annotated[str, AfterValidator(_folder_name)] | None = Field(
        None, description="Names the run; the file's name if not given."
    )
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
