"""The same scenario has the same verdict wherever it is rehearsed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Severity
from rehearse.provision import Server
from rehearse.rehearsal import rehearse
from rehearse.scenario.load import load_scenario
from tests.provision.runs import FAILS, GOES, write_case

KINDS = ("embedded", "local", "docker:postgres:17", "docker:postgres:18", "dsn")
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


def rehearsed(folder: Path, provision: str, up: str) -> RunRecord:
    scenario = load_scenario(write_case(folder, provision=provision, up=up, baseline="4s"))
    disposable = "place" if provision.startswith("postgresql:") else None
    return rehearse(scenario, folder / "reports", disposable=disposable, on_status=lambda _: None).record


@pytest.mark.parametrize("kind", PLACES)
def test_one_goes_and_one_does_not_everywhere(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place(kind, request) as provision:
        for up, verdict, rules in ((GOES, "GO", set()), (FAILS, "NO_GO", {"rewrite-under-lock"})):
            record = rehearsed(tmp_path, provision, up)
            assert record.judgement is not None
            failures = {f.rule for f in record.judgement.findings if f.severity is Severity.FAILURE}
            assert record.judgement.verdict.value == verdict, record.judgement.findings
            assert failures >= rules
            assert record.environment is not None
            assert record.environment.provisioner == kind.partition(":")[0]
            assert "://" not in repr(record.environment)
