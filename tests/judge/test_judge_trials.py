"""What the judge makes of the trials beside the traffic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.acts.rollback import without_down
from rehearse.judge.judge import judge
from rehearse.model.migration import (
    ColumnChange,
    Effects,
    MigrationRun,
    RelationChange,
    StatementOutcome,
    ToolRun,
)
from rehearse.model.record import DatasetFacts, RunRecord, Trial
from rehearse.model.relation import Relation
from rehearse.model.trials import (
    Blow,
    ColumnIntegrity,
    Difference,
    IntegrityFacts,
    Interruption,
    InterruptionFacts,
    Misfit,
    MissingRows,
    Remains,
    RollbackFacts,
    SchemaDifference,
    TableIntegrity,
    TrialKind,
    TrialsSpec,
)
from rehearse.model.verdict import Finding, Quantity, Severity, Unit, Verdict
from tests.judge.build import (
    AX,
    ORDERS,
    ROWS,
    lock,
    migration,
    quiet,
    record,
    statement,
    with_trial,
    work,
)

RENAME = statement("ALTER TABLE audit ADD COLUMN a int")
INDEX = Relation("public", "an_index")
INVALID = Remains(invalid_indexes=(INDEX,))


def findings(made: RunRecord, *trials: Trial) -> list[Finding]:
    run = made.trials[0].migration
    assert run is not None
    whole = replace(made, trials=(*made.trials, *trials))
    return list(judge(whole, quiet(run)).findings)


def of(rule: str, made: RunRecord, *trials: Trial) -> list[Finding]:
    return [finding for finding in findings(made, *trials) if finding.rule == rule]


def integrity(*columns: ColumnIntegrity, **table: int) -> Trial:
    compared = TableIntegrity(ORDERS, ROWS, ORDERS, ROWS, columns=columns, **table)  # type: ignore[arg-type] # counts alone
    return Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((compared,), 2))


def note(*differences: tuple[Difference, int], after: str | None = "note") -> ColumnIntegrity:
    return ColumnIntegrity("note", "text", ROWS, after, "character varying(12)", differences)


def retyping(using: str = "") -> MigrationRun:
    effects = Effects(
        rewritten=(work(),), columns=(ColumnChange(ORDERS, "note", "retyped", "character varying(12)"),)
    )
    text = f"ALTER TABLE orders ALTER COLUMN note TYPE varchar(12){using}"
    return migration(statement(text, lock(ORDERS, AX), effects=effects))


def updating(text: str) -> MigrationRun:
    return migration(statement(text, effects=Effects(rows_changed=((ORDERS, ROWS),))))


@pytest.mark.parametrize(
    ("run", "kind", "severity"),
    [
        (retyping(" USING left(note, 12)"), Difference.CUT, Severity.FAILURE),
        (retyping(), Difference.ROUNDED, Severity.FAILURE),
        (retyping(), Difference.CHANGED, Severity.FAILURE),
        (retyping(" USING lower(note)"), Difference.CHANGED, Severity.WARNING),
        (retyping(), Difference.SHIFTED, Severity.WARNING),
        (updating("UPDATE orders SET note = left(note, 12)"), Difference.CUT, Severity.WARNING),
        (updating("UPDATE orders SET note = NULL"), Difference.NULLED, Severity.FAILURE),
        (updating("UPDATE orders SET status = 'a'"), Difference.CHANGED, Severity.WARNING),
        (migration(RENAME), Difference.CHANGED, Severity.FAILURE),
    ],
)
def test_a_change_of_values_weighs_as_it_loses(
    run: MigrationRun, kind: Difference, severity: Severity
) -> None:
    (found,) = of("value-changed", record(run), integrity(note((kind, 7))))
    assert found.severity is severity
    assert found.subject == "orders.note"
    assert "7 " in found.message


def test_filling_what_was_null_is_no_change() -> None:
    assert not of("value-changed", record(migration(RENAME)), integrity(note((Difference.FILLED, 7))))


def test_what_may_go_may_change() -> None:
    made = record(retyping(), expendable=("orders.note",))
    assert not of("value-changed", made, integrity(note((Difference.CUT, 7))))


def test_a_cast_that_would_cut_fails_though_nothing_was_cut() -> None:
    misfit = Misfit(ORDERS, "note", 0, "text", "character varying(12)", Difference.CUT)
    trial = Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((), 3, misfits=(misfit,)))
    (found,) = of("value-changed", record(retyping(" USING left(note, 12)")), trial)
    assert (found.severity, found.statement) == (Severity.FAILURE, 0)
    assert "do not fit character varying(12)" in found.message


def test_rows_that_are_gone_are_lost_once() -> None:
    run = updating("DELETE FROM orders WHERE note = 'a'")
    (found,) = of("data-loss", record(run), integrity(lost=3))
    assert (found.severity, found.statement) == (Severity.FAILURE, 0)
    assert not of("data-loss", record(run, expendable=("orders",)), integrity(lost=3))
    update, delete = updating("UPDATE orders SET note = 'b'").statements[0], run.statements[0]
    (found,) = of("data-loss", record(migration(update, delete)), integrity(lost=3))
    assert found.statement == 1
    emptied = migration(
        statement(
            "TRUNCATE orders", effects=Effects(relations=(RelationChange(ORDERS, "truncated", rows=ROWS),))
        )
    )
    assert len(of("data-loss", record(emptied), integrity(lost=ROWS))) == 1


def test_a_column_whose_data_are_in_another_of_its_name_is_not_lost() -> None:
    dropped = Effects(columns=(ColumnChange(ORDERS, "note", "dropped", rows_with_data=ROWS),))
    made = record(migration(statement("ALTER TABLE orders DROP COLUMN note", effects=dropped)))
    assert len(of("data-loss", made)) == 1
    assert len(of("data-loss", made, integrity(note(after=None)))) == 1
    assert not of("data-loss", made, integrity(note()))


def test_a_table_that_was_swapped_for_its_copy_is_not_lost() -> None:
    old = Relation("public", "orders_old")
    swap = migration(
        statement(
            "ALTER TABLE orders RENAME TO orders_old",
            effects=Effects(relations=(RelationChange(ORDERS, "renamed", "orders_old"),)),
        ),
        statement(
            "DROP TABLE orders_old", effects=Effects(relations=(RelationChange(old, "dropped", rows=None),))
        ),
    )
    assert len(of("data-loss", record(swap))) == 1
    assert not of("data-loss", record(swap), integrity())


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        (RollbackFacts(has_down=False), Severity.NOTE),
        (RollbackFacts(has_down=True, schema=(SchemaDifference("index", "i", "a", None),)), Severity.FAILURE),
        (
            RollbackFacts(has_down=True, tables=(TableIntegrity(ORDERS, ROWS, ORDERS, ROWS, lost=4),)),
            Severity.WARNING,
        ),
        (
            RollbackFacts(
                has_down=True,
                down=migration(statement("DROP INDEX i", outcome=StatementOutcome.FAILED, sqlstate="42704")),
            ),
            Severity.FAILURE,
        ),
    ],
)
def test_a_way_back_that_does_not_lead_back(facts: RollbackFacts, severity: Severity) -> None:
    trial = Trial(TrialKind.ROLLBACK, rollback=facts)
    (found,) = of("rollback-incomplete", record(migration(RENAME)), trial)
    assert found.severity is severity


def test_a_way_back_that_leads_back_says_nothing() -> None:
    trial = Trial(TrialKind.ROLLBACK, rollback=RollbackFacts(has_down=True, down=migration(RENAME)))
    assert not of("rollback-incomplete", record(migration(RENAME)), trial)


def test_the_locks_of_the_way_back_are_judged_where_it_met_the_traffic() -> None:
    down = Trial(
        TrialKind.ROLLBACK, migration=retyping(), rollback=RollbackFacts(has_down=True, down=retyping())
    )
    (found,) = of("rewrite-under-lock", record(migration(RENAME)), down)
    assert found.severity is Severity.FAILURE
    assert found.statement is None
    assert found.message.startswith("on the way back, ")


def broken(again: MigrationRun, remains: Remains = INVALID, *schema: SchemaDifference) -> Trial:
    one = Interruption(Blow.KILLED, 0, 0.5, reached=True, remains=remains, again=again, schema=schema)
    run = migration(statement("CREATE INDEX CONCURRENTLY an_index ON orders (note)"))
    return Trial(
        TrialKind.INTERRUPTION, migration=run, interruption=InterruptionFacts((one, replace(one, part=0.25)))
    )


def test_a_second_run_that_fails_is_not_restartable() -> None:
    failing = migration(
        statement(
            "CREATE INDEX CONCURRENTLY an_index ON orders (note)",
            outcome=StatementOutcome.FAILED,
            sqlstate="42P07",
        )
    )
    made = record(migration(RENAME))
    (found,) = of("not-restartable", made, broken(failing))
    assert found.severity is Severity.FAILURE
    assert "DROP INDEX CONCURRENTLY IF EXISTS an_index" in found.advice
    (left,) = of("invalid-index-left", made, broken(failing))
    assert left.subject == "an_index"
    (bare,) = of("not-restartable", made, broken(failing, Remains()))
    assert "CREATE INDEX CONCURRENTLY IF NOT EXISTS an_index" in bare.advice


def test_a_tool_that_fails_when_run_again_is_told_by_its_first_run() -> None:
    ended = ToolRun("tool up", 0)
    first = replace(migration(RENAME, statement("CREATE INDEX an_index ON orders (note)")), tool=ended)
    failed = statement("CREATE INDEX an_index ON orders (note)", outcome=StatementOutcome.FAILED)
    stopped = replace(failed, text="tool up", file="tool up", command="tool")
    for again, place, of_first in (
        (migration(failed), "up.sql:2 (CREATE INDEX)", 1),
        (migration(RENAME, RENAME, stopped), "after its 2 statements", 0),
    ):
        one = Interruption(Blow.KILLED, 0, 0.5, reached=True, again=again)
        trial = Trial(TrialKind.INTERRUPTION, migration=first, interruption=InterruptionFacts((one,)))
        (found,) = of("not-restartable", record(first), trial)
        assert place in found.message
        assert found.statement == of_first


def test_a_second_run_that_makes_another_thing_is_not_restartable() -> None:
    other = SchemaDifference("index", "an_index", "CREATE INDEX", "CREATE INDEX INVALID")
    (found,) = of("not-restartable", record(migration(RENAME)), broken(migration(RENAME), INVALID, other))
    assert found.severity is Severity.FAILURE
    assert not of("not-restartable", record(migration(RENAME)), broken(migration(RENAME), Remains()))


def test_a_trial_that_was_not_made_is_not_passed() -> None:
    made = record(migration(RENAME))
    run = made.trials[0].migration
    assert run is not None
    assert judge(made, quiet(run)).verdict is not Verdict.INCONCLUSIVE
    missing = replace(made, trials=(*made.trials, Trial(TrialKind.INTEGRITY, unmeasured="the disk is full")))
    judgement = judge(missing, quiet(run))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    (found,) = [finding for finding in judgement.findings if finding.rule == "trial-missing"]
    assert "the disk is full" in found.message


def test_an_index_left_invalid_in_quiet_is_found_without_a_statement_to_blame() -> None:
    trial = Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((), 3, INVALID))
    (found,) = of("invalid-index-left", record(migration(RENAME)), trial)
    assert found.severity is Severity.FAILURE


def test_rows_that_were_written_meanwhile_and_are_not_there_are_lost() -> None:
    swap = migration(
        statement("DROP TABLE orders", effects=Effects(relations=(RelationChange(ORDERS, "dropped"),)))
    )
    made = with_trial(record(swap), missing_rows=(MissingRows(ORDERS, 1000, 990),))
    lost = [f for f in of("data-loss", made, integrity()) if "written meanwhile" in f.subject]
    assert [(f.severity, f.statement, f.observed) for f in lost] == [
        (Severity.FAILURE, 0, Quantity(10.0, Unit.COUNT))
    ]
    # what is gone in quiet as well is not lost by what was written meanwhile
    run = updating("DELETE FROM orders")
    made = with_trial(record(run), missing_rows=(MissingRows(ORDERS, 1000, 990),))
    deleted = of("data-loss", made, integrity(lost=10))
    assert [f.subject for f in deleted] == ["orders"]


def test_a_way_back_that_was_asked_for_and_is_not_there_is_missing() -> None:
    made = record(migration(RENAME))
    asked = without_down(TrialsSpec((TrialKind.ROLLBACK,), named=(TrialKind.ROLLBACK,)))
    (missing,) = of("trial-missing", made, asked)
    assert missing.severity is Severity.UNMEASURED
    assert "give one, [migration] down" in missing.message
    assert not of("rollback-incomplete", made, asked)
    along = without_down(TrialsSpec(tuple(TrialKind)))
    assert not of("trial-missing", made, along)
    (note,) = of("rollback-incomplete", made, along)
    assert note.severity is Severity.NOTE


@pytest.mark.parametrize(
    ("precaution", "name"),
    [
        ('orders.("Silo Nr", sorte) is generated without duplicates', 'orders.("Silo Nr", sorte)'),
        ('"My Table"."a ""b"" (c" holds no NULL', '"My Table"."a ""b"" (c"'),
        ("orders.status holds no NULL", "orders.status"),
    ],
)
def test_what_was_taken_for_granted_is_named_in_full(precaution: str, name: str) -> None:
    made = replace(record(migration(RENAME)), dataset=DatasetFacts(1, 1, 0.1, 0.1, 42, (precaution,)))
    (granted,) = [each for each in of("breaks-running-application", made) if precaution in each.message]
    assert granted.subject == name
