"""Work that grows with the table, and the time that locks are held over it, at production size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rehearse.model.growth import Bounds, Law
from rehearse.model.migration import Statement
from rehearse.model.record import TableFacts
from rehearse.model.relation import Relation

# Rows changed through an index count as work over the table from this share of its rows on.
WHOLE_TABLE_SHARE = 0.1
# From this share of its rows on, reads one after the other may have been one of the whole table.
_WHOLE_READ = 0.5
# A table that the migration made and filled with no more than this holds constants, not a copy.
_FEW_ROWS = 1000


class WorkKind(Enum):
    """What a statement did to every row of a table; the value completes `it ...`."""

    REWRITE = "rewrites"
    SCAN = "reads the whole of"
    BUILD = "builds an index over"
    ROWS = "changes rows of"


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one statement over all of one table.

    `rows` is what the table held in the rehearsal, `growth` the factor by which the work grows to
    production, None where production's rows are not known. `listed` says whether the table is one
    that the user could give production rows for.
    """

    kind: WorkKind
    table: Relation
    rows: int
    growth: float | None
    listed: bool
    created_here: bool = False


@dataclass(frozen=True, slots=True)
class Grown:
    """How a quantity of one statement grew over the sizes of the scale trial with the rows of `table`, and
    what that comes to at production size (None: its rows there are not known).
    """

    law: Law
    table: Relation
    projected: Bounds | None


@dataclass(frozen=True, slots=True)
class Cost:
    """One statement's time without its own waiting, its work over whole tables, and how that grows.

    `growth` is 1.0 for a statement whose time does not depend on the tables, None if not known. `grown` is
    how its time was measured to grow, and `log_grown` what it writes to the log; None: not measured, or not
    seen to grow where no work says that it must. `possible` is what a statement that commits as it goes did
    to whole tables in one of its transactions, or in several.
    """

    statement: Statement
    waited_ns: int
    works: tuple[Work, ...]
    growth: float | None
    grown: Grown | None = None
    log_grown: Grown | None = None
    possible: tuple[Work, ...] = ()

    @property
    def busy_ns(self) -> int:
        """What it took less what it waited."""
        return max(0, self.statement.ended_ns - self.statement.started_ns - self.waited_ns)

    @property
    def busy_s(self) -> float:
        """`busy_ns` in seconds."""
        return self.busy_ns / 1e9

    @property
    def grows(self) -> bool:
        """Whether its time depends on the tables: by what it does, or by what was measured."""
        return bool(self.works) or self.grown is not None

    @property
    def projected_s(self) -> float | None:
        """`busy_s` at production size, None if not known."""
        bounds = self.bounds_s
        return None if bounds is None else bounds.point

    @property
    def bounds_s(self) -> Bounds | None:
        """`projected_s` and how certain it is; without a scale trial nobody knows, and the ends are alike."""
        return _at_production(self.grown, self.busy_s, self.growth)

    @property
    def lasting_s(self) -> Bounds | None:
        """How long it goes on at production size: `bounds_s`, but that of a statement which commits as it
        goes grows with all that its transactions did, though none of them by itself need grow.
        """
        return _at_production(self.grown, self.busy_s, self._growth_of_all)

    @property
    def lasts(self) -> bool:
        """Whether it goes on the longer the larger the tables are."""
        return self.grows or bool(self.possible)

    @property
    def _growth_of_all(self) -> float | None:
        alone = self.possible and not self.works and self.grown is None
        return greatest_growth(self.possible) if alone else self.growth

    @property
    def log_bounds(self) -> Bounds | None:
        """Bytes of write-ahead log at production size, None if not known."""
        effects = self.statement.effects
        written = effects.wal_bytes if effects else 0
        if written == 0:
            return Bounds(0.0, 0.0, 0.0)
        return _at_production(self.log_grown, written, self._growth_of_all)

    @property
    def main_work(self) -> Work | None:
        """The work over the largest table, the heaviest kind first."""
        order = list(WorkKind)
        return max(self.works, key=lambda work: (work.rows, -order.index(work.kind)), default=None)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of the rehearsal, looked up by the name before the migration; `created` are those that
    the migration made under names of their own.
    """

    facts: Mapping[Relation, TableFacts]
    aliases: Mapping[Relation, Relation]
    created: frozenset[Relation] = frozenset()

    def find(self, relation: Relation) -> TableFacts | None:
        """The facts of a table, under its own name or the one it had."""
        return self.facts.get(relation) or self.facts.get(self.aliases.get(relation, relation))

    def share(self, relation: Relation, rows: int) -> float:
        """Which part of the table `rows` is; 1.0 where the table's size is not known."""
        facts = self.find(relation)
        return rows / facts.rows if facts and facts.rows else float(rows > 0)


def _at_production(grown: Grown | None, measured: float | None, growth: float | None) -> Bounds | None:
    if grown is not None and grown.projected is not None:
        return grown.projected
    if measured is None or growth is None:
        return None
    return Bounds(measured, measured, measured).times(growth)


