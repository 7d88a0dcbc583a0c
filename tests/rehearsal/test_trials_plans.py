"""Plans, compatibility and drift, each act by itself, on a real server; and what the judge makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conformance.bare import bare_record
from rehearse.acts.casting import make_cast
from rehearse.acts.drift import built, compare
from rehearse.acts.loading import BASE, PREVIEW, Base, build_base, run_preview
from rehearse.acts.trial import TRIAL, TrialContext
from rehearse.acts.trials import make_trial
from rehearse.engines.postgres.databases import drop_database
from rehearse.judge.judge import judge
from rehearse.model.compatibility import SchemaVersion
from rehearse.model.migration import SqlFile
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.scenario import (
    DatasetSpec,
    MigrationSpec,
    NewApplication,
    RowCounts,
    Scenario,
    WorkloadSpec,
)
from rehearse.model.trials import DriftSpec, TrialKind, TrialsSpec
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import ScriptSource, Version
from rehearse.provision import Server

SCHEMA = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id bigint NOT NULL, note text NOT NULL, code int NOT NULL DEFAULT 1,
  status text NOT NULL DEFAULT 'new');
CREATE INDEX orders_customer_id_idx ON orders (customer_id);
"""
ROWS = 20_000
PAGES = Path(__file__).parents[2] / "docs" / "rules"
OLD = (
    ScriptSource(
        "orders_of", "\\set c sample(orders.customer_id)\nSELECT id, note FROM orders WHERE customer_id = :c;"
    ),
    ScriptSource("one_order", "\\set id sample(orders.id)\nSELECT * FROM orders WHERE id = :id;"),
    ScriptSource(
        "code", "\\set c sample(orders.code)\nUPDATE orders SET note = 'secret' WHERE code = :c AND id < 0;"
    ),
    ScriptSource(
        "forget",
        "\\set id fresh(customers.id)\nINSERT INTO customers VALUES (:id, 'secret');\n"
        "DELETE FROM customers WHERE id = :id;",
    ),
    ScriptSource(
        "recent",
        f"\\set i {ROWS - 5}\nSELECT customer_id FROM orders WHERE id > :i ORDER BY customer_id LIMIT 9;",
    ),
)
NEW = ScriptSource("archived", "\\set id sample(orders.id)\nSELECT archived FROM orders WHERE id = :id;")


@dataclass(frozen=True)
class Made:
    """Trials, and what the judge says of them."""

    trials: tuple[Trial, ...]
    findings: tuple[Finding, ...]

    def of(self, rule: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.rule == rule]


@dataclass(frozen=True)
class Rehearsing:
    server: Server
    base: Base
    scenario: Scenario
    spool: Path

    def make(self, up: str, *kinds: TrialKind, drift: DriftSpec | None = None, after: bool = False) -> Made:
        workload = replace(self.scenario.workload, after=NewApplication((NEW,)) if after else None)
        scenario = replace(
            self.scenario,
            migration=MigrationSpec(up=(SqlFile("up.sql", up),)),
            workload=workload,
            trials=TrialsSpec(kinds, drift=drift),
        )
        base = replace(self.base, preview=run_preview(self.server.target, scenario))
        cast = make_cast(base, scenario)
        context = TrialContext(self.server, base, cast, scenario, self.spool, lambda _: None, lambda _: None)
        trials: tuple[Trial, ...] = ()
        for kind in kinds:
            trials += (make_trial(kind, replace(context, done=trials)),)
        tables = tuple(replace(table, production_rows=100_000_000) for table in base.tables)
        record = bare_record(scenario, trials, tables=tables, scripts=cast.infos)
        assert [trial.unmeasured for trial in trials] == [None] * len(kinds)
        return Made(trials, judge(record, None).findings)


@pytest.fixture(scope="module")
def rehearsing(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsing]:
    scenario = Scenario(
        name="plans",
        dataset=DatasetSpec(
            SqlFile("schema.sql", SCHEMA), RowCounts(tables=(("orders", ROWS), ("customers", 2_000)))
        ),
        migration=MigrationSpec(up=(SqlFile("up.sql", "SELECT 1"),)),
        workload=WorkloadSpec(scripts=OLD),
    )
    base = build_base(server.target, scenario, lambda _: None)
    yield Rehearsing(server, base, scenario, tmp_path_factory.mktemp("spool") / "spool")
    for name in (TRIAL, BASE):
        drop_database(server.target, name)


def example(rule: str, name: str) -> str:
    return (PAGES / rule / f"{name}.sql").read_text(encoding="utf-8")


def test_an_index_that_is_needed_and_a_foreign_key_without_one(rehearsing: Rehearsing) -> None:
    """The bad example of the rule's page, where nothing else helps it, and the good one."""
    dropped = "DROP INDEX orders_customer_id_idx;"
    made = rehearsing.make(dropped + example("query-regression", "bad"), TrialKind.PLANS)
    by_script = {finding.subject: finding for finding in made.of("query-regression")}
    assert set(by_script) == {"orders_of", "forget"}
    assert {finding.severity for finding in by_script.values()} == {Severity.FAILURE}
    index, key = by_script["orders_of"], by_script["forget"]
    assert "the index orders_customer_id_idx is gone" in index.message
    assert "CREATE INDEX CONCURRENTLY orders_customer_id_idx" in index.advice
    plans = [line for line in index.evidence if line.startswith("plan ")]
    assert "orders_customer_id_idx" in plans[0]
    assert "Seq Scan on orders" in plans[1]
    assert "the foreign key orders_customer_id_fkey has no index on orders (customer_id)" in key.message
    assert key.advice.startswith("CREATE INDEX CONCURRENTLY ON orders (customer_id)")
    assert any("Trigger for constraint orders_customer_id_fkey" in line for line in key.evidence)
    better = rehearsing.make(dropped + example("query-regression", "good"), TrialKind.PLANS)
    assert not better.of("query-regression")


