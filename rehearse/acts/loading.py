"""Schema applied, migration tried on the empty copy, rows generated for both: the base of every trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rehearse.acts.keeping import EMPTY, KeptBase, digest
from rehearse.acts.ledgers import find_ledgers, named_rows
from rehearse.acts.names import check_names
from rehearse.acts.newcomer import check_new_application
from rehearse.dataset.described import apply_schema, described, fill, rows_loaded
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.load import LoadProgress
from rehearse.dataset.probe import find
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.facts import table_sizes
from rehearse.engines.postgres.introspect import introspect
from rehearse.migrate.preview import named_where_untold, touched
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun
from rehearse.model.record import DatasetFacts, TableFacts
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.schema import Schema, TableKind
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind

BASE = "rehearse_base"
PREVIEW = "rehearse_preview"
PREVIEWING = "trying the migration on an empty copy"
_STORED = (TableKind.TABLE, TableKind.PARTITIONED)


@dataclass(frozen=True, slots=True)
class Preview:
    """What the migration does to a database without rows: which tables it touches, what schema results.

    `after` is None where it failed there; rows may be what it lacked.
    """

    run: MigrationRun
    touched: frozenset[Relation]
    after: Schema | None


@dataclass(frozen=True, slots=True)
class Base:
    """The loaded database that trials are copied from. `ledgers` are the tables of migration tools in it."""

    target: Target
    schema: Schema
    preview: Preview
    plan: DatasetPlan
    facts: DatasetFacts
    tables: tuple[TableFacts, ...]
    generated: frozenset[Relation]
    excused: tuple[str, ...] = ()
    keepable: bool = False
    ledgers: frozenset[Relation] = frozenset()


def build_base(
    server: Target,
    scenario: Scenario,
    on_progress: Callable[[LoadProgress], None],
    *,
    kept: KeptBase | None = None,
    keep: bool = False,
    on_step: Callable[[str], None] = lambda _text: None,
) -> Base:
    """Make the base database: extensions, init scripts, schema, rows. Errors name what to mend.

    `kept`: the server has it already, from the cache. `keep`: the cache will have it; an empty copy is left
    beside it, on which the next run tries its migration. `on_step` is told what is done before rows are made.
    """
    target = server.on(BASE)
    if kept is not None:
        excused = kept.excused
    else:
        create_database(server, BASE)
        excused = apply_schema(target, scenario.database, scenario.dataset)
    with connect(target, "rehearse") as connection:
        schema = introspect(connection)
        check_names(scenario, schema)
        # what is kept was all generated
        loaded = {} if kept is not None else dict(rows_loaded(target, schema))
        ledgers = find_ledgers(schema, scenario, loaded)
        wishes = wishes_of(scenario.dataset, schema, loaded)
    keep = keep and kept is None and not loaded  # rows in the schema's file are anybody's
    if keep:
        create_database(server, EMPTY, template=BASE)
    # a ledger without rows stays so: rows that we made up would be read by the tool as its own
    loaded |= dict.fromkeys(ledgers - loaded.keys() - named_rows(schema, scenario.dataset.rows).keys(), 0)
    on_step(PREVIEWING)
    preview = run_preview(server, scenario, BASE if kept is None else EMPTY)
    named = named_where_untold(preview.run, (t.relation for t in schema.tables if t.kind in _STORED))
    preview = replace(preview, touched=(preview.touched | named) - ledgers)
    what = described(
        scenario.dataset, schema, wishes, after=preview.after, touched=preview.touched, loaded=loaded
    )
    plan = what.plan
    if kept is not None and kept.plan != digest(plan):
        # not what this version would make, whatever the key said
        for name in (BASE, EMPTY):
            drop_database(server, name)
        return build_base(server, scenario, on_progress, keep=False, on_step=on_step)
    if kept is not None:
        facts = kept.facts
        find(target, plan)
    else:
        facts = fill(target, what, on_progress, copies=_copies(scenario))
        facts = replace(facts, notes=(*excused, *what.unused, *facts.notes))
    tables = table_facts(target, schema, preview.touched, _in_production(scenario, schema), ledgers)
    generated = frozenset(relation for relation in plan.rows if relation not in loaded)
    return Base(target, schema, preview, plan, facts, tables, generated, excused, keep, ledgers)


def with_real(base: Base, scenario: Scenario, real: frozenset[Relation]) -> Base:
    """`base` in which the tables `real`, taken for ledgers, are the application's as all others."""
    if not real:
        return base
    reached = base.preview.touched | (touched(base.preview.run) & real)
    ledgers = base.ledgers - real
    tables = table_facts(base.target, base.schema, reached, _in_production(scenario, base.schema), ledgers)
    return replace(base, ledgers=ledgers, tables=tables, preview=replace(base.preview, touched=reached))


