"""The data alone: a schema applied to a database and filled, without a rehearsal around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import RowCounts
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


def load_alone(
    target: Target,
    schema_file: SqlFile,
    rows: RowCounts,
    *,
    seed: int,
    on_progress: Callable[[LoadProgress], None],
    streams: int | None = None,
) -> LoadResult:
    """Applies the schema to an empty database and loads it. Raises SqlFileError, DatasetError."""
    with connect(target, "rehearse") as connection:
        excused = execute_file(connection, schema_file)
        schema = introspect(connection)
    plan = plan_dataset(schema, None, rows, touched=frozenset(), loaded={}, seed=seed)
    facts = load(target, plan, on_progress=on_progress, streams=streams)
    return LoadResult(
        rows=facts.rows,
        size_bytes=facts.size_bytes,
        load_seconds=facts.load_seconds,
        index_seconds=facts.index_seconds,
        rows_per_second=facts.rows / facts.load_seconds if facts.load_seconds else 0.0,
        tables=tuple((str(relation), count) for relation, count in plan.rows.items()),
        notes=(*excused, *facts.notes),
    )
