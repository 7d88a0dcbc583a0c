"""Writes that the migrated schema takes and that leave no row: seen by their command tags, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from rehearse.acts.compatibility import cells
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.plans import play
from rehearse.judge.judge import judge
from rehearse.model.compatibility import NO_ROWS, CompatibilityFacts, SchemaVersion
from rehearse.model.plans import Execution, Refused, StatementPlans
from rehearse.model.record import ScriptInfo, Trial
from rehearse.model.target import Target
from rehearse.model.trials import TrialKind
from rehearse.model.verdict import Finding, Severity
from rehearse.model.workload import ScriptSource, Version
from rehearse.workload.script import parse_script
from tests.judge.build import migration, record, statement

Connection = psycopg.Connection[tuple[Any, ...]]
WRITES = parse_script(
    ScriptSource(
        "writes",
        "\\set id random(1000, 900000)\n"
        "INSERT INTO a VALUES (:id, 'x');\nUPDATE a SET s = 'y' WHERE id = 1;\n"
        "WITH gone AS (SELECT 2 AS id) DELETE FROM a USING gone WHERE a.id = gone.id;\n"
        "INSERT INTO b SELECT :id RETURNING id;\nSELECT s FROM a WHERE id = 3 FOR UPDATE;",
    )
)
RULES = """
CREATE RULE nothing AS ON INSERT TO a DO INSTEAD NOTHING;
CREATE RULE tell AS ON UPDATE TO a DO INSTEAD NOTIFY told;
CREATE RULE also AS ON INSERT TO b DO ALSO UPDATE a SET s = 'z' WHERE id = NEW.id;
"""


def tags(connection: Connection) -> dict[int, tuple[str, set[int]]]:
    played = play(connection, WRITES, (), draws=2)
    assert not any(execution.refusals for execution in played.values())
    assert all(len(execution.seconds) == 2 for execution in played.values())
    assert [index for index, execution in played.items() if execution.given] == [0]
    return {index: (each.command, set(each.written)) for index, each in played.items()}


def test_command_tags_are_told_and_rules_may_leave_no_plan(database: Target) -> None:
    with connect(database, "test") as connection:
        connection.execute("CREATE TABLE a (id bigint PRIMARY KEY, s text); CREATE TABLE b (id bigint)")
        connection.execute("INSERT INTO a SELECT n FROM generate_series(1, 9) AS n")
        before = tags(connection)
        assert before == {
            0: ("INSERT", {1}),
            1: ("UPDATE", {1}),
            2: ("DELETE", {1}),
            3: ("INSERT", {1}),
            4: ("", set()),
        }
        connection.execute(RULES)
        assert tags(connection) == before | {0: ("INSERT", {0}), 1: ("UPDATE", {0})}
        # nothing of it was kept
        assert connection.execute("SELECT count(*), min(s) FROM a").fetchone() == (9, None)


def played(command: str, *written: int, refused: str = "") -> Execution:
    refusals = (Refused(refused, "no", 1),) if refused else ()
    given = command == "INSERT"
    return Execution(2, (0.1, 0.1), refusals=refusals, command=command, given=given, written=written)


@pytest.mark.parametrize(
    ("before", "after", "times"),
    [
        (played("INSERT", 1, 1), played("INSERT", 1, 0), 1),
        (played("INSERT", 0, 1), played("INSERT", 0, 1), 0),
        (played("UPDATE", 1, 3), played("UPDATE", 0, 0), 2),
        (played("UPDATE", 1, 3), played("UPDATE", 0, 3), 0),  # a row may be gone by right
        (played("INSERT", 1, 1), played("INSERT", 0, refused="23505"), 0),  # told as what it is
        (replace(played("INSERT", 1, 1), given=False), played("INSERT", 1, 0), 0),  # out of another table
        (played(""), played(""), 0),
    ],
)
def test_what_changes_no_row_any_more_does_not_fit(before: Execution, after: Execution, times: int) -> None:
    old, new = cells([StatementPlans("writes", 0, Version.OLD, before, after)])
    assert (old.schema, old.fits) == (SchemaVersion.OLD, True)
    assert sum(each.times for each in new.refused if each.sqlstate == NO_ROWS) == times


def found(command: str, up: str) -> Finding:
    swallowed = StatementPlans("writes", 0, Version.OLD, played(command, 1, 1), played(command, 0, 0))
    facts = CompatibilityFacts(cells([swallowed]))
    base = record(migration(statement(up)))
    made = replace(
        base,
        trials=(*base.trials, Trial(TrialKind.COMPATIBILITY, compatibility=facts)),
        scripts=(ScriptInfo("writes", 1, (f"{command} what it writes",)),),
    )
    here = [f for f in judge(made, None).findings if f.rule == "breaks-running-application"]
    (finding,) = [f for f in here if f.subject == "writes"]
    return finding


def test_rows_that_vanish_fail_and_rows_that_may_be_gone_are_not_passed() -> None:
    rule = "CREATE RULE r AS ON INSERT TO orders DO INSTEAD NOTHING"
    lost = found("INSERT", rule)
    assert lost.severity is Severity.FAILURE
    assert "no error, and no row, since" in lost.message
    assert lost.statement == 0
    assert "what has no effect: INSERT what it writes" in lost.evidence
    assert found("UPDATE", rule.replace("INSERT", "UPDATE")).severity is Severity.FAILURE
    gone = found("UPDATE", "DELETE FROM orders")
    assert gone.severity is Severity.UNMEASURED
    assert "finds no row to change" in gone.message


def test_a_partition_that_is_detached_takes_its_rows_along() -> None:
    gone = found("UPDATE", "ALTER TABLE orders DETACH PARTITION orders_2024 CONCURRENTLY")
    assert gone.severity is Severity.WARNING
    assert "finds no row to change" in gone.message
