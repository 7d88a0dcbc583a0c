"""What the migration cost in data: what stood in what it dropped, and rows that were written meanwhile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.facts import count_rows
from rehearse.model.migration import (
    ColumnChange,
    MigrationRun,
    RelationChange,
    Statement,
    StatementOutcome,
)
from rehearse.model.record import ScriptInfo, Trial
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.trials import MissingRows
from rehearse.model.workload import Outcome, SampleColumns

_NAME = r"(?:\"[^\"]+\"|\w+)"
_ONE_ROW = re.compile(
    rf"\s*INSERT\s+INTO\s+(?P<table>{_NAME}(?:\.{_NAME})?)[\s(].*?\bVALUES\s*\(", re.IGNORECASE | re.DOTALL
)
_SEVERAL = re.compile(r"\)\s*,\s*\(|\bON\s+CONFLICT\b|\bWITH\b|\bSELECT\b", re.IGNORECASE)
_TAKES_AWAY = re.compile(r"\b(DELETE|TRUNCATE|MERGE|CALL|DO)\b", re.IGNORECASE)
_NAMED = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%s)
"""


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


def writes_nothing(run: MigrationRun) -> bool:
    """Whether all that each statement did is known, and none of it can have changed a row that was there."""
    for statement in run.statements:
        effects = statement.effects
        if statement.outcome is not StatementOutcome.OK or effects is None:
            return False
        rewritten = [work for work in effects.rewritten if not work.created_here]
        dropped = [change for change in effects.columns if change.what == "dropped"]
        unseen = effects.longest_transaction_ns is not None  # it commits as it goes, uncounted
        if rewritten or dropped or unseen or effects.rows_changed or effects.relations:
            return False
    return True


def count_missing(
    base: Target, target: Target, trial: Trial, samples: SampleColumns, scripts: Sequence[ScriptInfo]
) -> tuple[MissingRows, ...]:
    """Tables with fewer rows after the traffic trial than its committed transactions put there, which is told
    for those that the traffic inserts into, one row a statement, and never deletes from. A migration that
    did nothing to any row has nothing to be blamed for, and is not asked.
    """
    if trial.migration is None or writes_nothing(trial.migration):
        return ()
    inserted = insertions(scripts, committed(samples))
    found = []
    with connect(base, "rehearse") as before, connect(target, "rehearse") as after:
        for table, rows in inserted.items():
            relation = _relation(before, table)
            try:
                promised = count_rows(before, relation) + rows if relation else 0
                there = _seen_rows(after, relation) if relation else 0
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                continue  # it was taken away, or renamed, which is another finding
            if relation is not None and there < promised:
                found.append(MissingRows(relation, promised, there))
    return tuple(found)


def _seen_rows(connection: psycopg.Connection[tuple[Any, ...]], relation: Relation) -> int:
    """Rows that the application finds under the name, be it a view by now."""
    name = sql.Identifier(relation.schema, relation.name)
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
    return int(row[0]) if row else 0


def committed(samples: SampleColumns) -> Counter[str]:
    """By script, the transactions that the server answered as committed."""
    pairs = zip(samples.script, samples.outcome, strict=True)
    return Counter(samples.scripts[script] for script, outcome in pairs if outcome == Outcome.OK)


def insertions(scripts: Sequence[ScriptInfo], transactions: Mapping[str, int]) -> dict[str, int]:
    """By table, as the scripts write it, the rows that so many transactions of each script inserted at least.
    None where any script deletes, which may take rows out of any table.
    """
    texts = [text for script in scripts for text in script.statements]
    if any(_TAKES_AWAY.search(text) for text in texts):
        return {}
    found: Counter[str] = Counter()
    for script in scripts:
        for text in script.statements:
            match = _ONE_ROW.match(text)
            if match and not _SEVERAL.search(text):
                found[match["table"]] += transactions.get(script.name, 0)
    return {table: rows for table, rows in found.items() if rows}


def _relation(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> Relation | None:
    """The table that a statement of the application calls `name`."""
    row = connection.execute(_NAMED, (name,)).fetchone()
    return Relation(*row) if row else None
