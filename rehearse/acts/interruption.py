"""The interruption trial: the migration is broken off at several points, and then simply run again.

Once by ending its server process, and once by killing the whole server, each on a copy of its own. What it
leaves is compared with the start, what the second run makes with what a migration makes that nobody breaks
off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import psycopg

from rehearse.acts.trial import TrialContext, quietly
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.content import skip_numbers, table_sums
from rehearse.engines.postgres.differences import Objects, describe, differences
from rehearse.engines.postgres.facts import count_rows
from rehearse.engines.postgres.remains import remains
from rehearse.errors import EnvironmentFailure, RehearseError
from rehearse.migrate.run import run_migration
from rehearse.model.ledgers import LEDGERS
from rehearse.model.migration import MigrationRun, MigrationState, Statement
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.trials import (
    Blow,
    Interruption,
    InterruptionFacts,
    Remains,
    SchemaDifference,
    TrialKind,
)
from rehearse.provision import Server

# Below that, a statement of one transaction is not worth aiming at: it is there, or it is not.
_WORTH_AIMING_NS = 50_000_000
_AIMS = 4  # shots at one point, each earlier than the last: no two runs take equally long


@dataclass(frozen=True, slots=True)
class Point:
    """Where to break off: in `statement`, `part` (0: before it begins, to 1) of its time."""

    statement: int
    part: float


def interruption(context: TrialContext) -> Trial:
    """Break the migration off in every way, at several points, and run it again each time."""
    target = context.copy()
    start = _State.of(target, _tables(context))
    run = quietly(target, context.scenario.migration.up, context.scenario)
    if run.failed is not None:
        why = f"the migration failed in quiet, {run.failed.whereabouts}: {run.failed.message}"
        return Trial(TrialKind.INTERRUPTION, migration=run, unmeasured=why)
    rehearsed = _Rehearsed(context, run, start, _State.of(target, _tables(context)))
    found: list[Interruption] = []
    missing: list[str] = []
    for blow in Blow:
        for point in points(run, context.scenario.trials.interruptions):
            context.on_status(f"interruption: {blow.value} in statement {point.statement + 1}")
            try:
                made = rehearsed.at(point, blow)
            except _NotOursError as refused:
                missing.append(str(refused))
                break
            found.append(made)
            if not made.reached:
                missing.append(_missed(run.statements[point.statement], blow))
    return Trial(
        TrialKind.INTERRUPTION, migration=run, interruption=InterruptionFacts(tuple(found), tuple(missing))
    )


def points(run: MigrationRun, wanted: int) -> tuple[Point, ...]:
    """At most `wanted` points: the middles of the statements that commit as they go or take long, the longest
    first, and the borders of transactions, spread over the migration. Where that leaves room, long statements
    that commit as they go are met earlier and later, too: what they leave differs.
    """
    middles = sorted(
        (s for s in run.statements if _commits_as_it_goes(s) or _lasted(s) >= _WORTH_AIMING_NS),
        key=lambda s: (not _commits_as_it_goes(s), -_lasted(s), s.index),
    )
    borders = [
        later.index
        for earlier, later in zip(run.statements, run.statements[1:], strict=False)
        if earlier.transaction != later.transaction and earlier.effects and _did(earlier)
    ]
    aimed = [Point(statement.index, 0.5) for statement in middles[: max(1, (wanted + 1) // 2)]]
    room = wanted - len(aimed)
    chosen = [Point(index, 0.0) for index in _spread(borders, room)]
    further = [Point(s.index, 0.5) for s in middles[len(aimed) : len(aimed) + room - len(chosen)]]
    long = [s for s in middles if _commits_as_it_goes(s) and _lasted(s) >= _WORTH_AIMING_NS]
    quarters = [Point(s.index, part) for s in long for part in (0.25, 0.75)]
    quarters = quarters[: room - len(chosen) - len(further)]
    found = [*aimed, *chosen, *further, *quarters]
    return tuple(sorted(found, key=lambda point: (point.statement, point.part)))


def _spread(places: Sequence[int], most: int) -> list[int]:
    if most <= 0 or len(places) <= most:
        return list(places[: max(0, most)])
    return [places[round(number * (len(places) - 1) / max(1, most - 1))] for number in range(most)]


def _lasted(statement: Statement) -> int:
    return statement.ended_ns - statement.started_ns


def _commits_as_it_goes(statement: Statement) -> bool:
    by_itself = statement.effects is not None and statement.effects.longest_transaction_ns is not None
    return by_itself or statement.command.endswith("CONCURRENTLY")


def _did(statement: Statement) -> bool:
    """Whether it left anything that a second run would meet."""
    effects = statement.effects
    return bool(effects and (effects.locks or effects.rows_changed))


def _missed(statement: Statement, blow: Blow) -> str:
    return (
        f"statement {statement.index + 1} ({statement.command}) was over each time before it could be "
        f"{blow.value}; more rows would make it last"
    )


class _NotOursError(Exception):
    """The server cannot be killed by us."""


@dataclass(frozen=True, slots=True)
class _State:
    """A database as a person would describe it: schema, what is unfinished in it, rows by table; and what
    stands in their columns, as sums that depend on it.
    """

    schema: Objects
    remains: Remains
    rows: tuple[tuple[Relation, int], ...]
    sums: Mapping[tuple[Relation, str], int]

    @classmethod
    def of(cls, target: Target, tables: Iterable[Relation]) -> _State:
        with connect(target, "rehearse") as connection:
            counted, sums = [], {}
            for table in tables:
                try:
                    counted.append((table, count_rows(connection, table)))
                except psycopg.errors.UndefinedTable:
                    continue
                for column, value in table_sums(connection, table).items():
                    sums[table, column] = value
            return cls(describe(connection), remains(connection), tuple(counted), sums)

    def since(self, before: _State) -> tuple[SchemaDifference, ...]:
        """What is not as in `before`: the schema, and how many rows the tables hold."""
        then, now = dict(before.rows), dict(self.rows)
        rows = tuple(
            SchemaDifference("rows", str(table), f"{then[table]:,}", f"{now[table]:,}")
            for table in then
            if table in now and then[table] != now[table]
        )
        return differences(before.schema, self.schema) + rows

    def other_data(self, than: _State) -> frozenset[tuple[Relation, str]]:
        """The columns of both in which something else stands, of tables with as many rows."""
        then, now = dict(than.rows), dict(self.rows)
        return frozenset(
            place
            for place, value in self.sums.items()
            if than.sums.get(place, value) != value and then.get(place[0]) == now.get(place[0])
        )

    def left_since(self, before: _State) -> Remains:
        """What is unfinished and was not in `before`."""
        return Remains(
            tuple(each for each in self.remains.unvalidated if each not in before.remains.unvalidated),
            tuple(
                each for each in self.remains.invalid_indexes if each not in before.remains.invalid_indexes
            ),
        )


def _tables(context: TrialContext) -> tuple[Relation, ...]:
    """The tables whose rows are counted: those that the migration touches, and the tools' ledgers."""
    touched = context.base.preview.touched
    return tuple(
        facts.relation
        for facts in context.base.tables
        if facts.relation in touched or facts.relation.name in LEDGERS
    )


