"""From a document as written to the frozen `Scenario`: files read, gates parsed, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rehearse.errors import InputError, ScenarioError
from rehearse.model.gates import Gate, MetricRef
from rehearse.model.migration import SqlFile, TransactionMode
from rehearse.model.profile import Profile
from rehearse.model.profile_file import parse_profile
from rehearse.model.scenario import (
    AdversarySpec,
    ContainerSpec,
    DatabaseSpec,
    DatasetSpec,
    MigrationSpec,
    RowCounts,
    Scenario,
    ServerSettings,
    WorkloadSpec,
)
from rehearse.model.target import EngineName
from rehearse.model.trials import DriftSpec, TrialKind, TrialsSpec
from rehearse.scenario.build_workload import build_workload
from rehearse.scenario.document import (
    AdversaryTable,
    ContainerTable,
    DatabaseDocument,
    DatabaseTable,
    DatasetTable,
    DriftTable,
    MigrationTable,
    ScenarioDocument,
    TrialsTable,
    WorkloadTable,
)
from rehearse.scenario.entries import ALL_TRIALS, EVERY_OTHER, INCLUDE
from rehearse.scenario.exported import parse_settings
from rehearse.scenario.exported_mysql import parse_variables
from rehearse.scenario.gates import (
    OFF,
    default_gates,
    parse_gate,
    parse_gate_expression,
    parse_metric,
    with_gates,
)
from rehearse.scenario.generation import described
from rehearse.scenario.history import read_history
from rehearse.scenario.lines import Loc
from rehearse.scenario.places import Places
from rehearse.scenario.problems import first_problem
from rehearse.scenario.risks import aborts_of, accepted_of
from rehearse.scenario.sources import Sources
from rehearse.scenario.tools import check_command, commands
from rehearse.scenario.values import RefusedError


@dataclass(frozen=True, slots=True)
class Draft:
    """A document not yet checked, and what is needed to check it.

    Files that the scenario file names are looked for in its `folder` and then in the current directory;
    those that flags name in the current directory alone. `gates` and `aborts` are gate expressions from
    flags.
    """

    document: Mapping[str, object]
    places: Places
    name: str
    source: str
    folder: Path | None = None
    gates: Sequence[str] = ()
    aborts: Sequence[str] = ()


def build(draft: Draft) -> Scenario:
    """Check everything and read the files. Raises ScenarioError for the first thing that is wrong."""
    try:
        document = ScenarioDocument.model_validate(draft.document)
    except ValidationError as error:
        raise first_problem(error, draft.places) from None
    builder = _Builder(draft)
    workload = builder.workload(document.workload, document.dataset.rows)
    names = [script.name for script in workload.scripts] or None
    if names is not None and workload.after is not None:
        names += [script.name for script in workload.after.scripts]
    return Scenario(
        name=document.name or folder_name(draft.name),
        dataset=builder.dataset(document.dataset),
        migration=builder.migration(document.migration),
        database=builder.database(document.database),
        workload=workload,
        production=_row_counts(document.production.rows),
        gates=builder.gates(document.gates, names),
        adversaries=tuple(_adversary(table) for table in document.adversaries),
        trials=builder.trials(document.trials, document.drift),
        seed=document.dataset.seed,
        source=draft.source,
        aborts=aborts_of(document.abort, draft.aborts, draft.places),
        repeat=document.run.repeat,
        accepted=accepted_of(document.accept, draft.places),
    )


def build_database(document: Mapping[str, object], places: Places) -> DatabaseSpec:
    """The database of a document that has no other table. Raises ScenarioError."""
    try:
        alone = DatabaseDocument.model_validate(document)
    except ValidationError as error:
        raise first_problem(error, places) from None
    return _Builder(Draft(document, places, "", "")).database(alone.database)


def folder_name(text: str) -> str:
    """`text` with everything that does not belong into a folder's name replaced."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-._")[:80] or "rehearsal"


