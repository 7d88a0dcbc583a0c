"""The plans trial: every statement of the application, with the same values, before and after the migration.

The old schema is the base, on which statements run in transactions that are undone; the new one is a copy
that was migrated in quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rehearse.acts.newcomer import new_pools
from rehearse.acts.trial import TRIAL, TrialContext, quietly
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.plan_facts import bare_keys, lost_indexes, vacuum, without_statistics
from rehearse.engines.postgres.plans import Connection, play
from rehearse.model.migration import MigrationRun
from rehearse.model.plans import Execution, PlansFacts, StatementPlans
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Pool, Version
from rehearse.workload.script import Script

# So much more is worth a second look, after a VACUUM (ANALYZE); what is too much is for the judge to say.
_FACTOR = 3.0
_BLOCKS = 100.0

Played = Mapping[int, Execution]


@dataclass(frozen=True, slots=True)
class Voice:
    """A script with what it draws from."""

    script: Script
    version: Version
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True)
class Migrated:
    """A copy that was migrated in quiet."""

    target: Target
    run: MigrationRun

    @property
    def refusal(self) -> str | None:
        """Why there is nothing to be seen on it; None if there is."""
        failed = self.run.failed
        if failed is None:
            return None
        return f"the migration failed in quiet, {failed.whereabouts}: {failed.message}"


def plans(context: TrialContext) -> Trial:
    """Compare what each statement reads, and how, on the base and on a migrated copy of it."""
    copy = migrated(context)
    if copy.refusal is not None:
        return Trial(TrialKind.PLANS, migration=copy.run, unmeasured=copy.refusal)
    context.on_status("plans: the application's statements before and after")
    spoken = voices(context, copy.target)
    with (
        connect(context.base.target, "rehearse") as old,
        connect(copy.target, "rehearse") as new,
    ):
        statements = both_sides(context, spoken, old, new)
        unanalyzed = without_statistics(new) - without_statistics(old)
        statements = _second_look(context, spoken, statements, new)
        used = {index for each in statements for index in each.before.indexes}
        facts = PlansFacts(
            statements,
            lost_indexes(old, new, used),
            bare_keys(new),
            tuple(sorted(unanalyzed, key=str)),
        )
    return Trial(TrialKind.PLANS, migration=copy.run, plans=facts)


def migrated(context: TrialContext) -> Migrated:
    """A copy of the base that was migrated in quiet: the integrity trial's, if that was the last one."""
    last = context.done[-1] if context.done else None
    reusable = last is not None and last.kind in (TrialKind.INTEGRITY, TrialKind.PLANS)
    if last is not None and reusable and last.unmeasured is None and last.migration is not None:
        return Migrated(context.server.target.on(TRIAL), last.migration)
    target = context.copy()
    return Migrated(target, quietly(target, context.scenario.migration.up, context.scenario))


def voices(context: TrialContext, target: Target) -> tuple[Voice, ...]:
    """The scripts of the old application, and those of the new one, which draws from the migrated tables."""
    cast = context.cast
    spoken = [Voice(script, Version.OLD, cast.pools) for script in cast.scripts]
    if cast.newcomer is not None:
        pools = tuple(new_pools(target, cast.newcomer, context.scenario.seed))
        spoken += [Voice(script, Version.NEW, pools) for script in cast.newcomer.scripts]
    return tuple(spoken)


def both_sides(
    context: TrialContext, spoken: Iterable[Voice], old: Connection, new: Connection
) -> tuple[StatementPlans, ...]:
    """Every statement on both schemas. One that is reached on one of them alone has no draws on the other."""
    found = []
    for voice in spoken:
        before, after = _play(context, voice, old), _play(context, voice, new)
        for index in sorted(before.keys() | after.keys()):
            sides = (before.get(index, Execution(0)), after.get(index, Execution(0)))
            found.append(StatementPlans(voice.script.name, index, voice.version, *sides))
    return tuple(found)


def _play(context: TrialContext, voice: Voice, connection: Connection) -> Played:
    scenario = context.scenario
    return play(connection, voice.script, voice.pools, scenario.workload.variables, scenario.seed)


def _second_look(
    context: TrialContext, spoken: Iterable[Voice], statements: Sequence[StatementPlans], new: Connection
) -> tuple[StatementPlans, ...]:
    """Where much more is read, once more after a VACUUM (ANALYZE): what is then as before lacked that."""
    suspects = [each for each in statements if _is_suspect(each)]
    if not suspects:
        return tuple(statements)
    context.on_status("plans: once more after VACUUM (ANALYZE)")
    vacuum(new, sorted(_tables(suspects)))
    names = {(each.script, each.version) for each in suspects}
    again = {
        (voice.script.name, voice.version, index): execution
        for voice in spoken
        if (voice.script.name, voice.version) in names
        for index, execution in _play(context, voice, new).items()
    }
    return tuple(
        replace(each, vacuumed=again.get((each.script, each.version, each.index)))
        if _is_suspect(each)
        else each
        for each in statements
    )


def _is_suspect(each: StatementPlans) -> bool:
    if each.after.timed_out:
        return True
    return each.before.draws > 0 and each.after.blocks > _FACTOR * each.before.blocks + _BLOCKS


def _tables(statements: Iterable[StatementPlans]) -> frozenset[Relation]:
    return frozenset(read.table for each in statements for read in (*each.before.reads, *each.after.reads))