@dataclass(frozen=True, slots=True)
class _Rehearsed:
    """The migration, once run as it should: from `start` to `end`."""

    context: TrialContext
    run: MigrationRun
    start: _State
    end: _State
    _chance: list[frozenset[tuple[Relation, str]]] = field(default_factory=list)

    def _left_to_chance(self) -> frozenset[tuple[Relation, str]]:
        """The columns in which something else stands whenever it is run: a time, something random, the number
        that a sequence has come to.
        """
        if not self._chance:
            target = self.context.copy()
            with connect(target, "rehearse") as connection:
                skip_numbers(connection)
            quietly(target, self.context.scenario.migration.up, self.context.scenario)
            once_more = _State.of(target, [table for table, _ in self.start.rows])
            self._chance.append(once_more.other_data(self.end))
        return self._chance[0]

    def _twice(self, end: _State) -> tuple[SchemaDifference, ...]:
        """What a second run has made other values of than one that is not broken off."""
        other = end.other_data(self.end)
        if other:
            other -= self._left_to_chance()
        return tuple(SchemaDifference("data", f"{table}.{name}", "", "") for table, name in sorted(other))

    def _halves(self, left: _State) -> Iterable[SchemaDifference]:
        """Columns that were written in part: neither as they were, or empty, nor as they are to be."""
        begun = left.other_data(self.start)
        begun |= {place for place, value in left.sums.items() if value and place not in self.start.sums}
        for table, name in sorted(begun & left.other_data(self.end)):
            yield SchemaDifference("data", f"{table}.{name}", "", "")

    def at(self, point: Point, blow: Blow) -> Interruption:
        """One blow, as often as it takes to land; then what it left, and the second run."""
        part = point.part
        for _ in range(_AIMS):
            target = self.context.copy()
            if self._strike(target, replace(point, part=part), blow):
                now = self.context.server.target.on(target.dbname)  # a restart may have moved it
                return self._aftermath(now, replace(point, part=part), blow)
            part /= 2
        return Interruption(blow, point.statement, point.part, reached=False)

    def _strike(self, target: Target, point: Point, blow: Blow) -> bool:
        """Whether the migration was still under way."""
        spec = self.context.scenario.migration
        delay_s = point.part * _lasted(self.run.statements[point.statement]) / 1e9
        with _Assailant(self.context.server, blow, point.statement, delay_s) as assailant:
            broken = run_migration(
                target, spec.up, spec.transaction, timeout_s=spec.timeout_s, on_state=assailant.on_state
            )
        return broken.failed is not None and assailant.struck

    def _aftermath(self, target: Target, point: Point, blow: Blow) -> Interruption:
        tables = [table for table, _ in self.start.rows]
        left = _State.of(target, tables)
        again = quietly(target, self.context.scenario.migration.up, self.context.scenario)
        end = _State.of(target, tables)
        return Interruption(
            blow,
            point.statement,
            point.part,
            reached=True,
            left=(*left.since(self.start), *self._halves(left), *self._lies(left)),
            remains=end.left_since(self.end) if again.failed is None else left.left_since(self.start),
            again=again,
            schema=(*end.since(self.end), *self._twice(end)) if again.failed is None else (),
        )

    def _lies(self, left: _State) -> Iterable[SchemaDifference]:
        """Ledgers that say it was applied, although it was not."""
        other = {place for place in left.other_data(self.end) if place[0].name not in LEDGERS}
        if not left.since(self.end) and not (other and other - self._left_to_chance()):
            return
        start, end = dict(self.start.rows), dict(self.end.rows)
        for table, rows in left.rows:
            if table.name in LEDGERS and rows == end.get(table) != start.get(table):
                yield SchemaDifference("ledger", str(table), "not applied", "says it was applied")


