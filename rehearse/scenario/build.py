"""From a document as written to the frozen `Scenario`: files read, gates parsed, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rehearse.errors import ScenarioError
from rehearse.model.gates import Gate, MetricRef
from rehearse.model.migration import SqlFile, TransactionMode
from rehearse.model.scenario import (
    AdversarySpec,
    ContainerSpec,
    DatabaseSpec,
    DatasetSpec,
    MigrationSpec,
    PhaseLengths,
    RowCounts,
    Scenario,
    ServerSettings,
    WorkloadSpec,
)
from rehearse.model.target import EngineName
from rehearse.model.workload import Protocol, ScriptSource
from rehearse.scenario.document import (
    EVERY_OTHER,
    INCLUDE,
    AdversaryTable,
    ContainerTable,
    DatabaseTable,
    DatasetTable,
    MigrationTable,
    ScenarioDocument,
    WorkloadTable,
)
from rehearse.scenario.exported import parse_settings
from rehearse.scenario.files import Reader
from rehearse.scenario.gates import (
    OFF,
    default_gates,
    parse_gate,
    parse_gate_expression,
    parse_metric,
    with_gates,
)
from rehearse.scenario.lines import Loc
from rehearse.scenario.places import Places
from rehearse.scenario.problems import first_problem
from rehearse.scenario.scripts import BUILT_IN, ChoiceError, read_scripts
from rehearse.scenario.values import RefusedError


@dataclass(frozen=True, slots=True)
class Draft:
    """A document not yet checked, and what is needed to check it.

    Files that the scenario file names are looked for in its `folder` and then in the current directory;
    those that flags name in the current directory alone. `gates` are gate expressions from flags.
    """

    document: Mapping[str, object]
    places: Places
    name: str
    source: str
    folder: Path | None = None
    gates: Sequence[str] = ()


def build(draft: Draft) -> Scenario:
    """Check everything and read the files. Raises ScenarioError for the first thing that is wrong."""
    try:
        document = ScenarioDocument.model_validate(draft.document)
    except ValidationError as error:
        raise first_problem(error, draft.places) from None
    builder = _Builder(draft)
    workload = builder.workload(document.workload, document.dataset.rows)
    names = [script.name for script in workload.scripts] or None
    return Scenario(
        name=document.name or folder_name(draft.name),
        dataset=builder.dataset(document.dataset),
        migration=builder.migration(document.migration),
        database=builder.database(document.database),
        workload=workload,
        production=_row_counts(document.production.rows),
        gates=builder.gates(document.gates, names),
        adversaries=tuple(_adversary(table) for table in document.adversaries),
        seed=document.dataset.seed,
        source=draft.source,
    )


def folder_name(text: str) -> str:
    """`text` with everything that does not belong into a folder's name replaced."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-._")[:80] or "rehearsal"


class _Builder:
    """The parts of a scenario that need to know where they came from."""

    def __init__(self, draft: Draft) -> None:
        self._places = draft.places
        self._expressions = draft.gates
        here = Path()
        self._of_file = Reader((draft.folder, here) if draft.folder is not None else (here,))
        self._of_flags = Reader((here,))

    def _read(self, loc: Loc, name: str, *, may_be_empty: bool = True) -> SqlFile:
        reader = self._of_flags if self._places.flag(loc) else self._of_file
        try:
            file = reader.read(name)
        except RefusedError as refusal:
            raise self._places.error(loc, "{} " + refusal.what, refusal.mend) from None
        if not may_be_empty and not file.text.strip():
            raise self._places.error(loc, f"{{}} names `{name}`, which is empty")
        return file

    def _files(self, loc: Loc, names: Sequence[str], *, may_be_empty: bool = True) -> tuple[SqlFile, ...]:
        return tuple(
            self._read((*loc, index), name, may_be_empty=may_be_empty) for index, name in enumerate(names)
        )

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
            production=None if included is None else self._exported(included),
            extensions=tuple(table.extensions),
            init=self._files(("database", "init"), table.init),
            container=None if table.container is None else _container(table.container),
        )

    def _exported(self, name: str) -> ServerSettings:
        file = self._read(("database", "settings", INCLUDE), name, may_be_empty=False)
        return ServerSettings(name, parse_settings(file))

    def dataset(self, table: DatasetTable) -> DatasetSpec:
        schema = self._read(("dataset", "schema"), table.schema_file, may_be_empty=False)
        load = self._files(("dataset", "load"), table.load)
        return DatasetSpec(schema, _row_counts(table.rows), load, table.seed)

    def migration(self, table: MigrationTable) -> MigrationSpec:
        return MigrationSpec(
            up=self._files(("migration", "up"), table.up, may_be_empty=False),
            down=self._files(("migration", "down"), table.down),
            transaction=TransactionMode(table.transaction),
            expendable=tuple(table.expendable),
            timeout_s=table.timeout,
        )

    def workload(self, table: WorkloadTable, rows: Mapping[str, int]) -> WorkloadSpec:
        if table.processes > table.clients:
            what = f"{{}} is {table.processes}, more than the {table.clients} clients they share"
            raise self._places.error(("workload", "processes"), what)
        scripts = self._scripts(table.scripts)
        variables = dict(table.variables)
        if any(script.file in BUILT_IN for script in scripts):
            variables.setdefault("scale", _pgbench_scale(rows))
        return WorkloadSpec(
            scripts=scripts,
            rate=table.rate,
            clients=table.clients,
            processes=table.processes,
            protocol=Protocol(table.protocol),
            variables=tuple(variables.items()),
            phases=PhaseLengths(table.warm_up, table.baseline, table.recovery),
        )

    def _scripts(self, choices: Sequence[str]) -> tuple[ScriptSource, ...]:
        loc: Loc = ("workload", "scripts")

        def read(index: int, name: str) -> str:
            return self._read((*loc, index), name, may_be_empty=False).text

        try:
            scripts = read_scripts(choices, read)
        except ChoiceError as error:
            raise self._places.error((*loc, error.index), "{} " + error.what, error.mend) from None
        if choices and not scripts:
            raise self._places.error(loc, "{} gives every script the weight 0")
        return scripts

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


def _pgbench_scale(rows: Mapping[str, int]) -> int:
    """The scale that the built-in scripts find in the generated tables: one branch, 100,000 accounts each."""
    if "pgbench_branches" in rows:
        return max(1, rows["pgbench_branches"])
    return max(1, rows.get("pgbench_accounts", rows.get(EVERY_OTHER, 0)) // 100_000)
