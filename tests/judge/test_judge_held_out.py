"""What the histories of public projects asked of the judge, beside what was there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.compatibility import Cell, CompatibilityFacts, Misfitting, SchemaVersion
from rehearse.model.migration import ColumnChange, Effects, MigrationRun, Statement, TableTotals
from rehearse.model.record import RunRecord, Trial
from rehearse.model.relation import Relation
from rehearse.model.trials import IntegrityFacts, TableIntegrity, TrialKind
from rehearse.model.verdict import Finding, Severity, Verdict
from rehearse.model.workload import Footprint, Version
from tests.judge.build import (
    AX,
    CUSTOMERS,
    FOOTPRINTS,
    MS,
    ORDERS,
    PRODUCTION,
    READ,
    ROWS,
    RX,
    SHARE,
    SRE,
    START,
    SUE,
    WRITE,
    Failing,
    S,
    build,
    end_of,
    lock,
    migration,
    only,
    quiet,
    record,
    samples,
    statement,
    work,
)

SCANNED = Effects(scanned=(work(),))
CHECKED = statement(
    "ALTER TABLE orders VALIDATE CONSTRAINT c", lock(ORDERS, SUE), took_s=0.1, effects=SCANNED
)
IN_BATCHES = statement(
    "DO $$ ... COMMIT ... $$",
    took_s=0.1,
    effects=Effects(longest_transaction_ns=1, totals=(TableTotals(ORDERS, ROWS, 0, ROWS),)),
)
BUILT = statement(
    "CREATE INDEX CONCURRENTLY an_index ON orders (note)",
    lock(ORDERS, SUE),
    took_s=0.1,
    effects=Effects(built=(build(),)),
)
NEEDED_S = 0.1 * PRODUCTION / ROWS
OLD = Relation("public", "orders_old")


def of(rule: str, run: MigrationRun, made: RunRecord | None = None) -> list[Finding]:
    return [f for f in judge(made or record(run), quiet(run)).findings if f.rule == rule]


def under(made: Statement, limit_s: float) -> MigrationRun:
    return migration(replace(made, statement_timeout_ms=round(limit_s * 1000)))


@pytest.mark.parametrize("made", [CHECKED, IN_BATCHES, BUILT])
def test_what_is_cancelled_at_production_size_fails(made: Statement) -> None:
    run = under(made, NEEDED_S / 2)
    (finding,) = of("migration-failed", run)
    assert finding.severity is Severity.FAILURE
    assert "would be cancelled" in finding.message
    assert ("an INVALID index" in " ".join(finding.evidence)) is (made is BUILT)
    assert judge(record(run), quiet(run)).verdict is Verdict.NO_GO


@pytest.mark.parametrize("made", [CHECKED, IN_BATCHES])
def test_nearly_too_long_or_not_known_is_a_warning(made: Statement) -> None:
    near = under(made, 1.5 * NEEDED_S)
    unknown = under(made, 1.0)
    found = of("migration-failed", near) + of("migration-failed", unknown, record(unknown, production=None))
    assert [f.severity for f in found] == [Severity.WARNING] * 2


def test_a_limit_that_leaves_time_enough_is_nothing_to_speak_of() -> None:
    instant = statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX))
    assert of("migration-failed", under(CHECKED, 3 * NEEDED_S)) == []
    assert of("migration-failed", under(instant, 0.1)) == []


def swapped(*footprints: Footprint) -> tuple[MigrationRun, RunRecord]:
    run = migration(statement("ALTER TABLE orders RENAME TO orders_old", lock(ORDERS, AX)))
    compared = TableIntegrity(ORDERS, ROWS, OLD, ROWS, elsewhere=ROWS)
    made = record(run, footprints=footprints)
    trial = Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((compared,), 2))
    return run, replace(made, trials=(*made.trials, trial))


def test_a_name_that_leads_to_an_empty_table_loses_its_rows() -> None:
    run, made = swapped(*FOOTPRINTS)
    (finding,) = of("data-loss", run, made)
    assert finding.severity is Severity.FAILURE
    assert "orders_old alone has them" in finding.message
    spared = replace(made.scenario.migration, expendable=("orders",))
    assert of("data-loss", run, replace(made, scenario=replace(made.scenario, migration=spared))) == []


def test_a_log_that_is_only_written_may_begin_anew() -> None:
    run, made = swapped(Footprint(WRITE, ((ORDERS, RX),)))
    scripts = tuple(replace(s, statements=("INSERT INTO orders VALUES (1)",)) for s in made.scripts)
    (finding,) = of("data-loss", run, replace(made, scripts=scripts))
    assert finding.severity is Severity.WARNING


def renaming(column: str, after: str, transaction: int) -> Statement:
    change = ColumnChange(ORDERS, column, "renamed", after)
    text = f"ALTER TABLE orders RENAME COLUMN {column} TO {after}"
    return statement(text, lock(ORDERS, AX), transaction=transaction, effects=Effects(columns=(change,)))


@pytest.mark.parametrize(("last", "said"), [(7, 0), (8, 1)])
def test_a_name_that_is_back_at_once_was_not_taken_away(last: int, said: int) -> None:
    """Two columns change names by way of a third: none is missing unless it takes two transactions."""
    run = migration(
        renaming("unused", "passing", 7),
        renaming("unused_big", "unused", 7),
        renaming("passing", "unused_big", last),
    )
    found = [f for f in of("breaks-running-application", run) if "takes away" in f.message]
    assert len(found) == said


def tried(run: MigrationRun, *refused: Misfitting) -> RunRecord:
    made = record(run)
    cells = tuple(
        Cell(Version.OLD, schema, 4, refused if schema is SchemaVersion.NEW else ())
        for schema in SchemaVersion
    )
    trial = Trial(TrialKind.COMPATIBILITY, compatibility=CompatibilityFacts(cells))
    return replace(made, trials=(*made.trials, trial))


def test_a_rare_script_prepares_again_as_the_others_were_seen_to() -> None:
    """20 transactions in the end, each on another of 32 connections, and all of them the first there."""
    run = migration(statement("ALTER TABLE orders ALTER COLUMN a TYPE text", lock(ORDERS, AX)))
    broken = [Failing(READ, "0A000", START, START + 300 * MS), Failing(WRITE, "0A000", START, 60 * S)]
    often = samples(end_ns=end_of(run)[1], failing=broken)
    assert judge(record(run), often).verdict is Verdict.NO_GO
    rare = only(often, lambda script, due: script == 0 or due < START or due % (S // 4) < 10 * MS)
    assert judge(record(run), rare).verdict is Verdict.INCONCLUSIVE  # nobody tried the rare one's statements
    judgement = judge(tried(run), rare)
    assert judgement.verdict is Verdict.GO
    told = [f for f in judgement.findings if "0A000" in f.message]
    assert [f.severity for f in told] == [Severity.WARNING] * 2
    refused = Misfitting(WRITE, 0, "0A000", "cannot insert into that", 3)
    assert judge(tried(run, refused), rare).verdict is Verdict.NO_GO  # by no cached plan, and for good
    alone = judge(tried(run), only(rare, lambda script, due: script == 1 or due < START))
    (unseen,) = (f for f in alone.findings if "0A000" in f.message)
    assert alone.verdict is Verdict.INCONCLUSIVE  # nobody else shows that the driver prepares again
    assert "--recovery" in unseen.advice


def test_of_the_locks_that_one_statement_takes_the_strongest_is_told_of() -> None:
    added = "ALTER TABLE orders ADD COLUMN customer bigint REFERENCES customers (id)"
    run = migration(
        statement(added, lock(CUSTOMERS, SRE), lock(ORDERS, AX), transaction=7),
        statement(
            "CREATE INDEX i ON orders (customer)",
            lock(ORDERS, SHARE),
            transaction=7,
            effects=Effects(built=(build(),)),
        ),
    )
    (finding,) = of("lock-held-across-statements", run)
    assert "while ACCESS EXCLUSIVE on orders" in finding.message
