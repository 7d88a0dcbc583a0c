"""The data alone: a schema applied to a database and filled, without a rehearsal around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rehearse.dataset.described import apply_schema, described, fill, rows_loaded
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.load import LoadProgress
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.ledgers import ledgers_among
from rehearse.model.migration import SqlFile
from rehearse.model.profile import Profile
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, RowCounts
from rehearse.model.schema import Schema
from rehearse.model.target import Target


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was loaded, and how quickly: `rows_per_second` counts the time of COPY alone.

    `size_bytes` is the database afterwards, indexes and catalog included.
    """

    rows: int
    size_bytes: int
    load_seconds: float
    index_seconds: float
    rows_per_second: float
    tables: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


def load_alone(  # noqa: PLR0913 - one verb of the command line, whose options these are
    target: Target,
    schema_file: SqlFile,
    rows: RowCounts,
    *,
    seed: int,
    on_progress: Callable[[LoadProgress], None],
    streams: int | None = None,
    profile: Profile | None = None,
    scale: float = 1.0,
) -> LoadResult:
    """Applies the schema to an empty database and loads it; with a `profile`, rows like those it was taken of
    and `scale` times as many. Raises SqlFileError, DatasetError.
    """
    dataset = DatasetSpec(schema_file, rows, seed=seed, profile=profile, scale=scale)
    return load_described(target, DatabaseSpec(), dataset, on_progress, streams=streams)


def load_described(
    target: Target,
    database: DatabaseSpec,
    dataset: DatasetSpec,
    on_progress: Callable[[LoadProgress], None],
    *,
    streams: int | None = None,
) -> LoadResult:
    """Into an empty database all that a rehearsal would load, but for what its migration asks of the rows:
    extensions and init scripts of `database` included. Raises SqlFileError, DatasetError.
    """
    excused = apply_schema(target, database, dataset)
    with connect(target, "rehearse") as connection:
        schema = introspect(connection)
    loaded = rows_loaded(target, schema)
    wishes = wishes_of(dataset, schema, loaded)
    ledgers = _unfilled(dataset, schema, loaded)
    # as in a rehearsal: rows that we made up would be read by the tool as its own
    what = described(dataset, schema, wishes, loaded={**loaded, **dict.fromkeys(ledgers, 0)})
    facts = fill(target, what, on_progress, streams=streams)
    return LoadResult(
        rows=facts.rows,
        size_bytes=facts.size_bytes,
        load_seconds=facts.load_seconds,
        index_seconds=facts.index_seconds,
        rows_per_second=facts.rows / facts.load_seconds if facts.load_seconds else 0.0,
        tables=tuple((str(relation), count) for relation, count in what.plan.rows.items()),
        notes=(*excused, *what.unused, *(_left_empty(ledger) for ledger in ledgers), *facts.notes),
    )


def _unfilled(dataset: DatasetSpec, schema: Schema, loaded: Mapping[Relation, int]) -> tuple[Relation, ...]:
    """Migration tools' ledgers that have no rows, unless somebody gives them some by name."""
    named = {table.relation: rows for name, rows in dataset.rows.tables if (table := schema.find(name))}
    profiled = () if dataset.profile is None else dataset.profile.tables
    counts = (loaded, named, {table.relation: table.rows for table in profiled})
    return tuple(sorted(ledgers_among(schema, counts) - loaded.keys() - named.keys()))


def _left_empty(ledger: Relation) -> str:
    return f"{ledger} stays empty: it is the ledger of a migration tool; name it under rows to fill it"
