"""A data set as `[dataset]` of a scenario describes it: schema or snapshot, seed files, rows, wear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rehearse.dataset.bloat import wear
from rehearse.dataset.generators import Wishes
from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.masking.sink import load_snapshot
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.profile.twin import over, twin_wishes
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.facts import count_rows
from rehearse.engines.postgres.server_facts import create_extensions
from rehearse.model.record import DatasetFacts
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec, DatasetSpec
from rehearse.model.schema import Schema, TableKind
from rehearse.model.target import Target

_STORED = (TableKind.TABLE, TableKind.PARTITIONED)


@dataclass(frozen=True, slots=True)
class Described:
    """What a description comes to: `unused` says what of a profile the schema has no place for."""

    plan: DatasetPlan
    dead: Mapping[Relation, float]
    unused: tuple[str, ...]


def apply_schema(target: Target, database: DatabaseSpec, dataset: DatasetSpec) -> tuple[str, ...]:
    """Everything that is executed before rows are generated; notes on what was excused."""
    with connect(target, "rehearse") as connection:
        create_extensions(connection, database.extensions)
        if dataset.snapshot:
            # the schema is applied in two parts, with the rows between them
            notes = [note for file in database.init for note in execute_file(connection, file)]
            notes += load_snapshot(target, Path(dataset.snapshot))
            return (*notes, *(n for file in dataset.load for n in execute_file(connection, file)))
        files = (*database.init, dataset.schema, *dataset.load)
        return tuple(note for file in files for note in execute_file(connection, file))


def rows_loaded(target: Target, schema: Schema) -> Mapping[Relation, int]:
    """The tables that the seed files or the schema's own file filled, with their rows."""
    with connect(target, "rehearse") as connection:
        counts = {
            table.relation: count_rows(connection, table.relation)
            for table in schema.tables
            if table.kind in _STORED
        }
    return {relation: rows for relation, rows in counts.items() if rows}


def described(
    dataset: DatasetSpec,
    schema: Schema,
    wishes: Wishes,
    *,
    after: Schema | None = None,
    touched: Iterable[Relation] = (),
    loaded: Mapping[Relation, int] | None = None,
) -> Described:
    """The plan of all rows. `wishes` are the scenario's own (`wishes_of`); `after` is the schema that the
    migration makes, which touches the tables `touched`. Raises DatasetError for what cannot be satisfied.
    """
    unused: tuple[str, ...] = ()
    if dataset.profile is not None:
        alike, unused = twin_wishes(dataset.profile, schema, after, scale=dataset.scale)
        wishes = over(alike, wishes)
    plan = plan_dataset(
        schema,
        after,
        dataset.rows,
        touched=frozenset(touched),
        loaded=loaded or {},
        seed=dataset.seed,
        wishes=wishes,
    )
    return Described(plan, wishes.dead, unused)


def fill(
    target: Target,
    what: Described,
    on_progress: Callable[[LoadProgress], None],
    *,
    streams: int | None = None,
    copies: float = 0.0,
) -> DatasetFacts:
    """Loads all rows, then wears the tables that are to have dead ones. There has to be room on the disk for
    so many `copies` of it beside.
    """
    facts = load(target, what.plan, on_progress=on_progress, streams=streams, copies=copies)
    if what.dead:
        size_bytes, unworn = wear(target, what.dead, what.plan.seed)
        facts = replace(facts, size_bytes=size_bytes, notes=(*facts.notes, *unworn))
    return facts
