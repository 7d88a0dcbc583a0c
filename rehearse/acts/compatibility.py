"""The compatibility trial: the old and the new application, each on the old and on the migrated schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rehearse.acts.plans import both_sides, migrated, voices
from rehearse.acts.trial import TrialContext
from rehearse.engines.postgres.connect import connect
from rehearse.errors import RecordError
from rehearse.model.compatibility import (
    NO_ROWS,
    CachedPlans,
    Cell,
    CompatibilityFacts,
    Misfitting,
    SchemaVersion,
)
from rehearse.model.plans import Execution, StatementPlans
from rehearse.model.record import Trial
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Outcome, Protocol, SampleColumns, Version
from rehearse.record.samples import read_columns

_STALE = "0A000"


def compatibility(context: TrialContext) -> Trial:
    """Try every statement of every version on both schemas; the plans trial may have done so already."""
    last = context.done[-1] if context.done else None
    run = None
    if last is not None and last.plans is not None:
        statements: Sequence[StatementPlans] = last.plans.statements
    else:
        copy = migrated(context)
        run = copy.run
        if copy.refusal is not None:
            return Trial(TrialKind.COMPATIBILITY, migration=run, unmeasured=copy.refusal)
        context.on_status("compatibility: the application's statements on both schemas")
        with (
            connect(context.base.target, "rehearse") as old,
            connect(copy.target, "rehearse") as new,
        ):
            statements = both_sides(context, voices(context, copy.target), old, new)
    facts = CompatibilityFacts(cells(statements), _cached(context))
    return Trial(TrialKind.COMPATIBILITY, migration=run, compatibility=facts)


def cells(statements: Iterable[StatementPlans]) -> tuple[Cell, ...]:
    """The table of application by schema, from what became of every statement; pure."""
    statements = tuple(statements)
    versions = [version for version in Version if any(each.version is version for each in statements)]
    return tuple(
        _cell([each for each in statements if each.version is version], version, schema)
        for version in versions
        for schema in SchemaVersion
    )


def _cell(statements: Sequence[StatementPlans], version: Version, schema: SchemaVersion) -> Cell:
    refused: list[Misfitting] = []
    tried = 0
    for each in statements:
        here, there = each.before, each.after
        if schema is SchemaVersion.NEW:
            here, there = there, here
        tried += here.draws > 0
        refused += _refused(each, here, there)
        if schema is SchemaVersion.NEW:
            refused += _without_effect(each)
    return Cell(version, schema, tried, tuple(refused))


def _refused(each: StatementPlans, here: Execution, there: Execution) -> Iterable[Misfitting]:
    alike = {refusal.sqlstate for refusal in there.refusals}
    for refusal in here.refusals:
        yield Misfitting(
            each.script,
            each.index,
            refusal.sqlstate,
            refusal.message,
            refusal.times,
            elsewhere=refusal.sqlstate in alike,
        )


def _without_effect(each: StatementPlans) -> Iterable[Misfitting]:
    """Where the command tags differ, with the same values: rows that the new schema lets vanish silently.

    An INSERT writes the values it is given, so that one draw tells. The others may miss single rows that the
    migration changed or deleted by right: with these all draws have to.
    """
    old, new = each.before, each.after
    if old.refusals or new.refusals or len(old.written) != len(new.written):
        return
    lost = sum(before > 0 and not after for before, after in zip(old.written, new.written, strict=True))
    if lost and (old.given or not any(new.written)):
        message = f"{old.command} changes no row, on the old schema it does"
        yield Misfitting(each.script, each.index, NO_ROWS, message, lost, lost=old.given)


def _cached(context: TrialContext) -> tuple[CachedPlans, ...] | None:
    """What the traffic trial's samples say; None where nothing is prepared, or they are not there."""
    traffic = context.traffic
    if context.scenario.workload.protocol is not Protocol.PREPARED or traffic is None:
        return None
    if traffic.samples_file is None:
        return None
    try:
        samples = read_columns(context.spool.parent / traffic.samples_file)
    except (OSError, ValueError) as error:
        raise RecordError(f"the traffic's samples cannot be read: {error}") from error
    return stale(samples)


def stale(samples: SampleColumns) -> tuple[CachedPlans, ...]:
    """By script, transactions that ended with 0A000, and attempts that were made again after it; pure."""
    if _STALE not in samples.sqlstates:
        return ()
    code = samples.sqlstates.index(_STALE)
    counted = Counter(
        script
        for script, outcome, state in zip(samples.script, samples.outcome, samples.sqlstate, strict=True)
        if state == code and outcome in (Outcome.ERROR, Outcome.RETRIED)
    )
    return tuple(CachedPlans(samples.scripts[script], times) for script, times in sorted(counted.items()))
