"""What tests ask of a run and of the database after it."""

from __future__ import annotations

from rehearse.engines.postgres.connect import connect
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.target import Target


def locks(statement: Statement, table: str = "orders") -> set[LockMode]:
    assert statement.effects is not None
    return {lock.mode for lock in statement.effects.locks if lock.relation.name == table}


def outcomes(run: MigrationRun) -> list[StatementOutcome]:
    return [statement.outcome for statement in run.statements]


def value(target: Target, query: str) -> object:
    with connect(target, "rehearse") as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None
