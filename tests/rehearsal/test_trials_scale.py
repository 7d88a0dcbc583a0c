"""The scale trial on a real server, at sizes at which hardly anything takes long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rehearse.acts.casting import Cast
from rehearse.acts.loading import BASE, build_base
from rehearse.acts.trial import TRIAL, TrialContext, quietly
from rehearse.acts.trials import make_trial
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import RUN_DATABASES, drop_database, run_databases
from rehearse.judge.facts import derive
from rehearse.judge.judge import judge
from rehearse.model.growth import Law
from rehearse.model.migration import MigrationRun, SqlFile
from rehearse.model.record import SCHEMA_VERSION, RunRecord, Stage, Trial
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatasetSpec, MigrationSpec, RowCounts, Scenario
from rehearse.model.trials import TrialKind
from rehearse.provision import Server
from rehearse.report.trials import Result, trial_views

SCHEMA = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, note text NOT NULL
);
CREATE TABLE kinds (id int PRIMARY KEY);
INSERT INTO kinds VALUES (1), (2), (3), (4), (5);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM kinds;
CREATE TABLE events (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000000);
"""
ROWS, PRODUCTION = 20_000, 20_000_000
UP = """
ALTER TABLE orders ADD COLUMN more int;
DO $$ BEGIN PERFORM count(*) FROM orders; END $$;
UPDATE orders SET more = 1;
"""
# What each statement is taken to have lasted, at any size and for each row: the machine has its moods.
ADDING_S, PER_ROW_S = 0.005, (0.0, 2e-5, 1e-5)
ORDERS, KINDS = Relation("public", "orders"), Relation("public", "kinds")
COUNTED, EVENTS = Relation("public", "counted"), Relation("public", "events_1")


@dataclass(frozen=True)
class Made:
    """The trial, and the record of a run that it is a part of."""

    trial: Trial
    record: RunRecord


@pytest.fixture(scope="module")
def prepared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    scenario = Scenario(
        name="scale",
        dataset=DatasetSpec(
            SqlFile("schema.sql", SCHEMA),
            RowCounts(tables=(("orders", ROWS), ("customers", 1_000), ("events", 400))),
        ),
        migration=MigrationSpec(up=(SqlFile("up.sql", UP),)),
        production=RowCounts(tables=(("orders", PRODUCTION), ("customers", 1_000_000))),
    )
    spool: Path = tmp_path_factory.mktemp("spool")
    try:
        base = build_base(server.target, scenario, lambda _: None)
        cast = Cast((), (), (), inferred=False)
        yield TrialContext(server, base, cast, scenario, spool, lambda _: None, lambda _: None)
    finally:
        for name in RUN_DATABASES:
            drop_database(server.target, name)


def timed(run: MigrationRun, rows: int) -> MigrationRun:
    """The run as if each statement had lasted as long as is said above."""
    at_ns, statements = run.started_ns, []
    for statement, per_row_s in zip(run.statements, PER_ROW_S, strict=True):
        ended_ns = at_ns + round((ADDING_S + per_row_s * rows) * 1e9)
        statements.append(replace(statement, started_ns=at_ns, ended_ns=ended_ns, waited_ns=0))
        at_ns = ended_ns
    return replace(run, statements=tuple(statements), ended_ns=at_ns)


@pytest.fixture(scope="module")
def made(prepared: TrialContext) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rehearse.acts.scale.ROUNDS", 2)
        trial = make_trial(TrialKind.SCALE, prepared)
    assert trial.scale is not None
    runs = (replace(each, run=timed(each.run, dict(each.rows)[ORDERS])) for each in trial.scale.runs)
    trial = replace(trial, scale=replace(trial.scale, runs=tuple(runs)))
    whole = quietly(prepared.copy(), prepared.scenario.migration.up, prepared.scenario)
    record = RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id="0",
        started_at="2030-01-01T00:00:00+00:00",
        origin_ns=0,
        stage=Stage.JUDGE,
        scenario=prepared.scenario,
        tables=prepared.base.tables,
        trials=(Trial(TrialKind.TRAFFIC, migration=timed(whole, ROWS)), trial),
    )
    return Made(trial, replace(record, judgement=judge(record, None)))


def test_every_size_is_made_anew_and_nothing_is_left_of_it(made: Made, prepared: TrialContext) -> None:
    assert made.trial.unmeasured is None
    facts = made.trial.scale
    assert facts is not None
    sizes = {run.part: dict(run.rows) for run in facts.runs}
    assert {part: rows[ORDERS] for part, rows in sizes.items()} == {0.25: 5_000, 0.5: 10_000, 1.0: ROWS}
    assert {rows[KINDS] for rows in sizes.values()} == {5}  # a file's rows are all there
    assert {part: rows[EVENTS] for part, rows in sizes.items()} == {0.25: 100, 0.5: 200, 1.0: 400}
    assert set(facts.fixed) == {KINDS, COUNTED}
    assert set(made.trial.notes) == {
        "kinds is loaded from a file, and has the same rows at every size",
        "counted is a materialized view, and has the same rows at every size",
    }
    assert all(run.run.failed is None for run in facts.runs)
    with connect(prepared.server.target, "rehearse") as connection:
        left = {database.name for database in run_databases(connection)}
    assert left & set(RUN_DATABASES) == {BASE, TRIAL}  # other tests have databases there, too


def test_growth_is_told_from_what_does_not_grow(made: Made) -> None:
    adding, reading, writing = derive(made.record, None).costs.values()
    assert (adding.grown, adding.log_grown) == (None, None)
    assert adding.projected_s == pytest.approx(adding.busy_s)
    assert reading.grown is not None
    assert reading.grown.law is not Law.CONSTANT
    assert writing.log_grown is not None
    assert writing.log_grown.law is Law.LINEAR


def test_it_is_projected_to_production(made: Made) -> None:
    assert made.record.judgement is not None
    metrics = dict(made.record.judgement.metrics)
    duration, log, disk = (metrics[f"{name}.projected"] for name in ("duration", "wal", "disk"))
    assert duration is not None
    assert duration.value == pytest.approx(sum(PER_ROW_S) * PRODUCTION, rel=0.05)
    run = made.record.trials[0].migration
    assert run is not None
    written = sum(s.effects.wal_bytes or 0 for s in run.statements if s.effects)
    assert log is not None
    assert log.value == pytest.approx(written * PRODUCTION / ROWS, rel=0.2)
    assert disk is not None
    assert disk.value > 10 * PRODUCTION  # every row is written once more


def test_the_report_says_how_it_grows(made: Made) -> None:
    (view,) = trial_views(made.record)
    assert view.result is Result.MEASURED
    log = next(line for line in view.lines if line.startswith("write-ahead log"))
    assert "grows linearly with orders" in log
    assert "at 20 M rows" in log
    assert any("kinds is loaded from a file" in line for line in view.lines)


def test_rows_that_only_a_file_has_cannot_be_fewer(prepared: TrialContext) -> None:
    loaded = replace(prepared, base=replace(prepared.base, generated=frozenset()))
    trial = make_trial(TrialKind.SCALE, loaded)
    assert trial.unmeasured is not None
    assert "all or none" in trial.unmeasured