def summed(parts: Iterable[Bounds | None], constant: float = 0.0) -> Bounds | None:
    """`constant` and all parts, with ends that hold even if all of them err to the same side; None as soon
    as one is not known.
    """
    low = point = high = constant
    for part in parts:
        if part is None:
            return None
        low, point, high = low + part.low, point + part.point, high + part.high
    return Bounds(low, point, high)


def cost_of(statement: Statement, waited_ns: int, tables: Tables) -> Cost:
    """What `statement` cost and how that grows to production."""
    works = tuple(_works(statement, tables))
    possible = tuple(_possible(statement, tables))
    return Cost(statement, waited_ns, works, greatest_growth(works), possible=possible)


def may_grow_to(works: Iterable[Work], growing_s: float, constant_s: float, budget_s: float) -> float | None:
    """The rows the largest of the tables may have before `budget_s` is used up; None where the rehearsal
    had no rows to tell from. Linear also for index builds: the logarithm is lost in the rounding.
    """
    rows = max((work.rows for work in works), default=0)
    if rows == 0 or growing_s <= 0:
        return None
    return max(0.0, (budget_s - constant_s) / growing_s) * rows


def growth_of(facts: TableFacts, *, sorting: bool = False) -> float | None:
    """Production rows over rehearsed rows; n log n where rows are sorted. None if not known."""
    rows, production = facts.rows, facts.production_rows
    if production is None:
        return None
    if rows == 0:
        return 1.0 if production == 0 else None
    ratio = production / rows
    if sorting and production > 1 and rows > 1:
        return ratio * math.log(production) / math.log(rows)
    return ratio


def _works(statement: Statement, tables: Tables) -> Iterable[Work]:
    effects = statement.effects
    if effects is None:
        return
    created = tables.created | {lock.relation for lock in effects.locks if lock.created_here}
    for kind, entries in ((WorkKind.REWRITE, effects.rewritten), (WorkKind.SCAN, effects.scanned)):
        for entry in entries:
            made_here = entry.created_here or entry.table in created
            yield from _work(kind, entry.table, entry.rows, tables, made_here=made_here)
    for build in effects.built:
        made_here = build.created_here or build.table in created
        yield from _work(WorkKind.BUILD, build.table, build.rows, tables, made_here=made_here)
    read = {entry.table for entry in effects.scanned}
    for relation, rows in effects.rows_locked:
        if relation not in read and tables.share(relation, rows) >= WHOLE_TABLE_SHARE:
            yield from _work(WorkKind.SCAN, relation, rows, tables, made_here=relation in created)
    for relation, rows in effects.rows_changed:
        made_here = relation in created
        if rows and (made_here or tables.share(relation, rows) >= WHOLE_TABLE_SHARE):
            yield from _work(WorkKind.ROWS, relation, rows, tables, made_here=made_here)


def _possible(statement: Statement, tables: Tables) -> Iterable[Work]:
    """What a statement that commits as it goes read or changed of whole tables, over all its transactions."""
    effects = statement.effects
    for total in effects.totals if effects else ():
        made_here = total.created_here or total.table in tables.created
        if total.rows and total.read >= _WHOLE_READ * total.rows:
            yield from _work(WorkKind.SCAN, total.table, total.rows, tables, made_here=made_here)
        if total.changed and (made_here or tables.share(total.table, total.changed) >= WHOLE_TABLE_SHARE):
            yield from _work(WorkKind.ROWS, total.table, total.changed, tables, made_here=made_here)


def _work(kind: WorkKind, table: Relation, rows: int, tables: Tables, *, made_here: bool) -> Iterable[Work]:
    facts = None if made_here else tables.find(table)
    if facts is not None:
        rows = facts.rows or rows
        yield Work(kind, table, rows, growth_of(facts, sorting=kind is WorkKind.BUILD), listed=True)
    elif not made_here:
        yield Work(kind, table, rows, None, listed=False)
    elif rows > _FEW_ROWS:
        growth = _growth_of_copy(rows, tables.facts.values())
        yield Work(kind, table, rows, growth, listed=False, created_here=True)


def _growth_of_copy(rows: int, facts: Iterable[TableFacts]) -> float | None:
    """A table that the migration filled grows as the fastest of those it can have been filled from."""
    sources = [growth_of(table) for table in facts if 2 * table.rows >= rows]
    return _greatest(sources) if sources else None


def greatest_growth(works: Sequence[Work]) -> float | None:
    """The greatest growth; tables that nobody can give rows for count only where there is no other."""
    if not works:
        return 1.0
    counted = [work.growth for work in works if work.listed] or [work.growth for work in works]
    return _greatest(counted)


def _greatest(growths: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for growth in growths:
        if growth is None:
            return None
        known.append(growth)
    return max(known, default=1.0)
