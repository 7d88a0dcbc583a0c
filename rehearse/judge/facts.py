"""Everything the rules look at, derived once from a record and its samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearse.judge.gates import evaluate
from rehearse.judge.heat import Heat, aliases_of, measure_heat
from rehearse.judge.holds import Hold, find_holds
from rehearse.judge.ledgers import without_ledgers
from rehearse.judge.metrics import Measures
from rehearse.judge.projection import Cost, Tables, cost_of
from rehearse.judge.refusals import Refusal, find_refusals
from rehearse.judge.repeated import judged_by_repeats, over_repeats
from rehearse.judge.scaling import Scale
from rehearse.judge.stalls import find_stalls
from rehearse.judge.traffic import Span, Traffic, after_start
from rehearse.model.gates import Comparison
from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.record import RunRecord, Trial, TrialKind
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, GateResult
from rehearse.model.waits import LockWait, Role, Stall
from rehearse.model.workload import SampleColumns, Version

DEFAULT_BUDGET_S = 1.0
# Statements that touch no table: nothing to read, so nothing missed where nothing was read.
_TOUCH_NOTHING = (
    *("ABORT", "BEGIN", "COMMIT", "DEALLOCATE", "DISCARD", "END", "LISTEN", "NOTIFY", "RELEASE", "RESET"),
    *("ROLLBACK", "SAVEPOINT", "SET", "SHOW", "START", "UNLISTEN"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """One bundle for all rules. `found` is what the rules before found, for those on gates, which come
    last and point to the same statements.
    """

    record: RunRecord
    trial: Trial | None
    run: MigrationRun | None
    traffic: Traffic | None
    heat: Heat
    tables: Tables
    costs: Mapping[int, Cost]
    holds: tuple[Hold, ...]
    refusals: tuple[Refusal, ...]
    stalls: tuple[Stall, ...]
    measures: Measures
    gates: tuple[GateResult, ...]
    budget_s: float
    scale: Scale | None = None
    found: tuple[Finding, ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The migration's statements."""
        return self.run.statements if self.run else ()

    @property
    def after(self) -> Span | None:
        """From the migration's start on."""
        return after_start(self.trial, self.run)

    @property
    def waits(self) -> tuple[LockWait, ...]:
        """The lock waits that were sampled."""
        return self.trial.waits if self.trial else ()

    @property
    def created(self) -> frozenset[Relation]:
        """What the migration created itself."""
        return _created(self.statements)

    @property
    def new_scripts(self) -> frozenset[str]:
        """The scripts of the application that comes after the migration."""
        return frozenset(s.name for s in self.record.scripts if s.version is Version.NEW)

    def holds_under(self, statement: Statement) -> tuple[Hold, ...]:
        """The tables of the traffic that are locked against it while `statement` runs."""
        return tuple(
            hold
            for hold in self.holds
            if hold.transaction == statement.transaction and hold.taken_by.index <= statement.index
        )

    def committed(self, statement: Statement) -> bool:
        """Whether what the statement did stayed: not if it failed or its transaction was rolled back."""
        if statement.outcome is not StatementOutcome.OK:
            return False
        spans = self.run.transactions if self.run else ()
        return next((t.committed for t in spans if t.index == statement.transaction), True)


def derive(record: RunRecord, samples: SampleColumns | None) -> Facts:
    """The facts of one record. Raises RecordError where the samples cannot be read."""
    record = without_ledgers(record)
    trial = record.trial(TrialKind.TRAFFIC)
    run = trial.migration if trial else None
    statements = run.statements if run else ()
    traffic = Traffic.of(samples) if samples is not None else None
    heat = measure_heat(record.footprints, statements)
    tables = _tables(record, statements)
    costs = _costs(statements, trial.waits if trial else (), tables)
    scale = Scale.of(record.trial(TrialKind.SCALE), tables)
    costs = costs if scale is None else scale.applied(costs)
    holds = find_holds(run, heat, costs, trial.waits) if run and trial else ()
    after = after_start(trial, run)
    refusals: tuple[Refusal, ...] = ()
    stalls: tuple[Stall, ...] = ()
    if trial is not None and traffic is not None and after is not None:
        refusals = find_refusals(record, trial, traffic, after)
        stalls = find_stalls(traffic, after, run)
    measures = Measures(
        record=record,
        trial=trial,
        traffic=traffic,
        costs=costs,
        holds=holds,
        refusals=refusals,
        stalls=stalls,
        locks_known=(
            bool(record.footprints) and run is not None and not unread(statements) and not _broken_off(trial)
        ),
        disk=None if scale is None else scale.disk(costs.values()),
    )
    asked = [gate for gate in record.scenario.gates if not gate.metric.of_down]
    gates = tuple(evaluate(gate, measures) for gate in asked)
    if judged_by_repeats(record):
        pairs = zip(asked, gates, strict=True)
        gates = tuple(over_repeats(gate, alone, record.repeats) for gate, alone in pairs)
    return Facts(
        record=record,
        trial=trial,
        run=run,
        traffic=traffic,
        heat=heat,
        tables=tables,
        costs=costs,
        holds=holds,
        refusals=refusals,
        stalls=stalls,
        measures=measures,
        gates=gates,
        budget_s=budget_of(record),
        scale=scale,
    )


def unread(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """Statements that ran, may have touched a table, and whose effects are not known."""
    return tuple(
        s
        for s in statements
        if s.outcome is StatementOutcome.OK
        and s.effects is None
        and s.command.split(" ")[0] not in _TOUCH_NOTHING
    )


def budget_of(record: RunRecord) -> float:
    """Seconds a lock may keep the traffic out: the strictest limit set for `blocking.projected`, else 1 s."""
    limits = [
        gate.limit
        for gate in record.scenario.gates
        if gate.metric.name == "blocking.projected"
        and gate.relative_to is None
        and gate.comparison in (Comparison.AT_MOST, Comparison.BELOW)
    ]
    return min(limits, default=DEFAULT_BUDGET_S)


def _tables(record: RunRecord, statements: tuple[Statement, ...]) -> Tables:
    facts = {table.relation: table for table in record.tables}
    return Tables(facts, aliases_of(statements), _created(statements) - frozenset(facts))


def _created(statements: Iterable[Statement]) -> frozenset[Relation]:
    return frozenset(
        lock.relation
        for statement in statements
        for lock in (statement.effects.locks if statement.effects else ())
        if lock.created_here
    )


def _costs(
    statements: Iterable[Statement], waits: tuple[LockWait, ...], tables: Tables
) -> Mapping[int, Cost]:
    return {
        s.index: cost_of(s, _waited_ns(s, waits), tables)
        for s in statements
        if s.outcome is not StatementOutcome.NOT_RUN
    }


def _waited_ns(statement: Statement, waits: Iterable[LockWait]) -> int:
    """The statement's own wait, or the longest one that was sampled, if that is longer."""
    sampled = [
        wait.at_least_ns
        for wait in waits
        if wait.waiter.role is Role.MIGRATION and wait.waiter.statement == statement.index
    ]
    longest = max([statement.waited_ns, *sampled])
    return min(longest, max(0, statement.ended_ns - statement.started_ns))


def _broken_off(trial: Trial | None) -> bool:
    """Whether a gate ended the migration before its time: what the rest would have locked is not known."""
    return trial is not None and trial.aborted is not None
