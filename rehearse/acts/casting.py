"""The traffic made ready: scripts given or inferred, the values they draw, the tables they lock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rehearse.acts.loading import Base, with_real
from rehearse.acts.names import find_drawn, unsent
from rehearse.acts.newcomer import Newcomer, new_scripts
from rehearse.dataset.fresh import fresh_pool
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.facts import count_rows
from rehearse.engines.postgres.footprint import footprint
from rehearse.engines.postgres.introspect import introspect
from rehearse.engines.postgres.sampling import sample_pool
from rehearse.errors import ScenarioError
from rehearse.model.gates import Gate
from rehearse.model.record import ScriptInfo
from rehearse.model.relation import Relation
from rehearse.model.scenario import Scenario, WorkloadSpec
from rehearse.model.target import Target
from rehearse.model.workload import Footprint, Pool, PoolKey, ScriptSource
from rehearse.workload.commands import flatten, variables_of
from rehearse.workload.infer import infer_workload
from rehearse.workload.infer_weights import weighted
from rehearse.workload.script import Script, parse_script

# Enough for every insert of a rehearsal of ordinary length; one that runs out is reported as skipped.
_MOST_FRESH = 400_000
_SAMPLED = 20_000


# How many tables the traffic visits where the migration touches none.
_LARGEST = 8
Variables = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """What the driver sends."""

    scripts: tuple[Script, ...]
    pools: tuple[Pool, ...]
    infos: tuple[ScriptInfo, ...]
    inferred: bool
    newcomer: Newcomer | None = None


def make_cast(base: Base, scenario: Scenario) -> Cast:
    """Parse the scenario's scripts, or infer a workload, and draw the pools that they need."""
    sources: tuple[ScriptSource, ...] = scenario.workload.scripts
    inferred = not sources
    if inferred:
        rows = {facts.relation: facts.rows for facts in base.tables}
        ours = [table for table in rows if table not in base.ledgers]
        largest = frozenset(sorted(ours, key=lambda table: -rows[table])[:_LARGEST])
        for tables in (base.preview.touched, largest):  # it may make new things alone, or a type
            sources = infer_workload(base.schema, tables, rows, generated=base.generated)
            if sources:
                break
        if not sources:
            raise ScenarioError(
                "no traffic can be inferred: no table has rows",
                "give the application's own transactions with --workload FILE",
            )
        sources = weighted(sources, base.schema, scenario.workload.writes, dict(scenario.workload.hot))
    scripts = tuple(parse_script(source) for source in sources)
    infos = tuple(
        ScriptInfo(source.name, source.weight, script.statements, inferred)
        for source, script in zip(sources, scripts, strict=True)
    )
    newcomer = _newcomer(base, scenario)
    infos += () if newcomer is None else newcomer.infos
    _check_gates(scenario.gates, [info.name for info in infos])
    keys = frozenset[PoolKey]().union(*(script.pool_keys for script in scripts))
    return Cast(scripts, tuple(_pools(base, scenario, keys)), infos, inferred, newcomer)


def check_scripts(spec: WorkloadSpec) -> None:
    """Raises SqlFileError for a script that cannot be read: before anything starts, since rows take long."""
    for source in (*spec.scripts, *(spec.after.scripts if spec.after else ())):
        parse_script(source)


def _newcomer(base: Base, scenario: Scenario) -> Newcomer | None:
    """The new application, with rows that are its own: those that come after the old one's."""
    spec = scenario.workload.after
    if spec is None:
        return None
    scripts = new_scripts(spec)
    columns: dict[str, list[str]] = defaultdict(list)
    for key in sorted({key for script in scripts for key in script.pool_keys}, key=lambda key: key.column):
        if key.kind == "fresh":
            columns[key.table].append(key.column)
    count, pools = _fresh_count(scenario), []
    for name, wanted in columns.items():
        whole = fresh_pool(base.plan, _generated(base, name, wanted), wanted, 2 * count, name)
        rest = {column: values[count:] for column, values in whole.columns.items()}
        pools.append(Pool(whole.kind, whole.table, rest))
    return Newcomer(spec, scripts, tuple(pools))


