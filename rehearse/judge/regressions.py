"""Statements that read far more after the migration than before it, told from what the server counted."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from rehearse.judge.facts import Facts
from rehearse.judge.projection import growth_of
from rehearse.model.plans import BareKey, Execution, LostIndex, PlansFacts, StatementPlans, Unanalyzed
from rehearse.model.record import TrialKind
from rehearse.model.relation import Relation

# Blocks and rows do not depend on how busy the machine is: a factor that no other choice of rows explains,
# from so many on that they are no accident of a small table.
FACTOR = 10.0
_LEAST_ROWS = 1_000.0
_LEAST_BLOCKS = 50.0
# Times are only counted where nothing but the plan explains them.
_LEAST_SLOWER_S = 0.1
# Some 100 ms of one core, for every execution; or 160 MB.
FAILING_ROWS = 1_000_000.0
FAILING_BLOCKS = 20_000.0


@dataclass(frozen=True, slots=True)
class Regression:
    """One statement that became far costlier. `table` is where most of the new reading is done; `growth`
    the factor to production, None where its rows are not known. `recovers`: a VACUUM (ANALYZE) mends it.
    """

    statement: StatementPlans
    table: Relation | None
    growth: float | None
    recovers: bool
    lost: tuple[LostIndex, ...] = ()
    bare: tuple[BareKey, ...] = ()
    unanalyzed: tuple[Unanalyzed, ...] = ()

    @property
    def rows_before(self) -> float:
        """Rows read one after the other by one execution."""
        return _rows(self.statement.before)

    @property
    def rows_after(self) -> float:
        """The same after the migration."""
        return _rows(self.statement.after)

    @property
    def factor(self) -> float:
        """How many times as many blocks are read."""
        return self.statement.after.blocks / max(1.0, self.statement.before.blocks)

    @property
    def reads_more(self) -> bool:
        """Whether it is what it reads, and not the time alone."""
        return _reads_more(self.statement.before, self.statement.after)

    @property
    def fails(self) -> bool:
        """Whether production would feel it, or may: its size is not known."""
        after = self.statement.after
        if after.timed_out or self.growth is None or _is_slower(self.statement.before, after):
            return True
        grown = self.growth
        return self.rows_after * grown >= FAILING_ROWS or after.blocks * grown >= FAILING_BLOCKS


def regressions(facts: Facts) -> tuple[Regression, ...]:
    """All of them, for a migration that ended as it should."""
    trial = facts.record.trial(TrialKind.PLANS)
    found = trial.plans if trial else None
    return tuple(_regressions(facts, found)) if found is not None else ()


def _regressions(facts: Facts, found: PlansFacts) -> Iterator[Regression]:
    for each in found.statements:
        if not is_costlier(each.before, each.after):
            continue
        table = _culprit(each)
        tables = _tables(each)
        yield Regression(
            statement=each,
            table=table,
            growth=_growth(facts, each, table),
            recovers=each.vacuumed is not None and not is_costlier(each.before, each.vacuumed),
            lost=tuple(lost for lost in found.lost if lost.index in each.before.indexes),
            bare=tuple(key for key in found.bare if key.table == table),
            unanalyzed=tuple(one for one in found.unanalyzed if one.table in tables),
        )


def is_costlier(before: Execution, after: Execution) -> bool:
    """Whether a statement that worked before reads ten times as much, or takes ten times as long."""
    worked = before.draws > sum(refused.times for refused in before.refusals)
    if not worked or before.timed_out or not after.draws:
        return False
    if after.timed_out:
        return True
    return _reads_more(before, after) or _is_slower(before, after)


def _reads_more(before: Execution, after: Execution) -> bool:
    rows, blocks = _rows(after), after.blocks
    return rows >= max(_LEAST_ROWS, FACTOR * _rows(before)) or blocks >= max(
        _LEAST_BLOCKS, FACTOR * before.blocks
    )


def _is_slower(before: Execution, after: Execution) -> bool:
    """By the fastest time after against the usual one before: what delays one execution delays not all."""
    if not before.seconds or not after.seconds:
        return False
    usual, fastest = statistics.median(before.seconds), min(after.seconds)
    return fastest >= FACTOR * usual and fastest - usual >= _LEAST_SLOWER_S


def _rows(execution: Execution) -> float:
    return sum(read.rows for read in execution.reads)


def _tables(each: StatementPlans) -> tuple[Relation, ...]:
    return tuple(dict.fromkeys(read.table for side in (each.before, each.after) for read in side.reads))


def _culprit(each: StatementPlans) -> Relation | None:
    """The table of which most is read that was not read before."""
    more = {
        read.table: (read.blocks - each.before.of(read.table).blocks, read.rows) for read in each.after.reads
    }
    if each.after.timed_out or not more:
        return next(iter(_tables(each)), None)
    return max(more, key=lambda table: more[table])


def _growth(facts: Facts, each: StatementPlans, table: Relation | None) -> float | None:
    """How much larger the table is in production; where it is one that the migration made, the largest
    growth of those that the statement read before.
    """
    known = facts.tables.find(table) if table is not None else None
    if known is not None:
        return growth_of(known)
    others = [facts.tables.find(read.table) for read in each.before.reads]
    growths = [growth_of(other) for other in others if other is not None]
    if not growths or None in growths:
        return None
    return max(growth for growth in growths if growth is not None)
