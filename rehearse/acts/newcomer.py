"""The new application: checked on the migrated preview, deployed once the migration is through."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from rehearse.engines.postgres import wire
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.engines.postgres.sampling import sample_pool
from rehearse.errors import ScenarioError, SqlFileError
from rehearse.model.record import ScriptInfo
from rehearse.model.relation import Relation
from rehearse.model.scenario import NewApplication, WorkloadSpec
from rehearse.model.schema import Schema
from rehearse.model.target import Target
from rehearse.model.workload import DriverHealth, LiveTraffic, Pacing, Pool, RateStep, SampleColumns, Version
from rehearse.model.workload import Protocol as WireProtocol
from rehearse.workload.commands import Sql
from rehearse.workload.driver import Driver, Manner
from rehearse.workload.merge import merged_live, merged_samples
from rehearse.workload.script import Script, parse_script
from rehearse.workload.takeover import NOTHING, handed_over
from rehearse.workload.traffic import Load

# No deployment is faster, and the old application has to be seen with the schema as it is then.
_OLD_ALONE_S = 1.0
_SAMPLED = 20_000
# In the simple protocol a variable may stand where no parameter may: only names are certain there.
_UNDEFINED = ("42703", "42P01", "42883", "3F000")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The new application's scripts, and what of their pools could be drawn before the migration."""

    spec: NewApplication
    scripts: tuple[Script, ...]
    fresh: tuple[Pool, ...]

    @property
    def infos(self) -> tuple[ScriptInfo, ...]:
        """Its scripts as they stand in the record."""
        return tuple(
            ScriptInfo(script.name, script.weight, script.statements, version=Version.NEW)
            for script in self.scripts
        )


def new_scripts(spec: NewApplication) -> tuple[Script, ...]:
    """The new application's scripts. Raises SqlFileError."""
    return tuple(parse_script(source) for source in spec.scripts)


def check_new_application(
    connection: psycopg.Connection[tuple[Any, ...]], schema: Schema, load: WorkloadSpec
) -> None:
    """Prepare every statement of the new application on the migrated, empty database, and look for the
    columns that it draws from.

    Raises SqlFileError for a statement that is wrong there, ScenarioError for a column that is not there.
    """
    if load.after is None:
        return
    scripts = new_scripts(load.after)
    _sampled_tables(scripts, schema)
    for script in scripts:
        for statement in script.sql:
            if statement.control is None and not statement.compound:
                _check(connection, script, statement, load.protocol)


def _check(
    connection: psycopg.Connection[tuple[Any, ...]], script: Script, statement: Sql, protocol: WireProtocol
) -> None:
    result = connection.pgconn.prepare(b"", statement.text.encode())
    if wire.is_good(result):
        return
    failure = wire.failure_of(result)
    certain = protocol is not WireProtocol.SIMPLE or failure.sqlstate in _UNDEFINED
    if failure.is_mistake and certain:
        before = statement.text[: max(failure.position - 1, 0)]
        raise SqlFileError(
            script.file,
            statement.line + before.count("\n"),
            f"after the migration, {failure.message}",
            "the new application's scripts run on the migrated schema",
        )


class Deployment:
    """The drivers of both versions: the old one's from the start, the new one's from the migration's end."""

    def __init__(
        self, old: Driver, target: Target, newcomer: Newcomer, load: WorkloadSpec, seed: int, spool: Path
    ) -> None:
        self._old = old
        self._target = target
        self._newcomer = newcomer
        self._steps = load.steps or (RateStep(load.rate),)
        self._seed = seed
        clients = max(1, math.ceil(load.clients * newcomer.spec.share))
        processes = min(clients, load.processes)
        self._new = Driver(
            target,
            newcomer.scripts,
            (),
            Load(None, clients, processes, load.protocol, load.variables),
            seed + 1,
            spool / "new",
            Manner(Pacing(load.arrivals, NOTHING), load.retry, late=True),
        )
        self._begun = False

    def open(self) -> None:
        """Connect, so that nothing has to be started beside the traffic later on."""
        self._new.open()

    def begin(self) -> None:
        """The migration is through: traffic goes over to the new version."""
        pools = new_pools(self._target, self._newcomer, self._seed)
        at_ns = self._new.begin(pools, in_s=_OLD_ALONE_S)
        spec, at_s = self._newcomer.spec, (at_ns - self._old.zero_ns) / 1e9
        going, coming = handed_over(self._steps, at_s, spec.share, spec.ramp_s)
        self._new.change(at_ns, coming)
        self._old.change(at_ns, going)
        self._begun = True

    def live(self) -> LiveTraffic:
        """Both versions as they stand."""
        return merged_live(self._old.live(), self._new.live()) if self._begun else self._old.live()

    def abort(self) -> None:
        """End the new version at once."""
        self._new.abort()

    def stop(self, drain_s: float) -> SampleColumns:
        """End both, and put what they measured together."""
        if not self._begun:
            return self._old.stop(drain_s)
        self._new.halt(drain_s)
        self._old.halt(drain_s)
        return merged_samples([self._old.stop(drain_s), self._new.stop(drain_s)])

    def health(self, baseline: tuple[int, int]) -> DriverHealth:
        """That of the old version, which alone was there in the baseline, with what both have sent."""
        old = self._old.health(baseline)
        if not self._begun:
            return old
        new = self._new.health(baseline)
        return replace(
            old,
            offered=old.offered + new.offered,
            finished=old.finished + new.finished,
            skipped=old.skipped + new.skipped,
            reconnects=old.reconnects + new.reconnects,
            retries=old.retries + new.retries,
            peak_queue=max(old.peak_queue, new.peak_queue),
        )


def new_pools(target: Target, newcomer: Newcomer, seed: int) -> Sequence[Pool]:
    """What the new application draws from: rows that come next, and those of the migrated tables as they
    are now.
    """
    with connect(target, "rehearse") as connection:
        wanted = _sampled_tables(newcomer.scripts, introspect(connection))
        return [
            *newcomer.fresh,
            *(
                sample_pool(connection, name, relation, columns, _SAMPLED, seed)
                for name, relation, columns in wanted
            ),
        ]


def _sampled_tables(
    scripts: Sequence[Script], schema: Schema
) -> Sequence[tuple[str, Relation, Sequence[str]]]:
    """The tables that `scripts` sample, as they name them, with their columns. Raises ScenarioError."""
    wanted: dict[str, list[str]] = defaultdict(list)
    keys = {key for script in scripts for key in script.pool_keys if key.kind == "sample"}
    for key in sorted(keys, key=lambda key: (key.table, key.column)):
        wanted[key.table].append(key.column)
    found = []
    for name, columns in wanted.items():
        table = schema.find(name)
        known = [column.name for column in table.columns] if table else []
        missing = [column for column in columns if column not in known]
        if table is None or missing:
            what = f"{name}.{missing[0]}" if table else f"the table {name}"
            raise ScenarioError(
                f"the new application draws from {what}, which is not there after the migration"
            )
        found.append((name, table.relation, columns))
    return found
