"""The right verdict, for the right reason, on the right statement."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from rehearse.record.folder import RunFolder
from tests.rehearsal.conftest import ALONE, BY_CHANCE, PATIENT, Ran, rehearse_library, side_by_side

# Each whole rehearsal here stands for its kind; `make conformance` runs the others, under traffic, too.
SAFE = """
SET lock_timeout = '1min';
CREATE INDEX CONCURRENTLY loans_due_idx ON loans (due_on);
ALTER TABLE loans ADD CONSTRAINT loans_branch_fk FOREIGN KEY (branch_code) REFERENCES branches NOT VALID;
ALTER TABLE loans VALIDATE CONSTRAINT loans_branch_fk;
ALTER TABLE loans ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID;
ALTER TABLE loans VALIDATE CONSTRAINT note_there;
ALTER TABLE loans ALTER COLUMN note SET NOT NULL;
ALTER TABLE loans DROP CONSTRAINT note_there;
"""
HELD_S = 1.5
# Each statement, and the failure that it is found by.
UNSAFE = (
    ("ALTER TABLE loans ADD COLUMN token uuid DEFAULT gen_random_uuid();", "rewrite-under-lock"),
    ("ALTER TABLE loans ALTER COLUMN note SET NOT NULL;", "scan-under-lock"),
    ("ALTER TABLE loans ADD FOREIGN KEY (branch_code) REFERENCES branches;", "scan-under-lock"),
    ("CREATE INDEX ON loans (due_on);", "index-build-blocks-writes"),
    ("BEGIN;", ""),
    ("LOCK TABLE loans;", ""),
    (f"SELECT pg_sleep({HELD_S});", ""),
    ("COMMIT;", ""),
    ("ALTER TABLE loans RENAME COLUMN note TO remark;", "breaks-running-application"),
)
LOCK, SLEEP, COMMIT = 5, 6, 7
FAILURES = [(index, rule) for index, (_, rule) in enumerate(UNSAFE) if rule]


MISSED = {
    "up": "ALTER TABLE loans ADD COLUMN renewals int;",
    "rows": "2k",
    "workload": 'scripts = ["read.sql@1"]',
    "scripts": {"read.sql": "\\set c sample(branches.code)\nSELECT title FROM branches WHERE code = :c;\n"},
    "more": ALONE + PATIENT,
}
FAILING = {
    "up": "ALTER TABLE loans ADD COLUMN a int;\nALTER TABLE loans ADD COLUMN a int;",
    "rows": "2k",
    "more": ALONE,
}
CASES: dict[str, dict[str, Any]] = {
    "safe": {"up": SAFE, "more": PATIENT},
    # all that is unsafe, one after the other: structure decides, and no noise makes any of it go
    "unsafe": {"up": "\n".join(statement for statement, _ in UNSAFE), "more": ALONE},
    "missed": MISSED,
    "failing": FAILING,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    def case(name: str) -> Callable[[], Ran]:
        return functools.partial(rehearse_library, tmp_path_factory.mktemp(name), **CASES[name])

    with side_by_side({name: case(name) for name in CASES}) as running:
        yield running


@pytest.fixture
def unsafe(runs: dict[str, Future[Ran]]) -> Ran:
    return runs["unsafe"].result()


@pytest.mark.slow
def test_a_safe_change_goes(runs: dict[str, Future[Ran]]) -> None:
    ran = runs["safe"].result()
    against = ran.rules("failure") | ran.rules("unmeasured")
    assert against <= BY_CHANCE, ran.document["findings"]
    told = ("INCONCLUSIVE", 4) if against else ("GO", 0)
    assert (ran.verdict, ran.exit_code) == told


@pytest.mark.slow
@pytest.mark.parametrize(("statement", "rule"), FAILURES)
def test_an_unsafe_change_does_not_go(statement: int, rule: str, unsafe: Ran) -> None:
    assert (unsafe.verdict, unsafe.exit_code) == ("NO_GO", 1)
    found = [f for f in unsafe.document["findings"] if (f["statement_index"], f["rule"]) == (statement, rule)]
    assert found, unsafe.document["findings"]
    assert found[0]["severity"] == "failure"
    assert found[0]["advice"]


@pytest.mark.slow
def test_a_lock_held_for_a_known_time_is_measured_as_that(unsafe: Ran) -> None:
    lock, sleep, commit = (unsafe.document["statements"][index] for index in (LOCK, SLEEP, COMMIT))
    assert sleep["duration_s"] >= HELD_S  # a busy machine sleeps longer
    # transactions are due all the time, and their times count from then, whoever was busy
    assert unsafe.document["metrics"]["stall.max"] >= HELD_S - 0.3
    behind = [
        wait["at_least_s"]
        for wait in unsafe.document["lock_waits"]
        if wait["relation"] == "loans"
        and wait["waiter"]["role"] == "traffic"
        and wait["first_seen_s"] >= lock["start_s"]
        and any(blocker["statement_index"] in (LOCK, SLEEP, COMMIT) for blocker in wait["blockers"])
    ]
    observer = RunFolder(unsafe.folder).read_record().trials[0].observer
    assert observer is not None
    unseen_s = max((end - start for start, end in observer.gaps), default=0) / 1e9
    held = commit["start_s"] - _end_s(lock)
    assert held - unseen_s - 0.3 <= max(behind) <= _end_s(commit) - lock["start_s"] + 0.02


def _end_s(statement: dict[str, float]) -> float:
    return statement["start_s"] + statement["duration_s"]


@pytest.mark.slow
def test_a_table_that_the_workload_never_touches_is_not_passed(runs: dict[str, Future[Ran]]) -> None:
    ran = runs["missed"].result()
    assert (ran.verdict, ran.exit_code) == ("INCONCLUSIVE", 4)
    assert "loans" in ran.finding("workload-missed-table")["message"]


@pytest.mark.slow
def test_a_statement_that_fails_is_a_no_go_with_the_servers_words(runs: dict[str, Future[Ran]]) -> None:
    ran = runs["failing"].result()
    assert (ran.verdict, ran.exit_code) == ("NO_GO", 1)
    finding = ran.finding("migration-failed")
    assert finding["statement_index"] == 1
    assert 'column "a" of relation "loans" already exists' in finding["message"] + " ".join(
        finding["evidence"]
    )
