"""What the server itself counts of the application's statements, before and after, as evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.acts.server_counts import ServerCounts
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.statement_counts import shape
from rehearse.judge.facts import derive
from rehearse.judge.regression_findings import with_counts
from rehearse.model.plans import CountedStatement, ServerCount
from rehearse.model.target import Target
from rehearse.model.verdict import Finding, Severity
from rehearse.model.workload import ScriptSource
from rehearse.provision import Server
from rehearse.workload.script import parse_script
from tests.report import records

SCRIPT = parse_script(
    ScriptSource("find", "\\set a random(1, 9)\nSELECT count(*)\n  FROM numbers WHERE n = :a AND n < 700;")
)


def test_values_and_lines_do_not_matter() -> None:
    assert shape("SELECT 1 , 'it''s'\n FROM t WHERE n2 = $1;") == "SELECT ? , ? FROM t WHERE n2 = ?"


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_statement_is_counted_on_both_sides(database: Target, server: Server, *, elsewhere: bool) -> None:
    counts = ServerCounts(database, server.target if elsewhere else None)
    text = SCRIPT.statements[0].replace("$1", "%s")
    with connect(database, "test") as connection:
        if not elsewhere:
            connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 20000) AS n")
        for times in (3, 2):
            counts.look()
            for value in range(times):
                connection.execute(text, (value,))
            counts.look()
            connection.execute("CREATE INDEX ON numbers (n); ANALYZE numbers")
    try:
        found = counts.compared([SCRIPT])
    finally:
        counts.close()
    assert found is not None
    (one,) = found
    assert (one.script, one.index, one.before.calls, one.after.calls) == ("find", 0, 3, 2)
    assert one.before.blocks > 10 * one.after.blocks > 0
    assert one.before.seconds > 0


def test_without_the_extension_nothing_is_counted(database: Target) -> None:
    counts = ServerCounts(database)
    for _ in range(4):
        counts.look()
    counts.close()
    assert counts.compared([SCRIPT]) is None


def test_a_finding_says_what_was_counted_or_that_nothing_was() -> None:
    record, _ = records.instant_alter()
    finding = Finding("query-regression", Severity.WARNING, "it is slower", subject="find")

    def evidence(counted: tuple[CountedStatement, ...] | None) -> str:
        trials = (replace(record.trials[0], counted=counted),)
        return with_counts(derive(replace(record, trials=trials), None), finding).evidence[-1]

    one = CountedStatement("find", 0, ServerCount(320, 0.00005, 4), ServerCount(120, 0.012, 410))
    assert evidence((one,)).startswith("pg_stat_statements, statement 1: ")
    assert "410 blocks each in 120 calls" in evidence((one,))
    assert evidence(()).endswith("not measured")
    assert evidence(None).endswith("is not measured")
