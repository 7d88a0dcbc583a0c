"""The same scenario has the same verdict wherever it is rehearsed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Severity, Verdict
from rehearse.provision import Server
from rehearse.rehearsal import rehearse
from rehearse.scenario.load import load_scenario
from tests.provision.runs import FAILS, GOES, write_case

KINDS = ("embedded", "local", "docker:postgres:18", "dsn")
PLACES = [
    pytest.param(kind, marks=[pytest.mark.container] if kind.startswith("docker") else []) for kind in KINDS
]


@contextmanager
def a_database_beside(server: Server) -> Iterator[str]:
    """An empty database that no run made, by its DSN."""
    with connect(server.target, "rehearse") as connection:
        connection.execute("CREATE DATABASE place")
        words = server.target.conninfo("x")
        try:
            yield f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/place"
        finally:
            connection.execute("DROP DATABASE place")


@contextmanager
def place(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """What `provision` has to say to rehearse there."""
    if kind == "dsn":
        with a_database_beside(request.getfixturevalue("server")) as dsn:
            yield dsn
    elif kind == "local":
        yield f"local:{request.getfixturevalue('local_bindir')}"
    else:
        if kind.startswith("docker:"):
            images = request.getfixturevalue("container_images")
            if kind.removeprefix("docker:") not in images:
                reason = f"image {kind.removeprefix('docker:')} is not there"
                (pytest.fail if os.environ.get("REHEARSE_REQUIRE_CONTAINERS") == "1" else pytest.skip)(reason)
        yield kind


# The first statement is safe and the second is not.
BOTH = f"{GOES}\n{FAILS}"
# One trial, and gates that no machine that is busy with other things breaks.
STEADY = """
[trials]
run = "traffic"

[gates]
"stall.max" = "<= 5m"
"latency.p99{phase=migration}" = "off"
"blocking.projected" = "<= 30s"
"""
# What such a machine may be found at even so.
BY_CHANCE = {"driver-behind", "sampler-gap"}


def rehearsed(folder: Path, provision: str, up: str) -> RunRecord:
    case = write_case(
        folder, provision=provision, up=up, rows="10k", baseline="1s", production_rows="500M", more=STEADY
    )
    disposable = "place" if provision.startswith("postgresql:") else None
    scenario = load_scenario(case)
    return rehearse(scenario, folder / "reports", disposable=disposable, on_status=lambda _: None).record


@pytest.mark.parametrize("kind", PLACES)
def test_an_unsafe_statement_is_told_from_a_safe_one_everywhere(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place(kind, request) as provision:
        record = rehearsed(tmp_path, provision, BOTH)
    assert record.judgement is not None
    failures = {(f.rule, f.statement) for f in record.judgement.findings if f.severity is Severity.FAILURE}
    assert record.judgement.verdict is Verdict.NO_GO
    assert ("rewrite-under-lock", 1) in failures
    assert not [rule for rule, statement in failures if statement == 0]
    assert record.environment is not None
    assert record.environment.provisioner == kind.partition(":")[0]
    assert "://" not in repr(record.environment)


@pytest.mark.parametrize("kind", [pytest.param("docker:postgres:17", marks=pytest.mark.container), "dsn"])
def test_a_safe_one_alone_goes(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On servers of our own, other tests show it."""
    with place(kind, request) as provision:
        record = rehearsed(tmp_path, provision, GOES)
    assert record.judgement is not None
    against = {
        f.rule for f in record.judgement.findings if f.severity in (Severity.FAILURE, Severity.UNMEASURED)
    }
    assert against <= BY_CHANCE
    assert record.judgement.verdict is (Verdict.INCONCLUSIVE if against else Verdict.GO)
