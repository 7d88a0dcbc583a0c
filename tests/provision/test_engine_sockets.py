"""The container engine is found where it listens, and named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound
from requests.exceptions import RequestException
from urllib3.exceptions import ProtocolError

from rehearse.errors import ProvisionError
from rehearse.provision import doctor, engine
from rehearse.provision.engine import (
    engine_address,
    engine_client,
    engine_kind,
    labels,
    plain,
    sweep_containers,
)
from tests.provision.relay import Relay


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine on which nothing says where an engine listens; its path is short enough for a socket."""
    directory = Path(tempfile.mkdtemp(prefix="s-"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.setenv(name, "")  # so that it is put back, whoever sets it
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory / "config"))
    monkeypatch.setattr(engine, "_DEFAULT_SOCKET", directory / "var" / "docker.sock")
    monkeypatch.setattr(engine, "_SYSTEM_SOCKETS", (directory / "run" / "podman.sock",))
    yield directory
    shutil.rmtree(directory)


def by_environment(path: Path) -> None:
    os.environ["DOCKER_HOST"] = f"unix://{path}"


def by_context(path: Path) -> None:
    """As `docker context create rootless --docker host=...; docker context use rootless` leaves it."""
    config = Path(os.environ["DOCKER_CONFIG"])
    meta = config / "contexts" / "meta" / hashlib.sha256(b"rootless").hexdigest()
    meta.mkdir(parents=True)
    (config / "config.json").write_text(json.dumps({"currentContext": "rootless"}))
    endpoints = {"docker": {"Host": f"unix://{path}", "SkipTLSVerify": False}}
    words = {"Name": "rootless", "Metadata": {}, "Endpoints": endpoints}
    (meta / "meta.json").write_text(json.dumps(words))


def by_itself(_path: Path) -> None:
    """Nothing says it; the socket is a usual one."""


@pytest.mark.container
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("docker.sock", by_itself),  # rootless Docker
        ("podman/podman.sock", by_itself),  # rootless Podman
        ("run/podman.sock", by_itself),  # the system's Podman
        ("else.sock", by_environment),
        ("else.sock", by_context),
    ],
)
def test_it_is_found_and_the_doctor_names_it(
    place: str, said: Callable[[Path], None], home: Path, container_images: frozenset[str]
) -> None:
    path = home / place
    path.parent.mkdir(exist_ok=True)
    stale = home / "var"
    stale.mkdir()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(stale / "docker.sock"))  # an engine that is installed and does not run
    with Relay(path):
        said(path)
        (check,) = (check() for check in (doctor.containers,))
        assert check.ok, check.detail
        assert f" at unix://{path}: " in check.detail
        assert check.detail.startswith(("Docker ", "rootless Docker ", "Podman "))
        assert all(tag in check.detail for tag in container_images if tag.startswith("postgres:"))
        with engine_client() as client:
            assert client.ping()


def test_where_none_listens_the_usual_place_is_named(home: Path) -> None:
    with pytest.raises(ProvisionError, match=r"var/docker\.sock does not exist; install Docker or Podman"):
        engine_address()
    assert "DOCKER_HOST" not in os.environ
    check = doctor.containers()
    assert not check.ok
    assert "only needed for docker:IMAGE: install Docker or Podman" in check.mend
    assert str(home) in check.detail


@pytest.mark.parametrize(
    ("version", "info", "kind"),
    [
        ({"Components": [{"Name": "Engine"}]}, {"SecurityOptions": ["name=seccomp"]}, "Docker"),
        ({"Components": [{"Name": "Engine"}]}, {"SecurityOptions": ["name=rootless"]}, "rootless Docker"),
        ({"Components": [{"Name": "Podman Engine"}]}, {"SecurityOptions": ["name=rootless"]}, "Podman"),
        ({}, {}, "Docker"),
    ],
)
def test_its_kind_is_what_it_says(version: dict[str, Any], info: dict[str, Any], kind: str) -> None:
    assert engine_kind(SimpleNamespace(version=lambda: version, info=lambda: info)) == kind


@pytest.mark.parametrize(
    ("status", "swept"), [("running", False), ("paused", False), ("exited", True), (None, True)]
)
def test_what_a_dead_ci_container_started_is_swept(status: str | None, swept: bool) -> None:
    """Its process is in another namespace; whether it lives, the engine knows."""
    removed: list[str] = []

    def get(name: str) -> SimpleNamespace:
        assert name == "0123456789ab"
        if status is None:
            raise NotFound("gone")
        return SimpleNamespace(status=status)

    left = SimpleNamespace(
        labels=labels() | {"rehearse.host": "0123456789ab"},
        name="left",
        attrs={"Config": {"Image": "postgres:18"}},
        remove=lambda **_words: removed.append("left"),
    )
    client = SimpleNamespace(
        containers=SimpleNamespace(list=lambda **_words: [left], get=get),
        networks=SimpleNamespace(list=lambda **_words: []),
    )
    assert sweep_containers(client) == (("container left (postgres:18)",) if swept else ())
    assert bool(removed) is swept


def test_what_the_system_said_is_told_without_the_wrapping() -> None:
    wrapped = RequestException(ProtocolError("Connection aborted.", ConnectionRefusedError(111, "refused")))
    assert plain(wrapped) == "nobody listens on its socket"
    assert plain(OSError(2, "No such file or directory")) == "its socket is gone"
    assert plain(ValueError("first\nsecond")) == "first"
