"""One row without traffic: executed on small tables, and judged by what the server says it did.

Locks, rewrites, scans and index builds are facts that do not depend on anybody being there. Who would have
had to wait for them is told by the application's footprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from conformance.bare import bare_record
from conformance.row import Row, Structure
from conformance.shop import APPLICATION, LOAD, RESET, SCHEMA, TABLES
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.footprint import footprint
from rehearse.judge.judge import judge
from rehearse.judge.rules import STRUCTURAL
from rehearse.migrate.run import run_migration
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, MigrationRun, SqlFile, TransactionMode
from rehearse.model.record import RunRecord, ScriptInfo, TableFacts, Trial, TrialKind
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatasetSpec, MigrationSpec, Scenario
from rehearse.model.target import Target
from rehearse.model.verdict import Severity
from rehearse.model.workload import Footprint, ScriptSource
from rehearse.scenario.gates import default_gates
from rehearse.workload.script import parse_script

ROWS = 300
PRODUCTION = 200_000_000
_LOAD = LOAD.format(rows=ROWS)
RULES = frozenset(rule.id for rule in STRUCTURAL)
_TABLE_KINDS = ("table", "partitioned table", "materialized view")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Executed:
    """A row as it was executed, and the rules that structure alone makes fail, warn, or say that they cannot
    tell.
    """

    run: MigrationRun
    failures: frozenset[str]
    warnings: frozenset[str]
    unmeasured: frozenset[str]

    def did(self, expected: Structure) -> Structure:
        """What the last statement did, in the row's own terms."""
        effects = self.run.statements[-1].effects or Effects()
        return Structure(
            locks=_strongest(effects, _TABLE_KINDS),
            rewritten=_names(work.table for work in effects.rewritten),
            scanned=_names(work.table for work in effects.scanned),
            built=_names(build.index for build in effects.built),
            index_locks=None if expected.index_locks is None else _strongest(effects, ("index",)),
        )


def is_structural(row: Row) -> bool:
    """Whether something of the row shows where nobody else is there."""
    return row.structure is not None or row.rule in RULES


class Bench:
    """A database on which rows are executed one after the other, the shop made anew for each."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = connect(target, "rehearse")
        self._connection.execute(f"{RESET}{SCHEMA}{_LOAD}".encode())
        self._application = tuple(self._footprints(APPLICATION))

    @property
    def version(self) -> int:
        """The server's major version."""
        return self._connection.info.server_version // 10_000

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def execute(self, row: Row) -> Executed:
        """Run the row's migration on a fresh shop, and judge what it did."""
        steps = (RESET, SCHEMA, row.before, _LOAD, row.data, f"ANALYZE {', '.join(TABLES)}")
        self._connection.execute("".join(steps).encode())
        footprints = (*(() if row.alone else self._application), *self._footprints(row.scripts))
        with _snapshots(self._target, row):
            run = run_migration(
                self._target,
                [SqlFile("up.sql", row.up)],
                TransactionMode(row.transaction),
                timeout_s=_TIMEOUT_S,
                on_state=lambda _: None,
            )
        findings = judge(_record(row, run, footprints), None).findings
        return Executed(
            run,
            frozenset(f.rule for f in findings if f.severity is Severity.FAILURE),
            frozenset(f.rule for f in findings if f.severity is Severity.WARNING),
            frozenset(f.rule for f in findings if f.severity is Severity.UNMEASURED and f.rule in RULES),
        )

    def _footprints(self, scripts: Mapping[str, str]) -> Iterator[Footprint]:
        for name, text in scripts.items():
            script = parse_script(ScriptSource(name.partition("@")[0], text))
            yield footprint(self._connection, script, (), (("rows", ROWS),))


@contextmanager
def _snapshots(target: Target, row: Row) -> Iterator[None]:
    """The row's transactions that look at another table and stay open."""
    tables = [company.table for company in row.company if company.kind == "snapshot"]
    if not tables:
        yield
        return
    with connect(target, "rehearse-adversary") as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for table in tables:
            connection.execute(f"SELECT count(*) FROM {table}".encode())  # noqa: S608 - a name of ours
        yield


def _record(row: Row, run: MigrationRun, footprints: tuple[Footprint, ...]) -> RunRecord:
    scenario = Scenario(
        name=row.name,
        dataset=DatasetSpec(SqlFile("schema.sql", "")),
        migration=MigrationSpec((SqlFile("up.sql", row.up),), expendable=row.expendable),
        gates=default_gates(),
    )
    relations = {relation for made in footprints for relation, _ in made.locks}
    return bare_record(
        scenario,
        (Trial(TrialKind.TRAFFIC, migration=run),),
        tables=tuple(TableFacts(r, ROWS, 0, 0, PRODUCTION, touched=True) for r in sorted(relations)),
        scripts=tuple(ScriptInfo(made.script, 1, ()) for made in footprints),
        footprints=footprints,
    )


def _strongest(effects: Effects, kinds: Iterable[str]) -> dict[str, LockMode]:
    found: dict[str, LockMode] = {}
    for lock in sorted(effects.locks, key=lambda lock: lock.mode.strength):
        if lock.kind in kinds and not lock.created_here:
            found[lock.relation.name] = lock.mode
    return found


def _names(relations: Iterable[Relation]) -> tuple[str, ...]:
    return tuple(sorted(relation.name for relation in relations))