def _copies(scenario: Scenario) -> float:
    """How many times, beside the base, what was loaded lies on the disk at most while trials work with it."""
    kinds = scenario.trials.beyond_traffic(has_down=bool(scenario.migration.down))
    copies = 1.0  # the database that is migrated
    if TrialKind.SCALE in kinds:
        copies = 2.25  # a quarter of the rows, and what half of them are made out of
    if TrialKind.REPLICA in kinds:
        copies = 3.0  # a standby has both
    return copies


def _in_production(scenario: Scenario, schema: Schema) -> RowCounts:
    """Production's rows: as the scenario says, else as its profile counted them."""
    said, profile = scenario.production, scenario.dataset.profile
    if profile is None or said.default is not None:
        return said
    named = {table.relation for name, _ in said.tables if (table := schema.find(name)) is not None}
    known = {table.relation for table in schema.tables} - named
    counted = (
        (f"{table.relation.schema}.{table.relation.name}", table.rows)
        for table in profile.tables
        if table.relation in known and table.rows
    )
    return RowCounts(None, (*said.tables, *counted))


def run_preview(server: Target, scenario: Scenario, template: str = BASE) -> Preview:
    """Run the migration on a copy of the base before it has any generated rows: no longer than the scenario
    lets it run, nor than it may run under the traffic before a gate breaks it off.
    """
    create_database(server, PREVIEW, template=template)
    try:
        target = server.on(PREVIEW)
        spec = scenario.migration
        limits = (gate.limit for gate in scenario.aborts if gate.metric.name == "duration")
        timeout_s = min((spec.timeout_s, *limits))
        run = run_migration(
            target, spec.up, spec.transaction, timeout_s=timeout_s, on_state=lambda _state: None
        )
        with connect(target, "rehearse") as connection:
            after = introspect(connection) if run.failed is None else None
            if after is not None:
                check_new_application(connection, after, scenario.workload)
        return Preview(run, touched(run), after)
    finally:
        drop_database(server, PREVIEW)


def table_facts(
    target: Target,
    schema: Schema,
    touched_tables: frozenset[Relation],
    production: RowCounts,
    ledgers: frozenset[Relation] = frozenset(),
) -> tuple[TableFacts, ...]:
    """Every table as it is before the migration. A partition that is not named has its share of its
    parent's production rows; one of the `ledgers` is as large there as here.
    """
    with connect(target, "rehearse") as connection:
        sizes = {size.relation: size for size in table_sizes(connection)}
    named = named_rows(schema, production)
    keys = {table.relation: key.columns for table in schema.tables if (key := table.primary_key) is not None}

    def in_production(relation: Relation) -> int | None:
        if relation in named:
            return named[relation]
        if relation in ledgers:
            return sizes[relation].rows
        table = next((t for t in schema.tables if t.relation == relation), None)
        parent = table.partition_of if table is not None else None
        if parent is not None and parent in sizes:
            whole = in_production(parent)
            share = sizes[relation].rows / max(1, sizes[parent].rows)
            return None if whole is None else round(whole * share)
        return production.default

    return tuple(
        TableFacts(
            relation=size.relation,
            rows=size.rows,
            heap_bytes=size.heap_bytes,
            index_bytes=size.index_bytes,
            production_rows=in_production(size.relation),
            touched=size.relation in touched_tables,
            key=keys.get(size.relation, ()),
            ledger=size.relation in ledgers,
        )
        for size in sizes.values()
    )
