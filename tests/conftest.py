"""One server a session, a fresh database a test, and a guard that nothing is left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import RehearseError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.provision.binaries import embedded_installation

_NUMBERS = itertools.count(1)
_TEMPORARY = pytest.StashKey[Path]()
_GONE_WITHIN_S = 60.0
# how long an example takes says more of the machine than of the code, and the same code is given the same
# examples each time
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")
# testcontainers' reaper is an image of its own, which a machine without a registry cannot fetch; what our
# containers leave is removed by our own sweep
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
# a test makes its own data, and leaves none of it behind
os.environ["REHEARSE_CACHE"] = "off"


def pytest_configure(config: pytest.Config) -> None:
    """Every server of this session, of child processes too, lives under one directory of its own."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # pytest's own stays where it was
    directory = Path(tempfile.mkdtemp(prefix="rehearse-tests-"))
    directory.chmod(0o711)  # a server's unprivileged user passes through
    config.stash[_TEMPORARY] = directory
    os.environ["TMPDIR"] = str(directory)
    tempfile.tempdir = None


def pytest_report_header() -> str:
    """Which server the tests run on."""
    try:
        version = ".".join(map(str, embedded_installation().version()))
    except RehearseError as error:
        return f"server: {error}"
    return f"server: embedded PostgreSQL {version}"


@pytest.hookimpl(trylast=True)  # a session that is stopped early has ended its fixtures by then
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A session that leaves a server process or a server's directory has failed. What ends by itself, as a
    server whose test was killed, is given time to.
    """
    directory = session.config.stash[_TEMPORARY]
    until = time.monotonic() + _GONE_WITHIN_S
    while (left := _left_under(directory)) and time.monotonic() < until:
        time.sleep(0.2)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nleft behind by the tests:", *left, sep="\n  ")  # noqa: T201 - pytest shows it


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's directory."""
    shutil.rmtree(config.stash[_TEMPORARY], ignore_errors=True)


def _left_under(directory: Path) -> list[str]:
    return [*_processes_under(directory), *map(str, directory.glob("rehearse-*"))]


def _processes_under(directory: Path) -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(directory)) for word in words):
            yield f"process {process.pid}: {' '.join(words)[:120]}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded server, one for all tests."""
    with provision(DatabaseSpec()) as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Target]:
    """A fresh, empty database on the embedded server; dropped afterwards, whoever is still connected."""
    name = f"test_{next(_NUMBERS)}"
    create_database(server.target, name)
    try:
        yield server.target.on(name)
    finally:
        drop_database(server.target, name)
