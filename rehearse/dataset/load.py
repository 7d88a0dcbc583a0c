"""A plan's rows into a database whose schema is applied, at the speed at which the server takes them."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from rehearse.dataset.copying import TableCopy
from rehearse.dataset.disk import data_directory, is_full, require_room, text_width
from rehearse.dataset.generate import Generator
from rehearse.dataset.probe import check_samples, give_up_xml, read_existing_keys
from rehearse.dataset.recipe import DatasetPlan
from rehearse.dataset.session import Connection, Job, in_parallel, open_session, translated
from rehearse.dataset.settle import (
    Size,
    await_autovacuum,
    hidden_pages,
    move_sequences_on,
    rebuild_jobs,
    reference_jobs,
    refresh_views,
    vacuum_job,
)
from rehearse.dataset.suspend import Suspension
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError, EnvironmentFailure, RehearseError, ServerLostError
from rehearse.model.record import DatasetFacts
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema
from rehearse.model.target import Target


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Where a load stands: rows of `table` that are through `stage` (copy, index or analyze).

    `rows_per_second` is over all tables since the stage began, `seconds_left` until it ends; None where
    nobody can tell.
    """

    table: Relation
    rows_done: int
    rows_total: int
    stage: str
    rows_per_second: float
    seconds_left: float | None = None


_MOST_STREAMS = 8
_FULL = "disk full: the server has no space left for the data set, and died of it"

Listener = Callable[[LoadProgress], None]


def load(
    target: Target,
    plan: DatasetPlan,
    *,
    on_progress: Listener,
    streams: int | None = None,
    copies: float = 0.0,
) -> DatasetFacts:
    """Generates and copies every row of `plan`; the schema is afterwards exactly what it was before.

    Rows go in over `streams` connections (two or more by the number of processors); what they are does
    not depend on that. There has to be room for so many `copies` of all beside. `on_progress` is called
    from the loading threads, one call at a time. Raises
    DatasetError naming table and constraint if the server refuses a row.
    """
    streams = streams or max(2, min(_MOST_STREAMS, os.cpu_count() or 2))
    with open_session(target, replica=False) as connection:
        directory = data_directory(connection, target)
        loader = _Loader(target, plan, connection, streams, _Reporter(plan, on_progress), copies)
        try:
            return loader.run()
        except ServerLostError:
            if is_full(directory):
                raise EnvironmentFailure(_FULL, "ask for fewer rows, or make room") from None
            raise


@dataclass(slots=True)
class _Reporter:
    """Counts rows for the listener; one call at a time."""

    plan: DatasetPlan
    listener: Listener
    _done: dict[tuple[str, Relation], int] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, stage: str, relation: Relation, rows: int) -> None:
        with self._lock:
            now = time.monotonic()
            started = self._started.setdefault(stage, now)
            done = self._done.get((stage, relation), 0) + rows
            self._done[stage, relation] = done
            everything = sum(count for (of, _), count in self._done.items() if of == stage)
            rate = everything / (now - started) if now > started else 0.0
            total = self.plan.rows.get(relation, 0)
            # how long an index takes is known when it is there
            timed = stage == "copy" and rate > 0
            left = (sum(self.plan.rows.values()) - everything) / rate if timed else None
            self.listener(LoadProgress(relation, done, total, stage, rate, left))

    def begin(self, stage: str) -> None:
        self._started[stage] = time.monotonic()


