"""The integrity trial: the migration alone, then every value that it may have touched against the base."""

from __future__ import annotations

from collections.abc import Iterator, Set

from rehearse.acts.contents import compare_contents
from rehearse.acts.ledgers import without
from rehearse.acts.losses import writes_nothing
from rehearse.acts.trial import TRIAL, TrialContext, quietly
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.content import prepare
from rehearse.engines.postgres.loosened import Guards, guards, loosened, switches_off
from rehearse.engines.postgres.misfits import Retyping, changed_silently, type_actions
from rehearse.engines.postgres.orphans import new_orphans
from rehearse.engines.postgres.remains import remains
from rehearse.model.migration import MigrationRun
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.schema import TableKind
from rehearse.model.target import Target
from rehearse.model.trials import IntegrityFacts, Misfit, Orphans, Remains, TrialKind

_ROOTS = (TableKind.TABLE, TableKind.PARTITIONED)


def integrity(context: TrialContext) -> Trial:
    """Migrate a copy of the base, and compare what it holds with the base.

    A migration that wrote to nothing, as was seen under traffic, is not run again: there is nothing to
    compare, and what it left can be read where it ran.
    """
    before, guarded = _remains(context.base.target), _guards(context.base.target)
    schema = without(context.base.schema, context.base.ledgers)
    traffic = context.traffic.migration if context.traffic else None
    orphans = _orphans_of_traffic(context, traffic)
    if traffic is not None and writes_nothing(traffic):
        roots = [table for table in schema.tables if table.kind in _ROOTS]
        there = context.server.target.on(TRIAL)
        left, loose = _new(before, _remains(there)), loosened(guarded, _guards(there))
        note = "no statement wrote to a row or to a file of a table: there was nothing to compare"
        facts = IntegrityFacts((), len(roots), left, loosened=loose, orphans=orphans)
        return Trial(TrialKind.INTEGRITY, integrity=facts, notes=(note,))
    target = context.copy()
    run = quietly(target, context.scenario.migration.up, context.scenario)
    if run.failed is not None:
        why = f"the migration failed in quiet, {run.failed.whereabouts}: {run.failed.message}"
        return Trial(TrialKind.INTEGRITY, migration=run, unmeasured=why)
    context.on_status("integrity: comparing the data")
    contents = compare_contents(context.base.target, schema, target)
    left = _new(before, _remains(target))
    loose = loosened(guarded, _guards(target))
    misfits = tuple(_misfits(context, run))
    compared = {table.table for table in contents.tables}
    untouched = {table.relation for table in schema.tables if table.kind in _ROOTS} - compared
    quiet = _orphans(context, target, untouched)
    told = {(each.table, each.key) for each in quiet}
    orphans = (*quiet, *(each for each in orphans if (each.table, each.key) not in told))
    facts = IntegrityFacts(contents.tables, contents.untouched, left, misfits, loose, orphans)
    return Trial(TrialKind.INTEGRITY, migration=run, integrity=facts)


def _orphans_of_traffic(context: TrialContext, run: MigrationRun | None) -> tuple[Orphans, ...]:
    """Where enforcement was off for a while, the application's writes were let through as well."""
    if run is None or not any(switches_off(statement.text) for statement in run.statements):
        return ()
    return _orphans(context, context.server.target.on(TRIAL), frozenset(), meanwhile=True)


def _orphans(
    context: TrialContext, target: Target, untouched: Set[Relation], *, meanwhile: bool = False
) -> tuple[Orphans, ...]:
    with connect(context.base.target, "rehearse") as base, connect(target, "rehearse") as copy:
        prepare(base)
        prepare(copy)
        return new_orphans(base, copy, untouched, meanwhile=meanwhile)


def _misfits(context: TrialContext, run: MigrationRun) -> Iterator[Misfit]:
    """Changes of type, each tried by itself on a few rows that do not fit the new one."""
    with connect(context.base.target, "rehearse") as connection:
        for statement in run.statements:
            effects = statement.effects
            retyped = [change for change in effects.columns if change.what == "retyped"] if effects else []
            for change in retyped if effects and effects.rewritten else ():
                table = next((t for t in context.base.schema.tables if t.relation == change.table), None)
                if table is None or all(column.name != change.column for column in table.columns):
                    continue  # renamed on the way, or made by the migration itself
                kind = table.column(change.column).type
                for action in type_actions(statement.text):
                    retyping = Retyping(change.table, change.column, kind, action)
                    difference = changed_silently(connection, retyping)
                    if difference is not None:
                        yield Misfit(
                            change.table,
                            change.column,
                            statement.index,
                            kind.sql,
                            change.after or "",
                            difference,
                        )


def _remains(target: Target) -> Remains:
    with connect(target, "rehearse") as connection:
        return remains(connection)


def _guards(target: Target) -> Guards:
    with connect(target, "rehearse") as connection:
        return guards(connection)


def _new(before: Remains, after: Remains) -> Remains:
    """What was not there before."""
    return Remains(
        tuple(each for each in after.unvalidated if each not in before.unvalidated),
        tuple(each for each in after.invalid_indexes if each not in before.invalid_indexes),
    )
