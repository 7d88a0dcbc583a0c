"""What the scale trial says: how each statement, and the whole, grew from size to size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rehearse.judge.growth import DISK_BYTES, LOG_BYTES, TIMES, Fit, Noise, fit_growth, without_slowest
from rehearse.judge.heat import Heat
from rehearse.judge.holds import find_holds
from rehearse.judge.projection import Cost, Grown, Tables, WorkKind, cost_of
from rehearse.model.growth import Bounds, Law
from rehearse.model.migration import Statement, StatementOutcome
from rehearse.model.record import TableFacts, Trial
from rehearse.model.relation import Relation
from rehearse.model.scale import ScaleRun
from rehearse.model.verdict import Growth, Unit

Points = tuple[tuple[float, float], ...]
Read = Callable[[ScaleRun, Statement], float | None]


@dataclass(frozen=True, slots=True)
class Scale:
    """The runs at several sizes, beside the tables of the rehearsal."""

    runs: tuple[ScaleRun, ...]
    tables: Tables

    @classmethod
    def of(cls, trial: Trial | None, tables: Tables) -> Scale | None:
        """None where the trial was not made to its end."""
        found = trial.scale if trial is not None and trial.unmeasured is None else None
        return cls(found.runs, tables) if found is not None and found.runs else None

    def applied(self, costs: Mapping[int, Cost]) -> dict[int, Cost]:
        """`costs` with their measured growth, wherever the same statements ran at every size."""
        alike = all(
            [s.command for s in run.run.statements] == [c.statement.command for c in costs.values()]
            for run in self.runs
        )
        return {index: self._of(cost) if alike else cost for index, cost in costs.items()}

    def disk(self, costs: Iterable[Cost]) -> Grown | None:
        """How much more space the whole migration needs at its peak than was used before. It grows where
        something is written for every row, even if that is too little here to be seen.
        """
        writes = any(work.kind is not WorkKind.SCAN for cost in costs for work in cost.works)
        table = self.largest_growth(fact for fact in self.tables.facts.values() if fact.touched)
        points = table and tuple((_rows(run, table.relation), _peak(run)) for run in self.runs)
        fit = fit_growth(points, DISK_BYTES) if points else None
        if table is None or fit is None:
            return None
        return Grown(fit.law, table.relation, _projected(fit, table, grows=True if writes else None))

    def _of(self, cost: Cost) -> Cost:
        table = self._reference(cost)
        if table is None or cost.statement.outcome is not StatementOutcome.OK:
            return cost
        sorting = any(work.kind is WorkKind.BUILD for work in cost.works)
        times = without_slowest(self._points(cost, table, _busy_s))
        timed = self._grown(cost, table, fit_growth(times, TIMES, sorting=sorting), slower=True)
        log = self._grown(cost, table, fit_growth(self._points(cost, table, _log_bytes), LOG_BYTES))
        hidden = not cost.works and timed is not None
        return replace(cost, growth=_ratio(table) if hidden else cost.growth, grown=timed, log_grown=log)

    def _grown(self, cost: Cost, table: TableFacts, fit: Fit | None, *, slower: bool = False) -> Grown | None:
        """None where neither the statement's work nor the points say that it grows: noise times the ratio to
        production would be anything.
        """
        if fit is None or not (cost.works or fit.clear):
            return None
        projected = _projected(fit, table, grows=True)
        if slower and projected is not None:
            projected = projected.times(_slower(cost, fit.at(table.rows, grows=True)))
        return Grown(fit.law, table.relation, projected)

    def _points(self, cost: Cost, table: TableFacts, read: Read) -> Points:
        found = []
        for run in self.runs:
            value = read(run, run.run.statements[cost.statement.index])
            if value is None:
                return ()
            found.append((_rows(run, table.relation), value))
        return tuple(found)

    def _reference(self, cost: Cost) -> TableFacts | None:
        """The table whose rows the statement's time is held against: of those that it works on, the one that
        grows most. None where one of them is not larger from size to size.
        """
        known = [self.tables.find(work.table) for work in cost.works if work.listed]
        if cost.works and not known:  # what the migration made itself is filled from others
            most = max(work.rows for work in cost.works)
            known = [fact for fact in self.tables.facts.values() if 2 * fact.rows >= most]
        if not cost.works:
            locks = cost.statement.effects.locks if cost.statement.effects else ()
            locked = [self.tables.find(lock.table) for lock in locks]
            known = [fact for fact in locked if fact is not None and self._varies(fact.relation)]
            known = known or [fact for fact in self.tables.facts.values() if fact.touched]
        facts = [fact for fact in known if fact is not None]
        if cost.works and not all(self._varies(fact.relation) for fact in facts):
            return None
        return self.largest_growth(facts)

    def largest_growth(self, facts: Iterable[TableFacts]) -> TableFacts | None:
        """Of those that vary the one that grows most; of those whose production rows nobody knows, and which
        count most, the largest.
        """
        return max(
            (fact for fact in facts if fact.rows and self._varies(fact.relation)),
            key=lambda fact: (fact.production_rows is None, _ratio(fact) or 0.0, fact.rows),
            default=None,
        )

    def _varies(self, table: Relation) -> bool:
        return len({_rows(run, table) for run in self.runs}) > 1


def _rows(run: ScaleRun, table: Relation) -> float:
    return float(dict(run.rows).get(table, 0))


def _peak(run: ScaleRun) -> float:
    return float(max(0, max(run.disk_peak_bytes, run.disk_after_bytes) - run.disk_before_bytes))


def _busy_s(_run: ScaleRun, statement: Statement) -> float | None:
    return max(0, statement.ended_ns - statement.started_ns) / 1e9


def _log_bytes(_run: ScaleRun, statement: Statement) -> float | None:
    return None if statement.effects is None else statement.effects.wal_bytes


def _ratio(table: TableFacts) -> float | None:
    if table.production_rows is None or not table.rows:
        return None
    return table.production_rows / table.rows


def _projected(fit: Fit, table: TableFacts, *, grows: bool | None) -> Bounds | None:
    return None if table.production_rows is None else fit.at(table.production_rows, grows=grows)


def _slower(cost: Cost, quiet: Bounds) -> float:
    """By which factor the traffic made it slower than it is in quiet, beyond what noise does."""
    return max(1.0, cost.busy_s / quiet.high) if quiet.high > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole migration is projected to, by the names of the quantities."""

    duration: Bounds | None
    blocking: Bounds | None
    log: Bounds | None
    disk: Bounds | None


