"""What a migration tool notes in its own table is no work on the application's data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rehearse.judge.heat import guarded
from rehearse.model.migration import Effects, RelationChange, Statement
from rehearse.model.record import RunRecord, Trial
from rehearse.model.relation import Relation


def without_ledgers(record: RunRecord) -> RunRecord:
    """`record` without what the migrations read, wrote and locked of the tools' ledgers.

    Of a ledger that a script of the traffic touches, nothing is left out, and of no other what its rows
    cannot come back from: that it was dropped or changed itself.
    """
    hot = {relation for footprint in record.footprints for relation, _ in footprint.locks}
    ledgers = frozenset(table.relation for table in record.tables if table.ledger) - hot
    if not ledgers:
        return record
    return replace(record, trials=tuple(_trial(trial, ledgers) for trial in record.trials))


def _trial(trial: Trial, ledgers: frozenset[Relation]) -> Trial:
    run = trial.migration
    if run is None:
        return trial
    statements = tuple(_statement(statement, ledgers) for statement in run.statements)
    return replace(trial, migration=replace(run, statements=statements))


def _statement(statement: Statement, ledgers: frozenset[Relation]) -> Statement:
    effects = statement.effects
    if effects is None:
        return statement
    return replace(statement, effects=_effects(effects, ledgers, _noted(statement, ledgers)))


def _noted(statement: Statement, ledgers: frozenset[Relation]) -> frozenset[RelationChange]:
    """Ledgers that a DELETE emptied: notes are taken back so, and locks of a tool's own let go."""
    effects = statement.effects
    return frozenset(
        change
        for change in (effects.relations if effects else ())
        if statement.command == "DELETE" and change.what == "truncated" and change.relation in ledgers
    )


def _effects(effects: Effects, ledgers: frozenset[Relation], noted: Iterable[RelationChange]) -> Effects:
    return replace(
        effects,
        locks=tuple(lock for lock in effects.locks if guarded(lock) not in ledgers),
        scanned=tuple(work for work in effects.scanned if work.table not in ledgers),
        rows_changed=tuple(each for each in effects.rows_changed if each[0] not in ledgers),
        rows_locked=tuple(each for each in effects.rows_locked if each[0] not in ledgers),
        totals=tuple(total for total in effects.totals if total.table not in ledgers),
        relations=tuple(change for change in effects.relations if change not in noted),
    )
