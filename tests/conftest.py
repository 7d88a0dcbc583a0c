"""One server a session, a fresh database a test, and a guard that nothing is left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A session that leaves a server process or a server's directory has failed."""
    directory = session.config.stash[_TEMPORARY]
    left = [*_processes_under(directory), *map(str, directory.glob("rehearse-*"))]
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nleft behind by the tests:", *left, sep="\n  ")  # noqa: T201 - pytest shows it


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's directory."""
    shutil.rmtree(config.stash[_TEMPORARY], ignore_errors=True)


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
