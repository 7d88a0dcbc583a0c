"""After COPY: indexes rebuilt, tables vacuumed and analyzed, references verified, sequences moved on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from rehearse.dataset.lattices import INTEGERS
from rehearse.dataset.session import Connection, Job, name_of, translated
from rehearse.dataset.suspend import SetAsideIndex
from rehearse.engines.postgres.orphans import End, Reference, without_parent
from rehearse.engines.postgres.primary import without_values
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation, quote_name
from rehearse.model.schema import Column, ForeignKey, Schema, Table, TableKind

_SEQUENCE = """
    SELECT pg_catalog.setval({sequence}::regclass, top) FROM
      (SELECT max({column})::bigint AS top FROM {table}) AS rows,
      (SELECT last_value FROM {relation}) AS now,
      (SELECT seqmax FROM pg_catalog.pg_sequence WHERE seqrelid = {sequence}::regclass) AS bounds
     WHERE top >= last_value AND top <= seqmax
"""
# Of partitioned tables the leaves have the pages.
_HIDDEN = """
    SELECT n.nspname, c.relname, c.relpages, c.relallvisible
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relallvisible < c.relpages AND c.oid IN (
           SELECT t.relid FROM pg_catalog.unnest(%(tables)s::text[]) AS name,
                  LATERAL pg_catalog.pg_partition_tree(name::regclass) AS t
           UNION SELECT pg_catalog.unnest(%(tables)s::text[])::regclass)
"""
# Its workers are nobody's sessions, which those without privileges may see too.
_AUTOVACUUM = """
    SELECT FROM pg_catalog.pg_stat_activity
     WHERE datname = current_database() AND usesysid IS NULL AND backend_xmin IS NOT NULL
"""
_PATIENCE_S, _POLL_S = 10.0, 0.05


def rebuild_jobs(
    indexes: Sequence[tuple[SetAsideIndex, int]], streams: int, done: Callable[[Relation], None]
) -> Iterator[Job]:
    """One REINDEX for each index that was set aside, largest table first; given with its table's size.

    One that is most of the work would keep a single stream busy at the end: it gets workers of its own.
    """
    total = sum(size for _, size in indexes)
    for index, size in sorted(indexes, key=lambda pair: -pair[1]):
        yield _rebuild(index, streams if 2 * size > total else 0, done)


def _rebuild(index: SetAsideIndex, workers: int, done: Callable[[Relation], None]) -> Job:
    def job(connection: Connection) -> None:
        try:
            connection.execute(
                "SELECT pg_catalog.set_config('max_parallel_maintenance_workers', %s, false)", (str(workers),)
            )
            connection.execute(sql.SQL("REINDEX INDEX {}").format(name_of(index.relation)))
        except psycopg.Error as error:
            raise translated(error, index.table) from None
        done(index.table)

    return job


def vacuum_job(relation: Relation, done: Callable[[Relation], None]) -> Job:
    """Visibility map, hint bits and statistics: afterwards autovacuum has no reason to come."""

    def job(connection: Connection) -> None:
        try:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(name_of(relation)))
        except psycopg.Error as error:
            raise translated(error, relation) from None
        done(relation)

    return job


def hidden_pages(connection: Connection, relations: Iterable[Relation]) -> dict[Relation, int]:
    """The pages of these tables (with their partitions) that VACUUM could not mark as visible to all, where
    there are rows among them: COPY leaves empty ones at the end, which are never marked.
    """
    names = [name_of(relation).as_string(connection) for relation in relations]
    hidden = {}
    for schema, name, pages, marked in connection.execute(_HIDDEN, {"tables": names}).fetchall():
        relation = Relation(schema, name)
        last = sql.SQL("SELECT FROM ONLY {} WHERE ctid >= {}::tid LIMIT 1").format(
            name_of(relation), sql.Literal(f"({marked},0)")
        )
        if connection.execute(last).fetchone() is not None:
            hidden[relation] = pages - marked
    return hidden


def await_autovacuum(connection: Connection) -> None:
    """Waits, some seconds at most, for autovacuum's older snapshots of this database to be gone."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and connection.execute(_AUTOVACUUM).fetchone() is not None:
        time.sleep(_POLL_S)


def reference_jobs(schema: Schema, loaded: frozenset[Relation]) -> Iterator[Job]:
    """One question for each foreign key that the replica role let pass unseen."""
    kinds = {table.relation: table.kind for table in schema.tables}
    for table in schema.tables:
        if table.relation in loaded:
            for key in table.foreign_keys:
                if (
                    key.validated
                    and " PERIOD " not in key.definition
                    and "NOT ENFORCED" not in key.definition
                ):
                    yield _reference(table, key, kinds)


def _reference(table: Table, key: ForeignKey, kinds: dict[Relation, TableKind]) -> Job:
    def end(relation: Relation, columns: tuple[str, ...]) -> End:
        return End(relation, columns, kinds[relation] is TableKind.PARTITIONED)

    asked = Reference(key.name, end(table.relation, key.columns), end(key.parent, key.parent_columns))
    question = sql.SQL("SELECT") + without_parent(asked) + sql.SQL("LIMIT 1")

    def job(connection: Connection) -> None:
        try:
            orphan = connection.execute(question).fetchone()
        except psycopg.Error as error:
            raise translated(error, f"{table.relation}, foreign key {quote_name(key.name)}") from None
        if orphan is not None:
            columns = ", ".join(map(quote_name, key.columns))
            raise DatasetError(
                f"{table.relation}: generated rows violate the foreign key {quote_name(key.name)} "
                f"({columns}) to {key.parent}",
                "load the table from a SQL file",
            )

    return job


def move_sequences_on(connection: Connection, schema: Schema, loaded: frozenset[Relation]) -> None:
    """Every sequence that fills a column goes to that column's highest value, if it is behind it."""
    for table in schema.tables:
        if table.relation not in loaded:
            continue
        for column in table.columns:
            if column.sequence is not None and _counts(column):
                statement = sql.SQL(_SEQUENCE).format(
                    sequence=sql.Literal(name_of(column.sequence).as_string(connection)),
                    relation=name_of(column.sequence),
                    column=sql.Identifier(column.name),
                    table=name_of(table.relation),
                )
                connection.execute(statement)


def _counts(column: Column) -> bool:
    base = column.type
    while base.element is not None and base.name not in INTEGERS:
        base = base.element
    return base.name in INTEGERS | {"numeric"}


def refresh_views(connection: Connection, schema: Schema) -> tuple[str, ...]:
    """Fills the materialized views, oldest first (a later one may read an earlier one); notes on failures."""
    views = [table for table in schema.tables if table.kind is TableKind.MATERIALIZED_VIEW]
    notes = []
    for view in sorted(views, key=lambda table: table.oid):
        try:
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(name_of(view.relation)))
            connection.execute(sql.SQL("ANALYZE {}").format(name_of(view.relation)))
        except psycopg.Error as error:
            reason = without_values(error.sqlstate, error.diag.message_primary or type(error).__name__)
            notes.append(f"{view.relation} could not be refreshed: {reason}")
    return tuple(notes)


@dataclass(frozen=True, slots=True)
class Size:
    """What is in the database."""

    size_bytes: int

    @classmethod
    def of(cls, connection: Connection) -> Size:
        """Read from the server."""
        row = connection.execute("SELECT pg_catalog.pg_database_size(current_database())").fetchone()
        assert row is not None
        return cls(row[0])
