"""What only the server can tell before a load: keys that are there already, and whether a sample of rows
satisfies every check.

A check that generation did not understand gets *witnesses*: many candidate rows go into a temporary
table, the server says which of them satisfy it, and generation draws from those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import psycopg
from psycopg import sql

from rehearse.dataset.bits import Rows, below, fractions, key_of, row_numbers
from rehearse.dataset.generate import NULL_MARK, Generator
from rehearse.dataset.kinds import flattened
from rehearse.dataset.recipe import (
    Borrowed,
    Calculated,
    Chosen,
    ColumnRecipe,
    DatasetPlan,
    Digit,
    Empty,
    Following,
    Nulls,
    Own,
    Random,
    TableRecipe,
)
from rehearse.dataset.session import Connection, name_of, open_session, translated, verbatim
from rehearse.dataset.siblings import Nth
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError
from rehearse.model.relation import quote_name
from rehearse.model.schema import Column, Schema, Table, TypeKind
from rehearse.model.target import Target

_SAMPLE = 1_000
_CANDIDATES = 40_000
_MOST_KEYS = 1_000_000
_MOST_WITNESSES = 5_000
_PROBE = sql.Identifier("rehearse_probe")
_LEAVES = """
    SELECT pg_catalog.string_agg('(' || pg_catalog.pg_get_partition_constraintdef(relid) || ')', ' OR ')
      FROM pg_catalog.pg_partition_tree(%s::regclass) WHERE isleaf
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on rows that the server can evaluate; `certain`: it is in force now."""

    name: str
    columns: tuple[str, ...]
    sql: sql.Composable
    certain: bool = True


def find(target: Target, plan: DatasetPlan) -> None:
    """What a load finds out before it begins, for a database that is loaded already: fresh rows need it."""
    with open_session(target, replica=False) as connection:
        schema = introspect(connection)
        read_existing_keys(connection, plan)
        give_up_xml(connection, plan, schema)
        check_samples(connection, plan, schema)


def read_existing_keys(connection: Connection, plan: DatasetPlan) -> None:
    """Keys of the tables that were not generated and that generated rows refer to."""
    for table in plan.tables.values():
        for reference in table.references:
            key = (reference.parent, reference.parent_columns)
            if not reference.from_server or key in plan.found.existing:
                continue
            names = [sql.Identifier(name) for name in reference.parent_columns]
            query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
                sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in names),
                name_of(reference.parent),
                sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(name) for name in names),
                sql.SQL(", ").join(names),
                sql.Literal(_MOST_KEYS),
            )
            plan.found.existing[key] = connection.execute(query).fetchall()


def give_up_xml(connection: Connection, plan: DatasetPlan, schema: Schema) -> tuple[str, ...]:
    """A server built without libxml refuses every XML value: NULL where that is allowed. Returns notes."""
    columns = [
        (table, column)
        for table in plan.tables.values()
        if table.rows and table.generated
        for column in schema.table(table.relation).columns
        if flattened(column.type)[0].name == "xml" and column.name in {c.name for c in table.columns}
    ]
    if not columns:
        return ()
    try:
        connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        pass
    else:
        return ()
    for table, column in columns:
        name = f"{table.relation}.{quote_name(column.name)}"
        if column.not_null:
            raise DatasetError(f"{name}: this server is built without XML and takes no value for it")
        plan.found.witnesses.setdefault(table.relation, {})[column.name] = [None]
    return tuple(
        f"{table.relation}.{quote_name(column.name)} is NULL in every row: this server is built without XML"
        for table, column in columns
    )


def check_samples(connection: Connection, plan: DatasetPlan, schema: Schema) -> tuple[str, ...]:
    """Puts a sample of every table with checks before the server, and finds witnesses where it refuses.

    Returns notes. Raises DatasetError naming table, columns and constraint where none is found.
    """
    notes: list[str] = []
    for table in plan.tables.values():
        if not table.generated or not table.rows:
            continue
        known = schema.table(table.relation)
        conditions = list(_conditions(connection, table, known))
        chosen = any(_is_chosen(table, column.name) for column in table.columns)
        if conditions or chosen:
            try:
                with connection.transaction(force_rollback=True):
                    notes += _Probe(connection, Generator(plan), table, known).run(conditions)
            except psycopg.Error as error:
                raise translated(error, _where(error, table)) from None
    return tuple(notes)


def _where(error: psycopg.Error, table: TableRecipe) -> str:
    """The table, and the column where the server says which one it could not read."""
    context = error.diag.context or ""
    for column in table.columns:
        if context.endswith(f"column {column.name}") or f"column {column.name}:" in context:
            return f"{table.relation}.{quote_name(column.name)}"
    return str(table.relation)


def _conditions(connection: Connection, table: TableRecipe, known: Table) -> Iterator[Condition]:
    for check in table.checks:
        yield Condition(check.name, check.columns, verbatim(check.expression))
    for check in table.later_checks:
        yield Condition(check.name, check.columns, verbatim(check.expression), certain=False)
    for column in known.columns:
        type_ = column.type
        while type_.kind is TypeKind.DOMAIN and type_.element is not None:
            for clause in type_.checks:
                inner = re.sub(r"^CHECK ", "", clause.removesuffix(" NOT VALID"))
                # a domain's condition speaks of VALUE: here, a column of that name
                condition = sql.SQL("(SELECT {} FROM (SELECT {} AS value) AS v)").format(
                    verbatim(inner), sql.Identifier(column.name)
                )
                yield Condition(type_.sql, (column.name,), condition)
            type_ = type_.element
    if table.partition_check:
        name = name_of(table.relation).as_string(connection)
        row = connection.execute(_LEAVES, (name,)).fetchone()
        if row is not None and row[0]:
            key = known.partition_key or ""
            columns = tuple(column.name for column in known.columns if quote_name(column.name) in key)
            yield Condition("partition bounds", columns, verbatim(row[0]))


@dataclass(frozen=True, slots=True)
class _Probe:
    """One table's rows, in a temporary table without its constraints."""

    connection: Connection
    generator: Generator
    table: TableRecipe
    known: Table

    def run(self, conditions: list[Condition]) -> list[str]:
        self._create()
        rows = _spread(self.table.rows, _SAMPLE)
        self._fill(self.generator.frame(self.table.relation, self._names(), rows))
        failing = [condition for condition in conditions if not self._holds(condition)]
        if not failing:
            return []
        notes: list[str] = []
        for group in _groups(failing, conditions):
            if not self._find_witnesses(group):
                notes += self._give_up([condition for condition in group if condition in failing])
        return notes

    def _give_up(self, failing: list[Condition]) -> list[str]:
        condition = next((c for c in failing if c.certain), failing[0])
        columns = ", ".join(map(quote_name, condition.columns))
        what = f"{self.table.relation}: no generated row satisfies {quote_name(condition.name)} ({columns})"
        if condition.certain:
            described = [name for name in condition.columns if _is_chosen(self.table, name)]
            mend = f"mend [dataset.columns] for {', '.join(map(quote_name, described))}" if described else ""
            raise DatasetError(what, mend or "load the table from a SQL file")
        return [f"{what}, which the migration adds"]

    def _names(self) -> list[str]:
        return [column.name for column in self.table.columns]

    def _create(self) -> None:
        self.connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {})").format(_PROBE, name_of(self.table.relation))
        )
        generated = [column for column in self.known.columns if column.generated and column.generation]
        for column in self.known.columns:
            base, _ = flattened(column.type)
            if base != column.type and column not in generated:
                self.connection.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(
                        _PROBE, sql.Identifier(column.name), verbatim(base.sql)
                    )
                )
        for column in generated:
            self._calculate(column)

    def _calculate(self, column: Column) -> None:
        """Made anew, once those it is calculated from have their types, which cannot change under it."""
        base, _ = flattened(column.type)
        self.connection.execute(
            sql.SQL(
                "ALTER TABLE {probe} DROP COLUMN {name}, "
                "ADD COLUMN {name} {type} GENERATED ALWAYS AS ({expression}) STORED"
            ).format(
                probe=_PROBE,
                name=sql.Identifier(column.name),
                type=verbatim(base.sql),
                expression=verbatim(column.generation or ""),
            )
        )

    def _fill(self, frame: pl.DataFrame) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, self._names()))
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL {})").format(
            _PROBE, names, sql.Literal(NULL_MARK)
        )
        with self.connection.cursor().copy(command) as copy:
            copy.write(frame.write_csv(include_header=False, null_value=NULL_MARK).encode())

    def _holds(self, condition: Condition) -> bool:
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE NOT ({}))").format(_PROBE, condition.sql)
        try:
            with self.connection.transaction():
                row = self.connection.execute(query).fetchone()
        except psycopg.Error:
            # a later check may speak of what is not there yet; one in force may fail on some value
            return not condition.certain
        assert row is not None
        return not row[0]

    def _find_witnesses(self, conditions: list[Condition]) -> bool:
        """Values for the columns of these conditions that the server accepts, if there are any."""
        columns = dict.fromkeys(name for condition in conditions for name in condition.columns)
        movable = [name for name in columns if _free(self.table, name)]
        if not movable:
            return False
        rows = np.resize(_spread(self.table.rows, _CANDIDATES), _CANDIDATES)
        frame = self.generator.frame(self.table.relation, self._names(), rows)
        for place, column in enumerate(self.table.columns):
            if column.name in movable:
                candidates = self._candidates(_wild(column, self.generator.plan.seed))
                frame = frame.with_columns(candidates.alias(str(place)))
        self._refill(frame)
        accepted = self._accepted(movable, conditions)
        if not accepted:
            return False
        accepted_values = {name: [row[place] for row in accepted] for place, name in enumerate(movable)}
        if self._agrees(accepted_values, conditions):
            return True
        # NULL agrees with whatever cannot be moved: a parent that must not be the row itself
        optional = [name for name in movable if not self._demanded(name)]
        return bool(optional) and self._agrees({name: [None] for name in optional}, conditions)

    def _agrees(self, values: dict[str, list[str | None]], conditions: list[Condition]) -> bool:
        """Whether what cannot be moved (keys, references) agrees with any of `values`; kept if so."""
        found = self.generator.plan.found.witnesses.setdefault(self.table.relation, {})
        found |= values
        sample = _spread(self.table.rows, _SAMPLE)
        self._refill(self.generator.frame(self.table.relation, self._names(), sample))
        if all(self._holds(condition) for condition in conditions):
            return True
        for name in values:
            del found[name]
        return False

    def _demanded(self, name: str) -> bool:
        """Whether the column takes no NULL, now or once the migration has run: generation gives it none."""
        return self.known.column(name).not_null or self.table.column(name).nulls is None

    def _refill(self, frame: pl.DataFrame) -> None:
        self.connection.execute(sql.SQL("TRUNCATE {}").format(_PROBE))
        self._fill(frame)

    def _candidates(self, column: ColumnRecipe) -> pl.Series:
        table = replace(self.table, columns=(column,))
        plan = replace(self.generator.plan, tables={**self.generator.plan.tables, table.relation: table})
        frame = Generator(plan).frame(table.relation, [column.name], row_numbers(0, _CANDIDATES))
        return frame.to_series()

    def _accepted(self, columns: list[str], conditions: list[Condition]) -> list[tuple[str | None, ...]]:
        fine = [sql.SQL("({}) IS NOT FALSE").format(c.sql) for c in conditions]
        query = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT {}").format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns),
            _PROBE,
            sql.SQL(" AND ").join(fine),
            sql.Literal(_MOST_WITNESSES),
        )
        try:
            with self.connection.transaction():
                return self.connection.execute(query).fetchall()
        except psycopg.Error:
            return []


