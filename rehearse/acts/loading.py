"""Schema applied, migration tried on the empty copy, rows generated for both: the base of every trial."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.facts import count_rows, table_sizes
from rehearse.engines.postgres.introspect import introspect
from rehearse.engines.postgres.server_facts import create_extensions
from rehearse.errors import ScenarioError
from rehearse.migrate.preview import named_where_untold, touched
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun
from rehearse.model.record import DatasetFacts, TableFacts
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.schema import Schema, TableKind
from rehearse.model.target import Target

BASE = "rehearse_base"
PREVIEW = "rehearse_preview"
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
    """The loaded database that trials are copied from."""

    target: Target
    schema: Schema
    preview: Preview
    plan: DatasetPlan
    facts: DatasetFacts
    tables: tuple[TableFacts, ...]
    generated: frozenset[Relation]


def build_base(server: Target, scenario: Scenario, on_progress: Callable[[LoadProgress], None]) -> Base:
    """Make the base database: extensions, init scripts, schema, rows. Errors name what to mend."""
    create_database(server, BASE)
    target = server.on(BASE)
    with connect(target, "rehearse") as connection:
        create_extensions(connection, scenario.database.extensions)
        files = (*scenario.database.init, scenario.dataset.schema, *scenario.dataset.load)
        excused = tuple(note for file in files for note in execute_file(connection, file))
        schema = introspect(connection)
        _check_names(scenario.production, schema, "production rows")
        _check_expendable(scenario.migration.expendable, schema)
        loaded = _loaded(target, schema) if scenario.dataset.load else {}
    preview = run_preview(server, scenario)
    named = named_where_untold(preview.run, (t.relation for t in schema.tables if t.kind in _STORED))
    preview = replace(preview, touched=preview.touched | named)
    plan = plan_dataset(
        schema,
        preview.after,
        scenario.dataset.rows,
        touched=preview.touched,
        loaded=loaded,
        seed=scenario.dataset.seed,
    )
    facts = load(target, plan, on_progress=on_progress)
    facts = replace(facts, notes=(*excused, *facts.notes))
    tables = table_facts(target, schema, preview.touched, scenario.production)
    generated = frozenset(relation for relation in plan.rows if relation not in loaded)
    return Base(target, schema, preview, plan, facts, tables, generated)


def run_preview(server: Target, scenario: Scenario) -> Preview:
    """Run the migration on a copy of the base before it has any generated rows."""
    create_database(server, PREVIEW, template=BASE)
    try:
        target = server.on(PREVIEW)
        spec = scenario.migration
        run = run_migration(
            target, spec.up, spec.transaction, timeout_s=spec.timeout_s, on_state=lambda _state: None
        )
        with connect(target, "rehearse") as connection:
            after = introspect(connection) if run.failed is None else None
        return Preview(run, touched(run), after)
    finally:
        drop_database(server, PREVIEW)


def _loaded(target: Target, schema: Schema) -> Mapping[Relation, int]:
    """The tables that the seed files filled, with their rows."""
    with connect(target, "rehearse") as connection:
        counts = {
            table.relation: count_rows(connection, table.relation)
            for table in schema.tables
            if table.kind in _STORED
        }
    return {relation: rows for relation, rows in counts.items() if rows}


def _check_names(counts: RowCounts, schema: Schema, what: str) -> None:
    known = [str(table.relation) for table in schema.tables]
    for name, _rows in counts.tables:
        if schema.find(name) is None:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else f"the schema has {', '.join(known[:8])}"
            raise ScenarioError(f"{what} name a table that the schema does not have: {name}", mend)


def _check_expendable(names: Iterable[str], schema: Schema) -> None:
    """What may be lost has to be there: a typo is found now, not by a verdict at the end."""
    known = [
        name.replace('"', "")
        for table in schema.tables
        for relation in (table.relation.name, f"{table.relation.schema}.{table.relation.name}")
        for name in (relation, *(f"{relation}.{column.name}" for column in table.columns))
    ]
    for name in names:
        plain = name.replace('"', "").strip()
        if plain not in known:
            near = difflib.get_close_matches(plain, known, n=1)
            mend = f"did you mean {near[0]}?" if near else "write TABLE or TABLE.COLUMN"
            raise ScenarioError(f"expendable names what the schema does not have: {name}", mend)


def table_facts(
    target: Target, schema: Schema, touched_tables: frozenset[Relation], production: RowCounts
) -> tuple[TableFacts, ...]:
    """Every table as it is before the migration. A partition that is not named has its share of its
    parent's production rows.
    """
    with connect(target, "rehearse") as connection:
        sizes = {size.relation: size for size in table_sizes(connection)}
    named = {
        table.relation: rows for name, rows in production.tables if (table := schema.find(name)) is not None
    }

    keys = {table.relation: key.columns for table in schema.tables if (key := table.primary_key) is not None}

    def in_production(relation: Relation) -> int | None:
        if relation in named:
            return named[relation]
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
        )
        for size in sizes.values()
    )