class _Builder:
    """The parts of a scenario that need to know where they came from."""

    def __init__(self, draft: Draft) -> None:
        self._places = draft.places
        self._expressions = draft.gates
        self._folder = draft.folder or Path()
        self._sources = Sources(draft.places, draft.folder)

    def trials(self, table: TrialsTable, drift: DriftTable | None) -> TrialsSpec:
        kinds: tuple[TrialKind, ...] | None = None
        named: tuple[TrialKind, ...] = ()
        if table.run is not None:
            every = ALL_TRIALS in table.run
            named = tuple(kind for kind in TrialKind if kind.value in table.run)
            kinds = tuple(TrialKind) if every else named
            if TrialKind.DRIFT.value in table.run and drift is None:
                what = "{} asks for drift, and there is no history to compare with"
                raise self._places.error(("trials", "run"), what, 'add [drift] with `history = "FOLDER"`')
        spec = None if drift is None else self._drift(drift)
        reader_s = table.standby_reader
        return TrialsSpec(kinds, table.rollback_traffic, table.interruptions, spec, reader_s, named)

    def _drift(self, table: DriftTable) -> DriftSpec:
        schema = table.schema_file
        return DriftSpec(
            tuple(file for index, name in enumerate(table.history) for file in self._history(index, name)),
            None if schema is None else self._sources.read(("drift", "schema"), schema, may_be_empty=False),
        )

    def _history(self, index: int, name: str) -> tuple[SqlFile, ...]:
        try:
            return read_history(self._sources.of_file, name)
        except RefusedError as refusal:
            loc = ("drift", "history", index)
            raise self._places.error(loc, "{} " + refusal.what, refusal.mend) from None

    def database(self, table: DatabaseTable) -> DatabaseSpec:
        if table.container is not None and not table.provision.startswith("docker:"):
            what = (
                f"{{}} is for `docker:IMAGE`, and `database.provision` is `{table.provision.split(':')[0]}`"
            )
            raise self._places.error(("database", "container"), what)
        settings = dict(table.settings)
        included = settings.pop(INCLUDE, None)
        return DatabaseSpec(
            engine=EngineName(table.engine),
            provision=table.provision,
            settings=tuple(settings.items()),
            production=None if included is None else self._exported(included, EngineName(table.engine)),
            extensions=tuple(table.extensions),
            init=self._sources.files(("database", "init"), table.init),
            container=None if table.container is None else _container(table.container),
        )

    def _exported(self, name: str, engine: EngineName) -> ServerSettings:
        file = self._sources.read(("database", "settings", INCLUDE), name, may_be_empty=False)
        parse = parse_settings if engine is EngineName.POSTGRES else parse_variables
        return ServerSettings(name, parse(file))

    def dataset(self, table: DatasetTable) -> DatasetSpec:
        schema = self._sources.read(("dataset", "schema"), table.schema_file, may_be_empty=False)
        load = self._sources.files(("dataset", "load"), table.load)
        columns, tables = described(table.columns, table.tables, self._places)
        rows = _row_counts(table.rows)
        profile = None if table.profile is None else self._profile(table.profile)
        if profile is None and table.scale != 1.0:
            what = "{} multiplies the rows of a profile; there is none"
            raise self._places.error(("dataset", "scale"), what)
        snapshot = "" if table.snapshot is None else self._snapshot(table.snapshot, schema)
        return DatasetSpec(
            schema, rows, load, table.seed, columns, tables, table.locale, profile, table.scale, snapshot
        )

    def _snapshot(self, name: str, schema: SqlFile) -> str:
        """The folder of the snapshot, which is where the schema is."""
        loc: Loc = ("dataset", "snapshot")
        manifest = Path(self._sources.read(loc, f"{name}/manifest.json", may_be_empty=False).name)
        if Path(schema.name).resolve() != manifest.with_name("schema.sql").resolve():
            mend = f'schema = "{name}/schema.sql"'
            raise self._places.error(loc, "{} has a schema of its own, and `dataset.schema` is another", mend)
        return str(manifest.parent)

    def _profile(self, name: str) -> Profile:
        loc: Loc = ("dataset", "profile")
        file = self._sources.read(loc, name, may_be_empty=False)
        try:
            return parse_profile(file.text, file.name)
        except InputError as error:
            raise self._places.error(loc, f"{{}}: {error.what}", error.mend) from None

    def migration(self, table: MigrationTable) -> MigrationSpec:
        check_command(table, self._places)
        folder = Path() if self._places.flag(("migration", "command")) else self._folder
        return MigrationSpec(
            up=commands(table, table.command, folder)
            or self._sources.files(("migration", "up"), table.up or (), may_be_empty=False),
            down=commands(table, table.down_command, folder)
            or self._sources.files(("migration", "down"), table.down),
            transaction=TransactionMode(table.transaction),
            expendable=tuple(table.expendable),
            timeout_s=table.timeout,
        )

    def workload(self, table: WorkloadTable, rows: Mapping[str, int]) -> WorkloadSpec:
        return build_workload(table, rows, self._sources)

    def gates(self, table: Mapping[str, str], scripts: Sequence[str] | None) -> tuple[Gate, ...]:
        changes: list[Gate | MetricRef] = []
        for metric, condition in table.items():
            try:
                off = condition.strip() == OFF
                changes.append(
                    parse_metric(metric, scripts) if off else parse_gate(metric, condition, scripts)
                )
            except ScenarioError as error:
                raise self._places.error(("gates", metric), error.what, error.mend) from None
        return with_gates(default_gates(), [*changes, *gate_changes(self._expressions, scripts)])


def gate_changes(expressions: Sequence[str], scripts: Sequence[str] | None) -> tuple[Gate | MetricRef, ...]:
    """What `--gate` flags say, in order. Raises ScenarioError, naming the flag."""
    changes = []
    for text in expressions:
        try:
            changes.append(parse_gate_expression(text, scripts))
        except ScenarioError as error:
            raise ScenarioError(f"`--gate`: {error.what}", error.mend) from None
    return tuple(changes)


def _container(table: ContainerTable) -> ContainerSpec:
    return ContainerSpec(table.cpus, table.memory, table.shm_size, table.tmpfs)


def _row_counts(rows: Mapping[str, int]) -> RowCounts:
    named = tuple((name, count) for name, count in rows.items() if name != EVERY_OTHER)
    return RowCounts(rows.get(EVERY_OTHER), named)


def _adversary(table: AdversaryTable) -> AdversarySpec:
    return AdversarySpec(table.kind, table.table, table.duration, table.start)