def test_statistics_that_a_rewrite_took_away_are_named(rehearsing: Rehearsing) -> None:
    made = rehearsing.make("ALTER TABLE orders ALTER COLUMN id TYPE bigint;", TrialKind.PLANS)
    (finding,) = made.of("query-regression")
    assert (finding.severity, finding.subject) == (Severity.FAILURE, "recent")
    assert "there are no statistics for orders.id" in finding.message
    assert finding.advice.startswith("VACUUM (ANALYZE) orders;")
    assert any(line.startswith("plan after VACUUM (ANALYZE): ") for line in finding.evidence)


HISTORY = SCHEMA.replace("DEFAULT 'new'", "DEFAULT 'open'").replace("CREATE INDEX", "-- CREATE INDEX")


def test_the_examples_of_drift(rehearsing: Rehearsing) -> None:
    """What was done by hand is drift, until the history does it, too."""
    bad, good = (SqlFile(name, example("schema-drift", name)) for name in ("bad", "good"))
    server, spec, schema = rehearsing.server.target, rehearsing.scenario.database, SqlFile("s.sql", SCHEMA)
    production = built(server, TRIAL, spec, (schema, bad))
    orders = frozenset({Relation("public", "orders")})
    try:
        found = compare(built(server, PREVIEW, spec, (schema,)), production, orders)
        assert [(each.difference.kind, each.touched) for each in found] == [("column", True), ("index", True)]
        assert not compare(built(server, PREVIEW, spec, (schema, good)), production, orders)
    finally:
        drop_database(server, PREVIEW)


def test_a_change_that_costs_and_breaks_nothing(rehearsing: Rehearsing) -> None:
    """And production, whose schema is not that of the history elsewhere."""
    up = "ALTER TABLE customers ADD COLUMN more int; CREATE INDEX ON customers (name);"
    history = DriftSpec((SqlFile("001.sql", HISTORY), SqlFile("002.sql", up)))
    kinds = (TrialKind.PLANS, TrialKind.COMPATIBILITY, TrialKind.DRIFT)
    made = rehearsing.make(up, *kinds, drift=history)
    assert not made.of("query-regression")
    assert not made.of("breaks-running-application")
    plans, compatibility, drift = made.trials
    assert plans.plans is not None
    assert compatibility.compatibility is not None
    assert drift.drift is not None
    text = repr(plans.plans)
    assert "Index Cond: (id = ?)" in text
    assert "secret" not in text
    assert [cell.application for cell in compatibility.compatibility.cells] == [Version.OLD, Version.OLD]

    (finding,) = made.of("schema-drift")
    assert (finding.severity, finding.observed) == (Severity.WARNING, Quantity(2.0, Unit.COUNT))
    lines = "\n".join(finding.evidence)
    assert "index orders_customer_id_idx, in production alone: CREATE INDEX" in lines
    assert "'open'::text; production has text NOT NULL DEFAULT 'new'::text" in lines
    assert (drift.drift.files, drift.drift.left_out) == (1, ("002.sql",))


def test_both_applications_on_both_schemas(rehearsing: Rehearsing) -> None:
    """And a dump of production, whose schema is not that of the history just where the migration is."""
    up = "ALTER TABLE orders DROP COLUMN code, ADD COLUMN archived boolean NOT NULL DEFAULT false;"
    dump = SCHEMA + "CREATE TABLE schema_migrations (version text PRIMARY KEY);"
    spec = DriftSpec((SqlFile("001.sql", HISTORY),), SqlFile("dump.sql", dump))
    made = rehearsing.make(up, TrialKind.COMPATIBILITY, TrialKind.DRIFT, drift=spec, after=True)
    facts = made.trials[0].compatibility
    assert facts is not None
    table = {(cell.application, cell.schema): cell for cell in facts.cells}
    assert len(table) == 4
    fits = {key for key, cell in table.items() if cell.fits}
    assert fits == {(Version.OLD, SchemaVersion.OLD), (Version.NEW, SchemaVersion.NEW)}
    (broken,) = table[Version.OLD, SchemaVersion.NEW].refused
    assert (broken.script, broken.index, broken.sqlstate) == ("code", 0, "42703")
    (finding,) = [f for f in made.of("breaks-running-application") if f.severity is Severity.FAILURE]
    assert (finding.subject, finding.evidence[0][:18]) == ("code", "what fails: UPDATE")
    (order,) = [f for f in made.of("breaks-new-application") if f.severity is Severity.NOTE]
    assert "migrate first, then deploy" in order.message

    (drift,) = made.of("schema-drift")
    assert drift.severity is Severity.FAILURE
    assert "of orders, which the migration locks" in drift.message
    assert "schema_migrations" not in repr(drift)
