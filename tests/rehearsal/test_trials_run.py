"""A whole rehearsal in which data are lost that no quiet run could lose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rehearsal.conftest import Ran, command, read_run

SWAP = """
SET lock_timeout = '1min';
CREATE TABLE loan_events_new (LIKE loan_events INCLUDING ALL);
INSERT INTO loan_events_new SELECT * FROM loan_events;
SELECT pg_sleep(1);
BEGIN;
ALTER TABLE loan_events RENAME TO loan_events_old;
ALTER TABLE loan_events_new RENAME TO loan_events;
DROP TABLE loan_events_old;
COMMIT;
"""
DOWN_GATES = """
"duration{phase=down}" = "<= 1h"
"stall.max{phase=down,script=write}" = "<= 1h"
"latency.p99{phase=down}" = "<= 150% latency.p99{phase=baseline} floor 1h"
"throughput{phase=down}" = ">= 1000000/s"
"""
INSERT = (
    "\\set l sample(loans.id)\n\\set s random(1000000, 2000000000)\n"
    "INSERT INTO loan_events (loan_id, seq, what) VALUES (:l, :s, 'written meanwhile');\n"
)


@pytest.mark.slow
def test_rows_written_between_copy_and_swap_are_found_missing(library: Callable[..., Ran]) -> None:
    ran = library(
        SWAP,
        rows="2k",
        workload='scripts = ["write.sql@1"]',
        scripts={"write.sql": INSERT, "down.sql": "CREATE INDEX left_over ON loan_events (at);"},
        migration='down = "down.sql"',
        more=f"[trials]\nrollback_traffic = true\n[gates]\n{DOWN_GATES}",
    )
    assert (ran.verdict, ran.exit_code) == ("NO_GO", 1)
    lost = ran.finding("data-loss")
    assert "that the application wrote meanwhile, and was told were committed" in lost["message"]
    assert lost["observed"] > 0
    results = {each["kind"]: each["result"] for each in ran.document["beside_traffic"]}
    assert results == {
        "integrity": "clean",
        "rollback": "differs",
        "plans": "clean",
        "compatibility": "clean",
    }
    # the foreign key that the copy did not get, and this way back does not make again
    incomplete = ran.finding("rollback-incomplete")
    assert "loan_events_loan_id_fkey is gone" in incomplete["message"]
    assert any("left_over is left over" in line for line in incomplete["evidence"])
    # and the way back was met by the traffic, too
    blocking = ran.finding("index-build-blocks-writes")
    assert blocking["message"].startswith("on the way back, ")
    assert blocking["statement_index"] is None
    gates = {gate["metric"]: gate for gate in ran.document["gates"] if "phase=down" in gate["metric"]}
    assert {metric: gate["status"] for metric, gate in gates.items()} == {
        "duration{phase=down}": "passed",
        "stall.max{phase=down,script=write}": "passed",
        "latency.p99{phase=down}": "passed",
        "throughput{phase=down}": "failed",
    }
    assert ran.document["metrics"]["duration{phase=down}"] == gates["duration{phase=down}"]["observed"]
    missed = ran.finding("latency")
    assert missed["message"].startswith("on the way back, throughput{phase=down} is")
    # what was kept is enough to judge it again
    more = ("--gate", "latency.max{phase=down} <= 1us", "--gate", "wal.bytes{phase=down} > 1kB")
    again = read_run(command("judge", ran.folder, "--json", *more, cwd=ran.folder))
    status = {gate["metric"]: gate["status"] for gate in again.document["gates"]}
    assert status["latency.max{phase=down}"] == "failed"
    assert status["wal.bytes{phase=down}"] == "passed"
    assert status.items() >= {metric: gate["status"] for metric, gate in gates.items()}.items()
