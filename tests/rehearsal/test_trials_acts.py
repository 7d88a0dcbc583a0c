"""The trials beside the traffic, each act by itself, on a real server that may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conformance.bare import bare_record
from rehearse.acts.casting import Cast
from rehearse.acts.loading import BASE, Base, build_base
from rehearse.acts.trial import TRIAL, TrialContext
from rehearse.acts.trials import make_trial
from rehearse.engines.postgres.databases import drop_database
from rehearse.judge.judge import judge
from rehearse.model.migration import SqlFile
from rehearse.model.record import Trial
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, MigrationSpec, RowCounts, Scenario
from rehearse.model.trials import Blow, Difference, Loosened, Loosening, TrialKind, TrialsSpec
from rehearse.model.verdict import Finding, Severity
from rehearse.provision import Server, provision

SCHEMA = """
CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL, amount numeric(10,2) NOT NULL, status text);
CREATE INDEX orders_note ON orders (note);
CREATE TABLE schema_migrations (version text PRIMARY KEY);
CREATE TABLE kinds (id bigserial PRIMARY KEY, name text);
-- what is built with it takes two seconds, however fast the machine is
CREATE FUNCTION slowly(id bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF id % 2000 = 0 THEN PERFORM pg_sleep(0.7); END IF;
  RETURN id;
END $$;
"""
ROWS = 6_000


@dataclass(frozen=True)
class Made:
    """A trial, and what the judge says of it alone."""

    trial: Trial
    findings: tuple[Finding, ...]

    def finding(self, rule: str) -> Finding:
        found = [finding for finding in self.findings if finding.rule == rule]
        assert found, [finding.rule for finding in self.findings]
        return found[0]

    def severity(self, rule: str) -> Severity | None:
        return next((finding.severity for finding in self.findings if finding.rule == rule), None)


@dataclass(frozen=True)
class Rehearsing:
    server: Server
    base: Base
    scenario: Scenario
    spool: Path

    def make(self, kind: TrialKind, up: str, down: str = "", interruptions: int = 3) -> Made:
        migration = MigrationSpec(
            up=(SqlFile("up.sql", up),), down=(SqlFile("down.sql", down),) if down else ()
        )
        spec = TrialsSpec((kind,), interruptions=interruptions)
        scenario = replace(self.scenario, migration=migration, trials=spec)
        cast = Cast((), (), (), inferred=False)
        context = TrialContext(
            self.server, self.base, cast, scenario, self.spool, lambda _: None, lambda _: None
        )
        trial = make_trial(kind, context)
        record = bare_record(scenario, (trial,))
        rules = ("data-loss", "value-changed", "rollback-incomplete", "not-restartable", "invalid-index-left",
                 "trial-missing", "constraint-not-validated", "enforcement-lost")  # fmt: skip
        return Made(trial, tuple(f for f in judge(record, None).findings if f.rule in rules))


@pytest.fixture(scope="module")
def rehearsing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsing]:
    scenario = Scenario(
        name="acts",
        dataset=DatasetSpec(
            SqlFile("schema.sql", SCHEMA),
            RowCounts(tables=(("orders", ROWS), ("schema_migrations", 3))),
        ),
        migration=MigrationSpec(up=(SqlFile("up.sql", "ALTER TABLE orders ADD COLUMN more int"),)),
    )
    with provision(DatabaseSpec()) as server:
        base = build_base(server.target, scenario, lambda _: None)
        yield Rehearsing(server, base, scenario, tmp_path_factory.mktemp("spool"))
        for name in (TRIAL, BASE):
            drop_database(server.target, name)


def test_a_cast_that_cuts_is_a_value_changed(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTEGRITY, "ALTER TABLE orders ALTER COLUMN note TYPE varchar(3) USING note::varchar(3);"
    )
    facts = made.trial.integrity
    assert facts is not None
    (table,) = facts.tables
    note = table.column("note")
    assert note is not None
    assert note.differences == ((Difference.CUT, note.differing),)
    assert 0 < note.differing <= ROWS
    finding = made.finding("value-changed")
    assert finding.severity is Severity.FAILURE
    assert f"{note.differing:,} cut off" in finding.message
    assert finding.subject == "orders.note"


def test_a_cast_that_would_cut_what_production_may_hold(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTEGRITY,
        "ALTER TABLE orders ALTER COLUMN note TYPE varchar(300) USING left(note, 300);"
        "ALTER TABLE orders ALTER COLUMN status TYPE varchar(300);"
        "ALTER TABLE orders ALTER COLUMN id TYPE numeric(20,2), ALTER COLUMN amount TYPE numeric(12,4);",
    )
    facts = made.trial.integrity
    assert facts is not None
    assert [(each.column, each.difference) for each in facts.misfits] == [("note", Difference.CUT)]
    (finding,) = made.findings
    assert (finding.rule, finding.severity) == ("value-changed", Severity.FAILURE)
    assert "do not fit character varying(300) without an error" in finding.message


def test_a_backfill_of_a_new_column_changes_nothing(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTEGRITY,
        "ALTER TABLE orders ADD COLUMN cents bigint; UPDATE orders SET cents = amount * 100;"
        "ALTER TABLE orders ADD CHECK (cents >= 0) NOT VALID;"
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 5000', current_database()); END $$;",
    )
    facts = made.trial.integrity
    assert facts is not None
    assert facts.loosened == (Loosened(Loosening.SETTING, "work_mem"),)
    assert [f.rule for f in made.findings] == ["constraint-not-validated"]
    assert made.severity("constraint-not-validated") is Severity.NOTE


def test_rows_written_while_foreign_keys_are_off_are_counted_where_they_refer_to_nothing(
    rehearsing: Rehearsing,
) -> None:
    made = rehearsing.make(
        TrialKind.INTEGRITY,
        "CREATE TABLE kids (id bigint CONSTRAINT kin REFERENCES orders);"
        "SET session_replication_role = replica; INSERT INTO kids VALUES (-1), (-2), (NULL);"
        "RESET session_replication_role;",
    )
    facts = made.trial.integrity
    assert facts is not None
    assert [(each.key, each.rows) for each in facts.orphans] == [("kin", 2)]
    assert made.severity("enforcement-lost") is Severity.FAILURE


def test_rows_that_are_deleted_are_lost(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTEGRITY, "DELETE FROM orders WHERE id IN (SELECT min(id) FROM orders);"
    )
    finding = made.finding("data-loss")
    assert finding.severity is Severity.FAILURE
    assert "1 row out of orders" in finding.message


def test_a_migration_that_fails_in_quiet_leaves_the_trial_unmeasured(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(TrialKind.INTEGRITY, "ALTER TABLE orders ADD COLUMN note text;")
    assert made.severity("trial-missing") is Severity.UNMEASURED
    assert "already exists" in made.finding("trial-missing").message


def test_a_trial_that_no_engine_makes_is_unmeasured(
    rehearsing: Rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehearse.acts.trials.ACTS", {})
    made = rehearsing.make(TrialKind.ROLLBACK, "SELECT 1;")
    assert made.severity("trial-missing") is Severity.UNMEASURED


def test_a_down_that_forgets_an_index_is_incomplete(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.ROLLBACK,
        "DROP INDEX orders_note; ALTER TABLE orders ADD COLUMN more int; CREATE INDEX made ON orders (more);",
        "ALTER TABLE orders DROP COLUMN more;",
    )
    finding = made.finding("rollback-incomplete")
    assert finding.severity is Severity.FAILURE
    assert "the index orders_note is gone" in finding.message
    assert len(made.findings) == 1


def test_a_down_that_leads_back_is_complete(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.ROLLBACK,
        "ALTER TABLE orders ADD COLUMN more int; CREATE INDEX made_here ON orders (more);",
        "DROP INDEX made_here; ALTER TABLE orders DROP COLUMN more;",
    )
    assert made.findings == ()
    assert made.trial.rollback is not None
    assert made.trial.rollback.down is not None


def test_what_no_down_brings_back_is_named(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.ROLLBACK,
        "ALTER TABLE orders DROP COLUMN amount;",
        "ALTER TABLE orders ADD COLUMN amount numeric(10,2) NOT NULL DEFAULT 0; "
        "ALTER TABLE orders ALTER COLUMN amount DROP DEFAULT;",
    )
    finding = made.finding("rollback-incomplete")
    assert finding.severity is Severity.WARNING
    assert "amount" in finding.message


def test_a_down_that_fails_is_none(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(TrialKind.ROLLBACK, "SELECT 1;", "DROP TABLE nobody_made;")
    finding = made.finding("rollback-incomplete")
    assert finding.severity is Severity.FAILURE
    assert "42P01" in finding.message


def test_without_a_down_that_is_said(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(TrialKind.ROLLBACK, "SELECT 1;")
    assert made.severity("rollback-incomplete") is Severity.NOTE


def test_an_index_that_is_killed_stays_invalid(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTERRUPTION,
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS half_made ON orders (slowly(id));",
        interruptions=1,
    )
    facts = made.trial.interruption
    assert facts is not None
    assert {one.blow for one in facts.interruptions if one.reached} == set(Blow), facts.missing
    left = made.finding("invalid-index-left")
    assert left.severity is Severity.FAILURE
    assert left.subject == "half_made"
    again = made.finding("not-restartable")
    assert "DROP INDEX CONCURRENTLY IF EXISTS half_made" in again.advice
    assert rehearsing.server.alive()


def test_steps_that_cannot_be_run_twice_are_not_restartable(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTERRUPTION,
        "INSERT INTO schema_migrations VALUES ('now');\n"
        "ALTER TABLE orders ADD COLUMN IF NOT EXISTS more int;\n"
        "ALTER TABLE orders ADD COLUMN IF NOT EXISTS yet int;",
        interruptions=1,
    )
    finding = made.finding("not-restartable")
    assert finding.severity is Severity.FAILURE
    assert "23505" in finding.message
    assert any("says that it was applied" in line for line in finding.evidence)


def test_steps_that_can_be_run_twice_are_restartable(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTERRUPTION,
        "ALTER TABLE orders ADD COLUMN IF NOT EXISTS more int;\n"
        "ALTER TABLE orders ADD COLUMN IF NOT EXISTS yet int;",
        interruptions=1,
    )
    assert made.trial.interruption is not None
    assert all(one.reached and one.left for one in made.trial.interruption.interruptions)
    assert made.findings == ()


def test_rows_that_a_second_run_does_once_more_are_seen_by_their_values(rehearsing: Rehearsing) -> None:
    made = rehearsing.make(
        TrialKind.INTERRUPTION,
        "DO $$ BEGIN UPDATE orders SET amount = amount + 1, status = clock_timestamp()::text WHERE id < 1000;"
        " COMMIT; INSERT INTO kinds (name) VALUES ('of late');"
        " UPDATE orders SET note = (SELECT max(id) FROM kinds) WHERE id < 1000; PERFORM pg_sleep(1); END $$",
        interruptions=1,
    )
    finding = made.finding("not-restartable")
    assert finding.severity is Severity.FAILURE
    assert finding.subject == "data orders.amount"
    assert "done again" in finding.evidence[0]
    assert not any("status" in line for line in finding.evidence)  # another time each time it is run
    # the run that was broken off took a number from the sequence, and the next run another one
    assert not any("orders.note" in line for line in finding.evidence)
