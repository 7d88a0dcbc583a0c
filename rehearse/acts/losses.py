"""How much data stood in what the migration dropped: counted on the base, which it never touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.facts import count_rows
from rehearse.model.migration import ColumnChange, MigrationRun, RelationChange, Statement
from rehearse.model.relation import Relation
from rehearse.model.target import Target


def count_losses(base: Target, run: MigrationRun) -> MigrationRun:
    """`run` with the rows that dropped columns, and dropped or emptied tables, held before it.

    What the base does not have was made by the migration itself and lost nothing, unless something was
    renamed on the way: then it stays None, which is not known to be harmless.
    """
    effects = [statement.effects for statement in run.statements if statement.effects]
    kinds = {change.what for each in effects for change in each.columns}
    kinds |= {change.what for each in effects for change in each.relations}
    absent = None if "renamed" in kinds else 0
    with connect(base, "rehearse") as connection:
        counter = _Counter(connection, absent)
        return replace(run, statements=tuple(counter.statement(s) for s in run.statements))


@dataclass(frozen=True, slots=True)
class _Counter:
    connection: psycopg.Connection[tuple[Any, ...]]
    absent: int | None  # what a table or column counts that the base does not have

    def statement(self, statement: Statement) -> Statement:
        effects = statement.effects
        if effects is None or not (effects.columns or effects.relations):
            return statement
        columns = tuple(self._column(change) for change in effects.columns)
        relations = tuple(self._relation(change) for change in effects.relations)
        return replace(statement, effects=replace(effects, columns=columns, relations=relations))

    def _column(self, change: ColumnChange) -> ColumnChange:
        if change.what != "dropped":
            return change
        return replace(change, rows_with_data=self._count(change.table, change.column))

    def _relation(self, change: RelationChange) -> RelationChange:
        if change.what == "renamed":
            return change
        return replace(change, rows=self._count(change.relation, None))

    def _count(self, relation: Relation, column: str | None) -> int | None:
        try:
            return count_rows(self.connection, relation, column)
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.InvalidSchemaName,
        ):
            return self.absent
