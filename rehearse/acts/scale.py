"""The scale trial: the migration alone, at several sizes, several times each."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from rehearse.acts.trial import TrialContext, quietly
from rehearse.dataset.bloat import wear
from rehearse.dataset.generators import Wishes
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.profile.twin import over, twin_wishes
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.facts import count_rows
from rehearse.engines.postgres.space import may_see_temporary_files, used_bytes
from rehearse.errors import EnvironmentFailure, RehearseError
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.scale import ScaleFacts, ScaleRun
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import Schema, TableKind
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind

# Parts of the loaded rows, beside all of them, and the databases that hold them.
SMALLER = ((0.25, "rehearse_scale_1"), (0.5, "rehearse_scale_2"))
ROUNDS = 3
# Once the migrations have taken so long in sum, no further round is begun: what lasts is not mostly noise.
_ENOUGH_S = 60.0
_PEAK_EVERY_S = 0.01

Rows = tuple[tuple[Relation, int], ...]
Connection = psycopg.Connection[tuple[Any, ...]]


def scale(context: TrialContext) -> Trial:
    """Migrate copies with a quarter, a half and all of the rows, in turn, so that what changes on the machine
    meanwhile meets all sizes alike.
    """
    fixed = _fixed(context)
    if all(table.rows < 4 or table.relation not in context.base.generated for table in context.base.tables):
        why = (
            "no table has generated rows that there could be fewer of: rows that a file loads are all or none"
        )
        return Trial(TrialKind.SCALE, unmeasured=why)
    runs: list[ScaleRun] = []
    with ExitStack() as stack:
        sizes: list[tuple[float, str, Rows]] = []
        for part, name in SMALLER:
            stack.callback(_drop_quietly, context, name)
            sizes.append((part, name, _make_smaller(context, part, name)))
        whole = tuple((table.relation, table.rows) for table in context.base.tables)
        sizes.append((1.0, context.base.target.dbname, whole))
        began = time.monotonic()
        for number in range(ROUNDS):
            for part, name, rows in sizes if number % 2 == 0 else reversed(sizes):
                context.on_status(f"scale: {part:.0%} of the rows")
                made = _migrated(context, part, name, rows)
                if made.run.failed is not None:
                    return _failed(made)
                runs.append(made)
            if time.monotonic() - began > _ENOUGH_S:
                break
    notes = tuple(_notes(fixed, context.base.schema))
    return Trial(TrialKind.SCALE, scale=ScaleFacts(tuple(runs), fixed), notes=notes)


def _fixed(context: TrialContext) -> tuple[Relation, ...]:
    """The tables that have the same rows at every size; a partition has its part of the parent's."""
    parents = {table.relation: table.partition_of for table in context.base.schema.tables}

    def generated(relation: Relation | None) -> bool:
        while relation is not None and relation not in context.base.generated:
            relation = parents.get(relation)
        return relation is not None

    return tuple(
        t.relation for t in context.base.tables if t.rows and not generated(t.relation) and not t.ledger
    )


def _failed(made: ScaleRun) -> Trial:
    failed = made.run.failed
    assert failed is not None
    where = f"with {made.part:.0%} of the rows, {failed.whereabouts}"
    why = f"the migration failed {where}: {failed.message}"
    return Trial(TrialKind.SCALE, migration=made.run, unmeasured=why)


def _notes(fixed: Iterable[Relation], schema: Schema) -> Iterable[str]:
    views = {each.relation for each in schema.tables if each.kind is TableKind.MATERIALIZED_VIEW}
    for table in fixed:
        why = "is a materialized view" if table in views else "is loaded from a file"
        yield f"{table} {why}, and has the same rows at every size"


