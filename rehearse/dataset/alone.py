"""The data alone: a schema applied to a database and filled, without a rehearsal around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rehearse.dataset.described import apply_schema, described, fill, rows_loaded
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.load import LoadProgress
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.migration import SqlFile
from rehearse.model.profile import Profile
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, RowCounts
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
    what = described(dataset, schema, wishes_of(dataset, schema, loaded), loaded=loaded)
    facts = fill(target, what, on_progress, streams=streams)
    return LoadResult(
        rows=facts.rows,
        size_bytes=facts.size_bytes,
        load_seconds=facts.load_seconds,
        index_seconds=facts.index_seconds,
        rows_per_second=facts.rows / facts.load_seconds if facts.load_seconds else 0.0,
        tables=tuple((str(relation), count) for relation, count in what.plan.rows.items()),
        notes=(*excused, *what.unused, *facts.notes),
    )
