"""Whole runs: one that a gate breaks off, and one made twice whose risk is accepted."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.rehearsal.conftest import LIBRARY, PATIENT, Ran, command, read_run, rehearse_library, side_by_side

# four minutes with the rows, and no time where there are none yet
STANDS_STILL = """
BEGIN;
SET LOCAL lock_timeout = '1min';
LOCK TABLE loans IN ACCESS EXCLUSIVE MODE;
SELECT count(pg_sleep(0.05)) FROM loans;
ALTER TABLE loans ADD COLUMN never int;
COMMIT;
"""
STANDING = 3
REWRITE = "SET lock_timeout = '1min';\nALTER TABLE loans ADD COLUMN token uuid DEFAULT gen_random_uuid();\n"
ACCEPTED = f"""
[run]
repeat = 2

[trials]
run = "traffic"

{PATIENT}

[[accept]]
rule = "rewrite-under-lock"
statement = "alter table loans add column token *"
reason = "a window is announced"
until = 2099-01-31
"""


ABORT = '[abort]\n"stall.max" = "> 1s"\n[trials]\nrun = "all"\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    stopped, accepted = (tmp_path_factory.mktemp(name) for name in ("stopped", "accepted"))
    cases = {
        "stopped": functools.partial(rehearse_library, stopped, STANDS_STILL, rows="5k", more=ABORT),
        "accepted": functools.partial(rehearse_library, accepted, REWRITE, rows="20k", more=ACCEPTED),
    }
    with side_by_side(cases) as running:
        yield running


def test_a_gate_breaks_the_run_off_and_leaves_nothing_running(
    runs: dict[str, Future[Ran]], tmp_path: Path
) -> None:
    run = runs["stopped"].result()

    assert (run.verdict, run.exit_code) == ("NO_GO", 1)
    assert "stall.max > 1s" in run.finding("aborted")["message"]
    statements = run.document["statements"]
    (cancelled,) = (statement for statement in statements if statement["outcome"] == "cancelled")
    assert run.finding("aborted")["statement"] == cancelled["text"]
    # the one that stands still, unless the machine did so before it came to that
    assert cancelled["index"] <= STANDING
    assert {s["outcome"] for s in statements[cancelled["index"] + 1 :]} == {"not run"}
    (gate,) = [gate for gate in run.document["gates"] if gate["gate"].startswith("abort if")]
    assert gate["status"] == "failed"
    assert [trial["kind"] for trial in run.document["trials"]] == ["traffic"]
    assert "migration-failed" not in run.rules("failure")
    # the record is whole, and judged again it is judged the same
    again = read_run(command("judge", run.folder, "--json", cwd=tmp_path))
    assert again.document["findings"] == run.document["findings"]
    case = str(run.folder.parents[1])
    assert not [p.pid for p in psutil.process_iter(["cmdline"]) if case in str(p.info["cmdline"])]


def test_an_accepted_risk_is_a_go_that_says_so_everywhere(runs: dict[str, Future[Ran]]) -> None:
    run = runs["accepted"].result()
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