def _make_smaller(context: TrialContext, part: float, name: str) -> Rows:
    """A database like the base with `part` of its generated rows, made anew rather than deleted from, which
    would leave holes. Returns the rows of each table.
    """
    server, base = context.server.target, context.base
    context.on_status(f"scale: loading {part:.0%} of the rows")
    drop_database(server, name)
    create_database(server, name, template=base.target.dbname)
    target = server.on(name)
    _empty(target, base.generated)
    wishes = _wishes(context, part)
    plan = plan_dataset(
        base.schema,
        base.preview.after,
        RowCounts(None, _fewer(base.plan.rows, base.generated, part)),
        touched=base.preview.touched,
        loaded=_loaded(context),
        seed=context.scenario.dataset.seed,
        wishes=wishes,
    )
    load(target, plan, on_progress=_ignore)
    if wishes.dead:
        wear(target, wishes.dead, context.scenario.dataset.seed)
    with connect(target, "rehearse") as connection:
        return tuple((table.relation, count_rows(connection, table.relation)) for table in base.tables)


def _ignore(_progress: LoadProgress) -> None:
    """A load that nobody watches."""


def _loaded(context: TrialContext) -> dict[Relation, int]:
    generated = context.base.generated
    return {
        t.relation: t.rows
        for t in context.base.tables
        if (t.rows or t.ledger) and t.relation not in generated
    }


def _wishes(context: TrialContext, part: float) -> Wishes:
    base, dataset = context.base, context.scenario.dataset
    wishes = wishes_of(dataset, base.schema, _loaded(context))
    if dataset.profile is None:
        return wishes
    alike, _ = twin_wishes(dataset.profile, base.schema, base.preview.after, scale=dataset.scale * part)
    return over(alike, wishes)


def _fewer(
    rows: Mapping[Relation, int], generated: frozenset[Relation], part: float
) -> tuple[tuple[str, int], ...]:
    return tuple(
        (f"{table.schema}.{table.name}", math.ceil(count * part))
        for table, count in rows.items()
        if table in generated
    )


def _empty(target: Target, tables: Iterable[Relation]) -> None:
    """Truncated tables have new files, as those that were just made."""
    names = sql.SQL(", ").join(sql.Identifier(table.schema, table.name) for table in sorted(tables))
    with connect(target, "rehearse") as connection:
        try:
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(names))
        except psycopg.Error as error:
            why = error.diag.message_primary or type(error).__name__
            raise EnvironmentFailure(f"a copy with fewer rows could not be made: {why}") from None


def _migrated(context: TrialContext, part: float, name: str, rows: Rows) -> ScaleRun:
    target = context.copy(of=name)
    with _Peak(context.server.target, target.dbname) as peak:
        run = quietly(target, context.scenario.migration.up, context.scenario)
    return ScaleRun(part, rows, run, peak.before_bytes, peak.peak_bytes, peak.after_bytes)


@dataclass(slots=True)
class _Peak:
    """Watches a database's size from a session on another one, for as long as the context lasts."""

    server: Target
    dbname: str
    before_bytes: int = 0
    peak_bytes: int = 0
    after_bytes: int = 0
    _connection: Connection = field(init=False)
    _thread: threading.Thread = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event)
    _temporary: bool = False

    def __enter__(self) -> _Peak:
        self._connection = connect(self.server, "rehearse")
        self._temporary = may_see_temporary_files(self._connection)
        self.before_bytes = self.peak_bytes = self._used()
        self._thread = threading.Thread(target=self._watch, name="disk", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with suppress(psycopg.Error):  # a server that has died says so elsewhere
            self.after_bytes = self._used()
        self._connection.close()

    def _used(self) -> int:
        return used_bytes(self._connection, self.dbname, temporary=self._temporary)

    def _watch(self) -> None:
        with suppress(psycopg.Error):
            while not self._over.wait(_PEAK_EVERY_S):
                self.peak_bytes = max(self.peak_bytes, self._used())


def _drop_quietly(context: TrialContext, name: str) -> None:
    with suppress(RehearseError):
        drop_database(context.server.target, name)
