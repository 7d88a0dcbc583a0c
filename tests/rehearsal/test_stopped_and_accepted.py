"""Whole runs: one that a gate breaks off, and one made twice whose risk is accepted."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import psutil

from tests.rehearsal.conftest import LIBRARY, command, read_run, rehearse_library

# four minutes with the rows, and no time where there are none yet
STANDS_STILL = """
BEGIN;
SET LOCAL lock_timeout = '5s';
LOCK TABLE loans IN ACCESS EXCLUSIVE MODE;
SELECT count(pg_sleep(0.05)) FROM loans;
ALTER TABLE loans ADD COLUMN never int;
COMMIT;
"""
REWRITE = "SET lock_timeout = '5s';\nALTER TABLE loans ADD COLUMN token uuid DEFAULT gen_random_uuid();\n"
ACCEPTED = """
[run]
repeat = 2

[trials]
run = "traffic"

[gates]
"stall.max" = "<= 5m"
"latency.p99{phase=migration}" = "off"

[[accept]]
rule = "rewrite-under-lock"
statement = "alter table loans add column token *"
reason = "a window is announced"
until = 2099-01-31
"""


def test_a_gate_breaks_the_run_off_and_leaves_nothing_running(tmp_path: Path) -> None:
    abort = '[abort]\n"stall.max" = "> 1s"\n[trials]\nrun = "all"\n'
    run = rehearse_library(tmp_path, STANDS_STILL, rows="5k", more=abort)

    assert (run.verdict, run.exit_code) == ("NO_GO", 1)
    assert "stall.max > 1s" in run.finding("aborted")["message"]
    assert "pg_sleep" in run.finding("aborted")["statement"]
    assert [s["outcome"] for s in run.document["statements"]][-3:] == ["cancelled", "not run", "not run"]
    (gate,) = [gate for gate in run.document["gates"] if gate["gate"].startswith("abort if")]
    assert gate["status"] == "failed"
    assert [trial["kind"] for trial in run.document["trials"]] == ["traffic"]
    assert "migration-failed" not in run.rules("failure")
    # the record is whole, and judged again it is judged the same
    again = read_run(command("judge", run.folder, "--json", cwd=tmp_path))
    assert again.document["findings"] == run.document["findings"]
    assert not [p.pid for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info["cmdline"])]


def test_an_accepted_risk_is_a_go_that_says_so_everywhere(tmp_path: Path) -> None:
    run = rehearse_library(tmp_path, REWRITE, rows="20k", more=ACCEPTED)
    finding = run.finding("rewrite-under-lock")

    assert finding["severity"] == "accepted"
    assert finding["accepted"] == {
        "reason": "a window is announced",
        "until": "2099-01-31",
        "by": "",
        "severity": "failure",
    }
    assert "rewrite-under-lock" not in run.rules("failure")
    assert len(run.document["repeats"]) == 2
    gates = {gate["metric"]: gate for gate in run.document["gates"]}
    assert "over 2 trials" in gates["blocking.projected"]["note"] or gates["blocking.projected"]["accepted"]
    assert gates["stall.max"]["smallest_difference"] is not None
    for page in ("report.html", "report.md"):
        assert "a window is announced" in (run.folder / page).read_text()
    suite = ET.fromstring((run.folder / "junit.xml").read_text())
    skipped = {case.get("name") for case in suite.iter("testcase") if case.find("skipped") is not None}
    assert "rewrite-under-lock" in skipped


def test_an_unknown_rule_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text((LIBRARY / "schema.sql").read_text())
    (tmp_path / "up.sql").write_text(REWRITE)
    scenario = tmp_path / "case.toml"
    accept = ACCEPTED.replace("rewrite-under-lock", "rewrite-under-locks")
    scenario.write_text(f'[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n{accept}')
    done = command("run", scenario, "--out", tmp_path / "reports", cwd=tmp_path)

    assert done.returncode == 2
    assert "did you mean `rewrite-under-lock`?" in done.stderr
    assert "case.toml:" in done.stderr
    assert not (tmp_path / "reports").exists()
    assert not done.stdout