@dataclass(slots=True)
class _Assailant:
    """Strikes once, `delay_s` after a statement was announced; at once, and before it is sent, where that
    is 0. Leaving it, the server runs again.
    """

    server: Server
    blow: Blow
    statement: int
    delay_s: float
    struck: bool = False
    _timer: threading.Timer | None = None
    _failure: Exception | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _strike: Callable[[int], None] = field(init=False)

    def __enter__(self) -> _Assailant:
        if self.blow is Blow.KILLED:
            self._strike = self._kill
            return self
        connection = self._stack.enter_context(connect(self.server.target, "rehearse"))
        self._strike = lambda pid: _terminate(connection, pid)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self._stack.close()
        if self._failure is not None:
            raise self._failure
        if self.struck and self.blow is Blow.KILLED:
            self.server.restart()

    def on_state(self, state: MigrationState) -> None:
        """The migration comes to a statement."""
        if self.struck or self._timer is not None or state.pid is None:
            if state.statement is None and self._timer is not None:
                self._timer.cancel()  # it is over
            return
        if state.statement != self.statement:
            return
        if self.delay_s <= 0:
            self._hit(state.pid)
            return
        self._timer = threading.Timer(self.delay_s, self._hit, [state.pid])
        self._timer.daemon = True
        self._timer.start()

    def _hit(self, pid: int) -> None:
        try:
            self._strike(pid)
            self.struck = True
        except EnvironmentFailure as refused:
            self._failure = _NotOursError(str(refused))
        except (RehearseError, psycopg.Error) as error:
            self._failure = error

    def _kill(self, _pid: int) -> None:
        self.server.kill()


def _terminate(connection: psycopg.Connection[tuple[object, ...]], pid: int) -> None:
    """End that session, and wait until it has gone."""
    connection.execute("SELECT pg_catalog.pg_terminate_backend(%s, 5000)", (pid,))