def growths(scale: Scale, costs: Mapping[int, Cost], heat: Heat, totals: Totals) -> tuple[Growth, ...]:
    """How the migration as a whole grew, for people to read."""
    disk = scale.disk(costs.values())
    table = _main_table(scale, costs)
    if table is None:
        return ()
    times = [cost.grown for cost in costs.values() if cost.grown]
    log = [cost.log_grown for cost in costs.values() if cost.log_grown]
    read: Sequence[
        tuple[str, Unit, Noise, Callable[[ScaleRun], float | None], list[Grown], Bounds | None]
    ] = (
        ("duration", Unit.SECONDS, TIMES, _duration_s, times, totals.duration),
        ("blocking", Unit.SECONDS, TIMES, lambda run: _blocking_s(scale, run, heat), times, totals.blocking),
        ("write-ahead log", Unit.BYTES, LOG_BYTES, _all_log_bytes, log, totals.log),
        ("disk space", Unit.BYTES, DISK_BYTES, _peak, [disk] if disk else [], totals.disk),
    )
    found = []
    for what, unit, noise, value_of, grown, projected in read:
        values = [(int(_rows(run, table.relation)), value_of(run)) for run in scale.runs]
        points = tuple((rows, value) for rows, value in values if value is not None)
        fit = fit_growth(without_slowest(points) if unit is Unit.SECONDS else points, noise)
        if fit is not None and len(points) == len(values):
            law = _law(fit, grown)
            rows = table.production_rows
            found.append(Growth(what, unit, law, str(table.relation), points, rows, projected))
    return tuple(found)


def _law(fit: Fit, grown: Iterable[Grown]) -> Law:
    """The law of what weighs most in production; where that says nothing, of the sums."""
    weighed = [each for each in grown if each.projected is not None]
    main = max(weighed, key=lambda each: each.projected.point if each.projected else 0.0, default=None)
    if main is None or fit.law is Law.CONSTANT:
        return fit.law
    return main.law


def _main_table(scale: Scale, costs: Mapping[int, Cost]) -> TableFacts | None:
    grown = [cost.grown for cost in costs.values() if cost.grown]
    weighed = max(grown, key=lambda each: each.projected.point if each.projected else 0.0, default=None)
    if weighed is not None:
        return scale.tables.find(weighed.table)
    touched = [fact for fact in scale.tables.facts.values() if fact.touched]
    return scale.largest_growth(touched or scale.tables.facts.values())


def _duration_s(run: ScaleRun) -> float:
    return (run.run.ended_ns - run.run.started_ns) / 1e9


def _all_log_bytes(run: ScaleRun) -> float | None:
    sizes = [s.effects.wal_bytes for s in run.run.statements if s.effects]
    known = [size for size in sizes if size is not None]
    return float(sum(known)) if len(known) == len(sizes) else None


def _blocking_s(scale: Scale, run: ScaleRun, heat: Heat) -> float:
    costs = {s.index: cost_of(s, 0, scale.tables) for s in run.run.statements}
    return max((hold.held_s for hold in find_holds(run.run, heat, costs)), default=0.0)
