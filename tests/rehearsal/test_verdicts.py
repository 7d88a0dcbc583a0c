"""The right verdict, for the right reason, on the right statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.rehearsal.conftest import Ran, rehearse_library

# Each whole rehearsal here stands for its kind; `make conformance` runs the others, under traffic, too.
GOES = {
    "an index, concurrently": "CREATE INDEX CONCURRENTLY loans_due_idx ON loans (due_on);",
    "a foreign key in two steps": (
        "SET lock_timeout = '2s';\n"
        "ALTER TABLE loans ADD CONSTRAINT loans_branch_fk\n"
        "    FOREIGN KEY (branch_code) REFERENCES branches NOT VALID;\n"
        "ALTER TABLE loans VALIDATE CONSTRAINT loans_branch_fk;"
    ),
    "not null over a valid check": (
        "ALTER TABLE loans ADD CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID;\n"
        "ALTER TABLE loans VALIDATE CONSTRAINT note_there;\n"
        "ALTER TABLE loans ALTER COLUMN note SET NOT NULL;\n"
        "ALTER TABLE loans DROP CONSTRAINT note_there;"
    ),
}

FAILS = {
    "a volatile default": (
        "ALTER TABLE loans ADD COLUMN token uuid DEFAULT gen_random_uuid();",
        "rewrite-under-lock",
        0,
    ),
    "not null": ("ALTER TABLE loans ALTER COLUMN note SET NOT NULL;", "scan-under-lock", 0),
    "a foreign key": (
        "ALTER TABLE loans ADD FOREIGN KEY (branch_code) REFERENCES branches;",
        "scan-under-lock",
        0,
    ),
    "an index": ("CREATE INDEX ON loans (due_on);", "index-build-blocks-writes", 0),
    "a renamed column": ("ALTER TABLE loans RENAME COLUMN note TO remark;", "breaks-running-application", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", GOES)
def test_a_safe_change_goes(case: str, library: Callable[..., Ran]) -> None:
    ran = library(GOES[case])
    assert (ran.verdict, ran.exit_code) == ("GO", 0), ran.document["findings"]


@pytest.fixture(scope="module")
def unsafe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    """All unsafe changes, three at a time: structure decides, and no noise makes one of them go."""
    with ThreadPoolExecutor(3) as pool:
        yield {
            case: pool.submit(rehearse_library, tmp_path_factory.mktemp("unsafe"), up)
            for case, (up, _rule, _statement) in FAILS.items()
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", FAILS)
def test_an_unsafe_change_does_not_go(case: str, unsafe: dict[str, Future[Ran]]) -> None:
    _up, rule, statement = FAILS[case]
    ran = unsafe[case].result()
    assert (ran.verdict, ran.exit_code) == ("NO_GO", 1)
    assert rule in ran.rules("failure"), ran.document["findings"]
    finding = ran.finding(rule)
    assert finding["statement_index"] == statement
    assert finding["advice"]


@pytest.mark.slow
def test_a_lock_held_for_a_known_time_is_measured_as_that(library: Callable[..., Ran]) -> None:
    ran = library("BEGIN;\nLOCK TABLE loans;\nSELECT pg_sleep(1.5);\nCOMMIT;")
    assert ran.verdict == "NO_GO"
    _begin, lock, sleep, commit = ran.document["statements"]
    assert sleep["duration_s"] >= 1.5  # a busy machine sleeps longer
    held = _end_s(commit) - _end_s(lock)
    assert ran.document["metrics"]["stall.max"] == pytest.approx(held, rel=0.05)
    behind = [
        wait["at_least_s"]
        for wait in ran.document["lock_waits"]
        if wait["waiter"]["role"] == "traffic" and wait["relation"] == "loans"
    ]
    assert held - 0.1 <= max(behind) <= held + 0.02


def _end_s(statement: dict[str, float]) -> float:
    return statement["start_s"] + statement["duration_s"]


@pytest.mark.slow
def test_a_table_that_the_workload_never_touches_is_not_passed(library: Callable[..., Ran]) -> None:
    script = "SELECT title FROM branches WHERE code = :c;\n"
    ran = library(
        "ALTER TABLE loans ADD COLUMN renewals int;",
        workload='scripts = ["read.sql@1"]',
        scripts={"read.sql": "\\set c sample(branches.code)\n" + script},
    )
    assert (ran.verdict, ran.exit_code) == ("INCONCLUSIVE", 4)
    assert "loans" in ran.finding("workload-missed-table")["message"]


@pytest.mark.slow
def test_a_statement_that_fails_is_a_no_go_with_the_servers_words(library: Callable[..., Ran]) -> None:
    ran = library("ALTER TABLE loans ADD COLUMN a int;\nALTER TABLE loans ADD COLUMN a int;")
    assert (ran.verdict, ran.exit_code) == ("NO_GO", 1)
    finding = ran.finding("migration-failed")
    assert finding["statement_index"] == 1
    assert 'column "a" of relation "loans" already exists' in finding["message"] + " ".join(
        finding["evidence"]
    )
