"""What a PostgreSQL server knows of its tables: statistics, sizes, keys; in one snapshot, no table touched.

Everything comes from the catalog and its statistics views, which show only what the role may read anyway.
Nothing here takes a stronger lock than ACCESS SHARE, and no table is scanned; `statistics_scan` does that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.primary import without_values
from rehearse.engines.postgres.statistics_queries import (
    COLUMNS,
    INDEXES,
    JOINT,
    JOINT_14,
    PAGES,
    REFERENCES,
    RELATIONS,
    SIZES,
    STATISTICS,
    STORES,
)
from rehearse.errors import EnvironmentFailure, InputError
from rehearse.model.profile import JointStatistics, ReferenceProfile
from rehearse.model.relation import Relation
from rehearse.model.target import Target

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

LOCK_TIMEOUT_MS = 1_000
STATEMENT_TIMEOUT_MS = 30_000
SCAN_TIMEOUT_MS = 4 * 3600 * 1_000
_BLOCK_BYTES = 8192


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column as the server knows it, values included: not for anybody's eyes.

    `category` is `pg_type.typcategory` of the base type (E enum, B boolean, N number, D moment, ...);
    `key`: it is a unique key by itself.
    """

    name: str
    type: str
    base: str
    category: str
    generated: bool = False
    key: bool = False
    known: bool = False
    null_fraction: float = 0.0
    width_bytes: int = 0
    distinct: float = 0.0
    values: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    bounds: tuple[str, ...] = ()
    correlation: float | None = None
    elements: tuple[str, ...] = ()
    element_frequencies: tuple[float, ...] = ()
    element_count: float | None = None
    lengths: tuple[int, ...] | None = None  # None: take them from the values


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """One table as the server knows it. `rows` None: it was never analyzed."""

    relation: Relation
    rows: int | None
    partitioned: bool
    live_rows: int
    dead_rows: int
    changed_rows: int
    heap_bytes: int
    toast_bytes: int
    indexes: tuple[tuple[str, int], ...]
    columns: tuple[ColumnStatistics, ...]
    references: tuple[ReferenceProfile, ...]
    joint: tuple[JointValues, ...]