@dataclass(slots=True)
class _Loader:
    target: Target
    plan: DatasetPlan
    connection: Connection
    streams: int
    report: _Reporter
    copies: float = 0.0

    def run(self) -> DatasetFacts:
        started = time.monotonic()
        schema = introspect(self.connection)
        superuser = _is_superuser(self.connection)
        read_existing_keys(self.connection, self.plan)
        notes = give_up_xml(self.connection, self.plan, schema)
        notes += check_samples(self.connection, self.plan, schema)
        require_room(self.connection, self.target, self.plan, schema, copies=self.copies)
        rows = {relation: count for relation, count in self.plan.rows.items() if count}
        suspension = Suspension(superuser)
        try:
            suspension.begin(self.connection, rows)
            notes += suspension.told(self.connection, rows)
            self._copy(schema, rows, replica=superuser)
            copied = time.monotonic()
            self._rebuild(suspension)
        except BaseException:
            # nothing of the user's own is lost; what went wrong first is the reason
            with suppress(RehearseError):
                self._restore(suspension)
            raise
        self._restore(suspension)
        self._analyze(schema, reference_jobs(schema, frozenset(rows)) if superuser else ())
        notes += self._finish(schema)
        return DatasetFacts(
            rows=sum(rows.values()),
            size_bytes=Size.of(self.connection).size_bytes,
            load_seconds=copied - started,
            index_seconds=time.monotonic() - copied,
            seed=self.plan.seed,
            precautions=self.plan.precautions,
            notes=self.plan.notes + notes,
        )

    def _copy(self, schema: Schema, rows: dict[Relation, int], *, replica: bool) -> None:
        self.report.begin("copy")
        jobs = [job for relation, count in rows.items() for job in self._table(schema, relation).jobs(count)]
        in_parallel(self.target, jobs, streams=self.streams, replica=replica)

    def _table(self, schema: Schema, relation: Relation) -> TableCopy:
        generator = Generator(self.plan)
        described = schema.table(relation)
        return TableCopy(
            generator,
            relation,
            tuple(described.column(column.name).type for column in self.plan.tables[relation].columns),
            text_width(generator, relation),
            lambda table, count: self.report.add("copy", table, count),
        )

    def _rebuild(self, suspension: Suspension) -> None:
        left = Counter(index.table for index in suspension.indexes)

        def done(table: Relation) -> None:
            left[table] -= 1
            rows = self.plan.rows.get(table, 0)
            self.report.add("index", table, rows if left[table] == 0 else 0)

        self.report.begin("index")
        jobs = list(rebuild_jobs(suspension.with_sizes(self.connection), self.streams, done))
        in_parallel(self.target, jobs, streams=self.streams, replica=False)
        broken = suspension.left_behind(self.connection)
        if broken:
            raise DatasetError(f"indexes could not be rebuilt: {', '.join(broken)}")

    def _restore(self, suspension: Suspension) -> None:
        try:
            suspension.restore(self.connection)
        except psycopg.Error as error:
            raise translated(error, "constraints of the data set") from None

    def _analyze(self, schema: Schema, further: Iterable[Job]) -> None:
        """`further` are questions that may be asked at the same time, by whoever has no table to vacuum."""
        self.report.begin("analyze")
        jobs = [*self._vacuums(schema), *further]
        in_parallel(self.target, jobs, streams=self.streams, replica=False)
        self._vacuum_again()

    def _vacuum_again(self) -> None:
        """The pages that VACUUM passed over: a question after references was just reading them, or
        autovacuum's snapshot was older than their rows. Someone else's may stay, so only while it helps.
        """
        before = math.inf
        while hidden := self._hidden():
            if sum(hidden.values()) >= before:
                return
            before = sum(hidden.values())
            again = [vacuum_job(relation, lambda _: None) for relation in hidden]
            in_parallel(self.target, again, streams=self.streams, replica=False)

    def _hidden(self) -> dict[Relation, int]:
        try:
            hidden = hidden_pages(self.connection, self.plan.rows)
            if hidden:
                await_autovacuum(self.connection)
        except psycopg.Error as error:
            raise translated(error, "the data set") from None
        return hidden

    def _vacuums(self, schema: Schema) -> Iterator[Job]:
        known = {table.relation for table in schema.tables}
        tables = {
            name: table.rows for name, table in self.plan.tables.items() if table.rows and name in known
        }
        for relation in sorted(tables, key=lambda name: -tables[name]):
            yield vacuum_job(relation, lambda done: self.report.add("analyze", done, tables[done]))

    def _finish(self, schema: Schema) -> tuple[str, ...]:
        try:
            move_sequences_on(self.connection, schema, frozenset(self.plan.tables))
            notes = refresh_views(self.connection, schema)
        except psycopg.Error as error:
            raise translated(error, "the data set") from None
        return notes


def _is_superuser(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    return row is not None and bool(row[0])
