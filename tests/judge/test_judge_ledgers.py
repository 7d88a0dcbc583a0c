"""The tables of migration tools weigh nothing; whatever else does, names the statement that did it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, MigrationRun, RelationChange, StatementOutcome
from rehearse.model.record import RunRecord, TableFacts, Trial
from rehearse.model.relation import Relation
from rehearse.model.trials import IntegrityFacts, TableIntegrity, TrialKind
from rehearse.model.verdict import Finding, Severity
from rehearse.model.workload import Footprint
from tests.judge.build import (
    AX,
    FOOTPRINTS,
    ORDERS,
    PRODUCTION,
    READ,
    ROWS,
    lock,
    migration,
    quiet,
    record,
    statement,
)

LEDGER = Relation("public", "alembic_version")
NOTED = Effects(rows_changed=((LEDGER, 1),))
UPGRADE = migration(
    statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), transaction=1, timeout_ms=500),
    statement("SELECT version_num FROM alembic_version", lock(LEDGER, LockMode.ACCESS_SHARE), transaction=1),
    statement(
        "UPDATE alembic_version SET version_num = 'b'",
        lock(LEDGER, LockMode.ROW_EXCLUSIVE),
        transaction=1,
        effects=NOTED,
    ),
)


def with_ledger(run: MigrationRun, *, ledger: bool = True, read: bool = False) -> RunRecord:
    """A record in which the tool's table is known as one, or not, and read by the application, or not."""
    footprint = Footprint(READ, ((ORDERS, LockMode.ACCESS_SHARE), (LEDGER, LockMode.ACCESS_SHARE)))
    footprints = (*FOOTPRINTS, footprint) if read else FOOTPRINTS
    made = record(run, footprints=footprints)
    facts = TableFacts(LEDGER, 1, 8192, 16384, 1 if ledger else PRODUCTION, ledger=ledger)
    return replace(made, tables=(*made.tables, facts))


def serious(made: RunRecord, *trials: Trial) -> list[Finding]:
    run = made.trials[0].migration
    assert run is not None
    found = judge(replace(made, trials=(*made.trials, *trials)), quiet(run)).findings
    return [f for f in found if f.severity in (Severity.FAILURE, Severity.UNMEASURED)]


def test_what_a_tool_notes_is_no_work_under_the_lock() -> None:
    assert not serious(with_ledger(UPGRADE))


@pytest.mark.parametrize(("ledger", "read"), [(False, False), (False, True), (True, True)])
def test_a_table_that_the_application_has_counts(ledger: bool, read: bool) -> None:
    made = with_ledger(UPGRADE, ledger=ledger, read=read)
    rules = {f.rule for f in serious(made)}
    told = {f.rule for f in judge(made, quiet(UPGRADE)).findings}

    assert ("long-transaction" if read else "workload-missed-table") in told
    assert ("lock-held-across-statements" in rules) is not ledger


def test_a_ledger_that_is_dropped_is_lost_all_the_same() -> None:
    dropped = Effects(relations=(RelationChange(LEDGER, "dropped", rows=3),))
    emptied = Effects(relations=(RelationChange(LEDGER, "truncated", rows=1),))
    drop = migration(statement("DROP TABLE alembic_version", lock(LEDGER, AX), effects=dropped))
    truncate = migration(statement("TRUNCATE alembic_version", lock(LEDGER, AX), effects=emptied))
    unlock = migration(statement("DELETE FROM alembic_version", effects=emptied))

    assert "data-loss" in {f.rule for f in serious(with_ledger(drop))}
    assert "data-loss" in {f.rule for f in serious(with_ledger(truncate))}
    assert "data-loss" not in {f.rule for f in serious(with_ledger(unlock))}


@pytest.mark.parametrize(
    ("done", "culprit"),
    [
        (("SELECT count(*) FROM orders", "DELETE FROM orders WHERE id < 4"), "DELETE"),
        (("SELECT count(*) FROM orders", "SELECT tidy_up()"), "SELECT tidy_up"),
        (("INSERT INTO orders SELECT 1", "UPDATE orders SET id = id + 1"), "UPDATE"),
    ],
)
def test_lost_rows_are_laid_to_the_statement_that_took_them(done: tuple[str, ...], culprit: str) -> None:
    changed = Effects(rows_changed=((ORDERS, 4),))
    run = migration(
        *(statement(text, effects=Effects() if text.startswith("SELECT count") else changed) for text in done)
    )
    compared = TableIntegrity(ORDERS, ROWS, ORDERS, ROWS - 4, lost=4, keyed=True)
    found = serious(record(run), Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((compared,), 2)))
    (loss,) = [f for f in found if f.rule == "data-loss"]

    assert loss.statement is not None
    assert run.statements[loss.statement].text.startswith(culprit)


def test_a_tool_that_is_cancelled_at_rest_is_not_told_of_a_statement_timeout() -> None:
    resting = statement("sleep-tool up", outcome=StatementOutcome.CANCELLED, sqlstate="57014")
    run = migration(statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX)), resting)
    run = replace(
        run, statements=(run.statements[0], replace(run.statements[1], file="sleep-tool up", command="sleep"))
    )
    (failed,) = [f for f in serious(record(run)) if f.rule == "migration-failed"]

    assert failed.message.startswith(
        "sleep-tool up, after its 1 statement, was cancelled: the migration took"
    )
    assert "statement_timeout" not in " ".join((*failed.evidence, failed.advice))
    assert "[migration] timeout" in failed.advice