@dataclass(frozen=True, slots=True)
class JointValues:
    """Extended statistics, and the values of their common combinations; None for NULL."""

    statistics: JointStatistics
    values: tuple[tuple[str | None, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """All tables of interest at one instant. `notes` say what could not be read."""

    server: str
    taken_at: str
    tables: tuple[TableStatistics, ...]
    notes: tuple[str, ...] = ()


@contextmanager
def snapshot(target: Target, *, scan: bool = False) -> Iterator[Connection]:
    """A read-only transaction on one snapshot, with short timeouts: it waits for nobody, and writes nothing.

    Raises ServerLostError, or EnvironmentFailure for what the server refuses.
    """
    with connect(target, "rehearse", autocommit=False) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        settings = {
            "statement_timeout": str(SCAN_TIMEOUT_MS if scan else STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": "60s",
            "search_path": "",
            "DateStyle": "ISO, YMD",
            "IntervalStyle": "postgres",
            "TimeZone": "UTC",
            "extra_float_digits": "1",
            "row_security": "on",
        }
        try:
            for name, value in settings.items():
                connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
            yield connection
            connection.rollback()
        except psycopg.Error as error:
            message = without_values(error.sqlstate, error.diag.message_primary or type(error).__name__)
            raise EnvironmentFailure(
                f"the statistics cannot be read: {message}", "nothing was changed; try again"
            ) from None


_INHERITED_JOINT = 150_000


def read_statistics(connection: Connection, schemas: Sequence[str] = ()) -> DatabaseStatistics:
    """Every table of these schemas (none: all). Raises InputError for a schema without tables."""
    reader = _Reader(connection, list(schemas) or None)
    return reader.read()


class _Reader:
    def __init__(self, connection: Connection, schemas: list[str] | None) -> None:
        self._connection = connection
        self._schemas = schemas
        self._oids: list[int] = []
        self._notes: list[str] = []

    def read(self) -> DatabaseStatistics:
        relations = self._connection.execute(RELATIONS, {"schemas": self._schemas}).fetchall()
        missing = set(self._schemas or ()) - {row[1] for row in relations}
        if missing:
            raise InputError(f"there are no tables in the schema {min(missing)}", "name one that has tables")
        self._oids = [row[0] for row in relations]
        row = self._connection.execute(
            "SELECT pg_catalog.current_setting('server_version'),"
            " pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        ).fetchone()
        assert row is not None
        tables = self._tables(relations)
        return DatabaseStatistics(f"PostgreSQL {row[0].split()[0]}", row[1], tables, tuple(self._notes))

    def _rows(self, query: str) -> dict[int, list[tuple[Any, ...]]]:
        """A query's rows by the oid in their first column, which is left out."""
        found: dict[int, list[tuple[Any, ...]]] = {oid: [] for oid in self._oids}
        for oid, *rest in self._connection.execute(query.encode(), {"oids": self._oids}):
            found[oid].append(tuple(rest))
        return found

    def _tables(self, relations: list[tuple[Any, ...]]) -> tuple[TableStatistics, ...]:
        stores, indexes = self._rows(STORES), self._rows(INDEXES)
        index_stores = self._index_stores(indexes)
        wanted = {store for of in stores.values() for store, *_ in of}
        wanted |= {toast for of in stores.values() for _, _, _, toast, *_ in of if toast}
        wanted |= {leaf for leaves in index_stores.values() for leaf in leaves}
        sizes = self._sizes(sorted(wanted))
        columns = self._columns(indexes)
        references, joint = self._references(), self._joint()
        made = []
        for oid, schema, name, kind, tuples, *_ in relations:
            of = stores[oid]
            heap = sum(sizes.get(store, 0) for store, *_ in of)
            made.append(
                TableStatistics(
                    relation=Relation(schema, name),
                    rows=_estimated(kind, tuples, of, sizes),
                    partitioned=kind == "p",
                    live_rows=sum(row[4] for row in of),
                    dead_rows=sum(row[5] for row in of),
                    changed_rows=sum(row[6] for row in of),
                    heap_bytes=heap,
                    toast_bytes=sum(sizes.get(row[3], 0) for row in of),
                    indexes=tuple(
                        (index, sum(sizes.get(leaf, 0) for leaf in index_stores[number]))
                        for number, index, _ in indexes[oid]
                    ),
                    columns=tuple(columns[oid]),
                    references=tuple(references[oid]),
                    joint=tuple(joint[oid]),
                )
            )
        return tuple(made)

    def _index_stores(self, indexes: dict[int, list[tuple[Any, ...]]]) -> dict[int, list[int]]:
        """The indexes on disk of each index: itself, or those of the partitions."""
        roots = [row[0] for of in indexes.values() for row in of]
        stores: dict[int, list[int]] = {root: [] for root in roots}
        query = """
            WITH RECURSIVE tree (root, oid) AS (
                SELECT o, o FROM unnest(%(oids)s::oid[]) o
                UNION ALL
                SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid)
            SELECT t.root::int8, c.oid::int8 FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
             WHERE c.relkind = 'i'
        """
        for root, leaf in self._connection.execute(query, {"oids": roots}):
            stores[root].append(leaf)
        return stores

    def _sizes(self, oids: list[int]) -> dict[int, int]:
        """Bytes by oid: of the files, or where a relation is locked against us, as the catalog has them."""
        try:
            with self._connection.transaction():
                return dict(self._connection.execute(SIZES, {"oids": oids}).fetchall())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.UndefinedTable):
            self._notes.append(
                "sizes are as of the last VACUUM or ANALYZE: a relation was locked exclusively"
            )
            return dict(self._connection.execute(PAGES, {"oids": oids}).fetchall())

    def _columns(self, indexes: dict[int, list[tuple[Any, ...]]]) -> dict[int, list[ColumnStatistics]]:
        statistics = {(oid, row[0]): row[1:] for oid, rows in self._rows(STATISTICS).items() for row in rows}
        found: dict[int, list[ColumnStatistics]] = {}
        for oid, rows in self._rows(COLUMNS).items():
            keys = {number for *_, number in indexes[oid]}
            found[oid] = [_column(row, statistics.get((oid, row[1])), key=row[0] in keys) for row in rows]
        return found

    def _references(self) -> dict[int, list[ReferenceProfile]]:
        return {
            oid: [
                ReferenceProfile(name, tuple(columns), Relation(schema, parent), tuple(parent_columns))
                for name, schema, parent, columns, parent_columns in rows
            ]
            for oid, rows in self._rows(REFERENCES).items()
        }

    def _joint(self) -> dict[int, list[JointValues]]:
        newer = self._connection.info.server_version >= _INHERITED_JOINT
        numbers = {oid: {row[0]: row[1] for row in rows} for oid, rows in self._rows(COLUMNS).items()}
        return {
            oid: [_joint(row, numbers[oid]) for row in rows]
            for oid, rows in self._rows(JOINT if newer else JOINT_14).items()
        }


def _estimated(kind: str, tuples: float, stores: list[tuple[Any, ...]], sizes: dict[int, int]) -> int | None:
    """Rows as the planner reckons them: the density of the last ANALYZE times the size of today."""
    if kind == "p" and not stores:
        return 0
    total = 0.0
    for store, density_rows, pages, *_ in stores:
        if density_rows < 0:
            # a partition that nobody has analyzed: the root's own count, if it has one
            return round(tuples) if kind == "p" and tuples >= 0 else None
        actual = sizes.get(store, 0) / _BLOCK_BYTES
        total += density_rows * actual / pages if pages else density_rows
    return round(total)


def _column(row: tuple[Any, ...], statistics: tuple[Any, ...] | None, *, key: bool) -> ColumnStatistics:
    _, name, type_, base, category, generated = row
    if statistics is None:
        return ColumnStatistics(name, type_, base, category, generated, key)
    nulls, width, distinct, values, frequencies, bounds, correlation, *elements = statistics
    common, shares, count = elements
    return ColumnStatistics(
        name,
        type_,
        base,
        category,
        generated,
        key,
        known=True,
        null_fraction=nulls,
        width_bytes=width,
        distinct=distinct,
        values=tuple(values or ()),
        frequencies=tuple(frequencies or ()),
        bounds=tuple(bounds or ()),
        correlation=correlation,
        elements=tuple(common or ()),
        # after the frequencies come the least, the greatest, and that of null elements
        element_frequencies=tuple((shares or ())[: len(common or ())]),
        element_count=count,
    )


def _joint(row: tuple[Any, ...], names: dict[int, str]) -> JointValues:
    name, columns, distinct, dependencies, frequencies, values = row
    combinations = [
        (_names(numbers, names), float(count)) for numbers, count in json.loads(distinct or "{}").items()
    ]
    degrees = []
    for arrow, degree in json.loads(dependencies or "{}").items():
        given, _, to = arrow.partition("=>")
        degrees.append((_names(given, names), "".join(_names(to, names)), float(degree)))
    known = tuple(columns or ())
    statistics = JointStatistics(
        name,
        known,
        tuple((of, count) for of, count in combinations if of),
        tuple((given, to, degree) for given, to, degree in degrees if given and to),
        tuple(frequencies or ()),
    )
    told = tuple(map(tuple, values or ()))
    # where an expression is among them there is a value more than there are columns
    return JointValues(statistics, told if all(len(of) == len(known) for of in told) else ())


def _names(numbers: str, names: dict[int, str]) -> tuple[str, ...]:
    """Columns by number, nothing where one of them is an expression."""
    places = [int(text) for text in re.findall(r"-?\d+", numbers)]
    return tuple(names[place] for place in places) if all(place in names for place in places) else ()