def _groups(failing: list[Condition], conditions: list[Condition]) -> Iterator[list[Condition]]:
    """The failing conditions, each with all that hang together with it by their columns."""
    left = list(failing)
    while left:
        group = [left[0]]
        grown = True
        while grown:
            columns = {name for condition in group for name in condition.columns}
            more = [c for c in conditions if c not in group and columns & set(c.columns)]
            more = [c for c in more if c.certain or c in failing]
            group += more
            grown = bool(more)
        left = [condition for condition in left if condition not in group]
        yield group


def _free(table: TableRecipe, name: str) -> bool:
    """Whether a column may hold anything: no key, no reference, not left out."""
    try:
        source = table.column(name).source
    except KeyError:
        return False
    match source:
        case Own(_, draw):
            return not isinstance(draw, Digit | Nth)
        case Borrowed():
            return False
        case Following() | Empty():
            return True
        case Chosen() | Calculated():
            return False  # somebody said what it holds


def _is_chosen(table: TableRecipe, name: str) -> bool:
    """Whether somebody said what the column holds."""
    return any(c.name == name and isinstance(c.source, Chosen | Calculated) for c in table.columns)


def _wild(column: ColumnRecipe, seed: int) -> ColumnRecipe:
    """The column without regard for its row: any of its values, small ones often."""
    key = key_of(seed, column.name, "candidate")
    match column.source:
        case Own(values) | Following(values=values):
            nulls = column.nulls and Nulls(column.nulls.key, 30)
            return replace(column, source=Own(values, _Anywhere(key, values.size)), nulls=nulls)
        case _:
            return column


@dataclass(frozen=True, slots=True)
class _Anywhere(Random):
    """Half of the places at random, the other half mostly near the start: conditions between columns
    (a + b <= c) have their solutions where the numbers are small.
    """

    def index(self, rows: Rows) -> Rows:
        """The places that these rows get."""
        uniform = below(rows, self.key, self.size)
        near = np.exp(fractions(rows, key_of(self.key)) * np.log(self.size)).astype(np.uint64) - np.uint64(1)
        return np.where(rows % np.uint64(2) == 0, uniform, near)


def _spread(rows: int, count: int) -> Rows:
    """Up to `count` row numbers all over [0, rows)."""
    if rows <= count:
        return row_numbers(0, rows)
    return np.linspace(0, rows - 1, count).astype(np.uint64)
