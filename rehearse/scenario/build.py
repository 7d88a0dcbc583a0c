"""From a document as written to the frozen `Scenario`: files read, gates parsed, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    NewApplication,
    PhaseLengths,
    RowCounts,
    Scenario,
    ServerSettings,
    WorkloadSpec,
)
from rehearse.model.target import EngineName
from rehearse.model.trials import DriftSpec, TrialKind, TrialsSpec
from rehearse.model.workload import Arrivals, Protocol, RateStep, RetryPolicy, ScriptSource, Trace
from rehearse.scenario.document import (
    ALL_TRIALS,
    EVERY_OTHER,
    INCLUDE,
    AdversaryTable,
    AfterTable,
    ContainerTable,
    DatabaseDocument,
    DatabaseTable,
    DatasetTable,
    DriftTable,
    MigrationTable,
    RetryTable,
    ScenarioDocument,
    TrialsTable,
    WorkloadTable,
)
from rehearse.scenario.exported import parse_settings
from rehearse.scenario.exported_mysql import parse_variables
from rehearse.scenario.files import Reader
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
from rehearse.scenario.pacing import check_steps
from rehearse.scenario.places import Places
from rehearse.scenario.problems import first_problem
from rehearse.scenario.risks import aborts_of, accepted_of
from rehearse.scenario.scripts import BUILT_IN, ChoiceError, read_scripts
from rehearse.scenario.trace import parse_trace
from rehearse.scenario.values import RefusedError

_WITH_NEW_APPLICATION_S = 6.0


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

    def trials(self, table: TrialsTable, drift: DriftTable | None) -> TrialsSpec:
        kinds = None
        if table.run is not None:
            every = ALL_TRIALS in table.run
            kinds = tuple(kind for kind in TrialKind if every or kind.value in table.run)
            if TrialKind.DRIFT.value in table.run and drift is None:
                what = "{} asks for drift, and there is no history to compare with"
                raise self._places.error(("trials", "run"), what, 'add [drift] with `history = "FOLDER"`')
        spec = None if drift is None else self._drift(drift)
        return TrialsSpec(kinds, table.rollback_traffic, table.interruptions, spec, table.standby_reader)

    def _drift(self, table: DriftTable) -> DriftSpec:
        schema = table.schema_file
        return DriftSpec(
            tuple(file for index, name in enumerate(table.history) for file in self._history(index, name)),
            None if schema is None else self._read(("drift", "schema"), schema, may_be_empty=False),
        )

    def _history(self, index: int, name: str) -> tuple[SqlFile, ...]:
        try:
            return read_history(self._of_file, name)
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
            init=self._files(("database", "init"), table.init),
            container=None if table.container is None else _container(table.container),
        )

    def _exported(self, name: str, engine: EngineName) -> ServerSettings:
        file = self._read(("database", "settings", INCLUDE), name, may_be_empty=False)
        parse = parse_settings if engine is EngineName.POSTGRES else parse_variables
        return ServerSettings(name, parse(file))

    def dataset(self, table: DatasetTable) -> DatasetSpec:
        schema = self._read(("dataset", "schema"), table.schema_file, may_be_empty=False)
        load = self._files(("dataset", "load"), table.load)
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
        manifest = Path(self._read(loc, f"{name}/manifest.json", may_be_empty=False).name)
        if Path(schema.name).resolve() != manifest.with_name("schema.sql").resolve():
            mend = f'schema = "{name}/schema.sql"'
            raise self._places.error(loc, "{} has a schema of its own, and `dataset.schema` is another", mend)
        return str(manifest.parent)

    def _profile(self, name: str) -> Profile:
        loc: Loc = ("dataset", "profile")
        file = self._read(loc, name, may_be_empty=False)
        try:
            return parse_profile(file.text, file.name)
        except InputError as error:
            raise self._places.error(loc, f"{{}}: {error.what}", error.mend) from None

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
        scripts = self._scripts(("workload", "scripts"), table.scripts)
        self._check_pacing(table, inferred=not scripts)
        trace = self._trace(table, [script.name for script in scripts])
        after = self._after(table.after, [script.name for script in scripts])
        steps = self._steps(table)
        rate = max((step.rate for step in steps), default=0.0)
        variables = dict(table.variables)
        of_pgbench = any(table.startswith("pgbench_") for table in rows)
        if any(s.file in BUILT_IN or (of_pgbench and ":scale" in s.text) for s in scripts):
            variables.setdefault("scale", _pgbench_scale(rows))
        return WorkloadSpec(
            scripts=scripts,
            rate=rate if trace is None else len(trace.due_ns) / (trace.length_ns / 1e9),
            clients=table.clients,
            processes=table.processes,
            protocol=Protocol(table.protocol),
            variables=tuple(variables.items()),
            phases=PhaseLengths(table.warm_up, table.baseline, _recovery_s(table)),
            closed_loop=not steps,
            arrivals=Arrivals(table.arrivals),
            steps=steps if len(steps) > 1 or any(step.until_s is not None for step in steps) else (),
            trace=trace,
            retry=None if table.retry is None else _retry(table.retry),
            after=after,
            writes=table.writes,
            hot=tuple(table.hot.items()),
        )

    def _steps(self, table: WorkloadTable) -> tuple[RateStep, ...]:
        steps = tuple(RateStep(step.rate, step.until, step.ramp) for step in table.rate)
        try:
            return check_steps(steps)
        except RefusedError as refusal:
            raise self._places.error(("workload", "rate"), "{} " + refusal.what, refusal.mend) from None

    def _check_pacing(self, table: WorkloadTable, *, inferred: bool) -> None:
        given = table.model_fields_set
        changing = "trace" if table.trace is not None else None if len(table.rate) == 1 else "rate"
        problems = (
            (
                "writes" if table.writes is not None else "hot",
                (table.writes is not None or bool(table.hot)) and not inferred,
                "is for an inferred workload, and scripts are given: their weights say it",
            ),
            ("trace", table.trace is not None and "rate" in given, "and `workload.rate` exclude each other"),
            ("trace", table.trace is not None and inferred, "names scripts: give them as `workload.scripts`"),
            ("after", table.after is not None and changing is not None, "needs one steady rate"),
        )
        for key, wrong, what in problems:
            if wrong:
                raise self._places.error(("workload", key), "{} " + what)

    def _trace(self, table: WorkloadTable, scripts: Sequence[str]) -> Trace | None:
        if table.trace is None:
            return None
        loc: Loc = ("workload", "trace")
        file = self._read(loc, table.trace, may_be_empty=False)
        try:
            return parse_trace(file.text, table.trace, scripts)
        except RefusedError as refusal:
            raise self._places.error(loc, "{} " + refusal.what, refusal.mend) from None

    def _after(self, table: AfterTable | None, taken: Sequence[str]) -> NewApplication | None:
        if table is None:
            return None
        if table.share == 0:
            raise self._places.error(("workload", "after", "share"), "{} must be above 0")
        scripts = self._scripts(("workload", "after", "scripts"), table.scripts)
        named = tuple(
            replace(script, name=f"{script.name}_new") if script.name in taken else script
            for script in scripts
        )
        return NewApplication(named, table.share, table.ramp)

    def _scripts(self, loc: Loc, choices: Sequence[str]) -> tuple[ScriptSource, ...]:

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


def _retry(table: RetryTable) -> RetryPolicy:
    return RetryPolicy(tuple(table.sqlstates), table.attempts, table.backoff)


def _recovery_s(table: WorkloadTable) -> float:
    """The phase after the migration; longer where a new application is to be met in it, unless it is said."""
    if table.after is None or "recovery" in table.model_fields_set:
        return table.recovery
    return max(table.recovery, table.after.ramp + _WITH_NEW_APPLICATION_S)


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