def _check_gates(gates: Iterable[Gate], names: Sequence[str]) -> None:
    """A gate on a script that nobody sends would never be measured; inferred ones are named only now."""
    for gate in gates:
        for metric in (gate.metric, gate.relative_to):
            script = None if metric is None else dict(metric.selector).get("script")
            if script is not None and script not in names:
                raise ScenarioError(*unsent(str(metric), script, names))


def _pools(base: Base, scenario: Scenario, keys: Iterable[PoolKey]) -> Iterable[Pool]:
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in sorted(keys, key=lambda key: (key.kind, key.table, key.column)):
        wanted[key.kind, key.table].append(key.column)
    with connect(base.target, "rehearse") as connection:
        for (kind, name), columns in wanted.items():
            if kind == "fresh":
                relation = _generated(base, name, columns)
                yield fresh_pool(base.plan, relation, columns, _fresh_count(scenario), name)
            else:
                relation = find_drawn(base.schema, name, columns).relation
                yield sample_pool(connection, name, relation, columns, _SAMPLED, scenario.seed)


def _generated(base: Base, name: str, columns: Sequence[str]) -> Relation:
    """The table, whose rows were generated so that generation can go on with it."""
    relation = find_drawn(base.schema, name, columns).relation
    if relation not in base.generated:
        raise ScenarioError(
            f"fresh({name}...) needs generated rows, and {name} is loaded from a file",
            "use sample() or random()",
        )
    return relation


def _fresh_count(scenario: Scenario) -> int:
    """Rows for the phases of known length and a migration of some minutes."""
    lengths = scenario.workload.phases
    seconds = (
        lengths.warm_up_s + lengths.baseline_s + lengths.recovery_s + min(scenario.migration.timeout_s, 300)
    )
    if scenario.workload.closed_loop:
        return _MOST_FRESH
    return min(_MOST_FRESH, round(scenario.workload.rate * seconds))


def spared(base: Base, cast: Cast, scenario: Scenario) -> Base:
    """`base` whose ledgers are those alone that no script of the user's reaches, by a view or a function."""
    if cast.inferred or not base.ledgers:
        return base
    found = footprints(base.target, cast, scenario.workload.variables)
    return with_real(
        base, scenario, base.ledgers & {relation for each in found for relation, _ in each.locks}
    )


def footprints(target: Target, cast: Cast, variables: Variables) -> tuple[Footprint, ...]:
    """The tables and modes that each script locks, found by running it in a transaction that is undone."""
    with connect(target, "rehearse") as connection:
        return tuple(footprint(connection, script, cast.pools, variables) for script in cast.scripts)


def with_scale(target: Target, scripts: Sequence[Script], variables: Variables) -> Variables:
    """`variables` with pgbench's `scale`, where a script uses it and nobody gave it: as many as there are
    branches, as pgbench does.
    """
    used = {
        name for script in scripts for command in flatten(script.commands) for name in variables_of(command)
    }
    if "scale" not in used or "scale" in dict(variables):
        return variables
    with connect(target, "rehearse") as connection:
        branches = introspect(connection).find("pgbench_branches")
        if branches is None:
            return variables
        return (*variables, ("scale", max(1, count_rows(connection, branches.relation))))


def sampled_pools(target: Target, scripts: Sequence[Script], seed: int) -> tuple[Pool, ...]:
    """What `sample()` draws from, for scripts that are sent to a database that nobody generated."""
    keys = frozenset[PoolKey]().union(*(script.pool_keys for script in scripts))
    if not keys:
        return ()
    wanted: dict[str, list[str]] = defaultdict(list)
    with connect(target, "rehearse") as connection:
        schema = introspect(connection)
        for key in sorted(keys, key=lambda key: (key.table, key.column)):
            if key.kind == "fresh":
                raise ScenarioError(
                    f"fresh({key.table}.{key.column}) draws the rows that generation would have made next, "
                    "and the rows of this database were not generated",
                    "use random(), or leave the column to its default; or send the script in a rehearsal",
                )
            wanted[key.table].append(key.column)
        return tuple(
            sample_pool(connection, name, find_drawn(schema, name, columns).relation, columns, _SAMPLED, seed)
            for name, columns in wanted.items()
        )
