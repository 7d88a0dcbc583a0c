"""The tool inside a container, as a CI job is, beside the database's: it needs the engine's socket alone."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearse.provision.clean import clean
from rehearse.provision.engine import engine_address, engine_client
from tests.provision.runs import ROOT, until

IMAGE = "postgres:18"
HOLDER = Path(__file__).with_name("holder.py")
SOCKET = "/var/run/docker.sock"
UP_WITHIN_S, GONE_WITHIN_S = 240.0, 60.0


@contextmanager
def job(client: Any) -> Iterator[Any]:
    """A container that holds a database in another one. It has this machine's programs, none of its files,
    processes or addresses, and no `docker` that it could call.
    """
    places = {"/usr", sys.prefix, sys.base_prefix, str(ROOT)}
    volumes = {place: {"bind": place, "mode": "ro"} for place in places}
    volumes[engine_address().removeprefix("unix://")] = {"bind": SOCKET, "mode": "rw"}
    settings = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TESTCONTAINERS_RYUK_DISABLED": "true",
    }
    container = client.containers.run(
        IMAGE,
        entrypoint=[sys.executable],
        command=[str(HOLDER), "idle", f"docker:{IMAGE}"],
        volumes=volumes,
        environment=settings,
        detach=True,
    )
    try:
        yield container
    finally:
        container.remove(force=True, v=True)
        clean()


def announced(container: Any) -> dict[str, Any]:
    """What the holder says once its server is up."""

    def ended() -> bool:
        container.reload()
        return str(container.status) == "exited"

    until(lambda: b"\n" in container.logs(stderr=False) or ended(), UP_WITHIN_S)
    said = container.logs(stderr=False)
    assert said, container.logs()
    words: dict[str, Any] = json.loads(said)
    return words


def databases_of(client: Any, container: Any) -> list[Any]:
    """The containers that were started from inside that one."""
    label = {"label": f"rehearse.host={container.id[:12]}"}
    found: list[Any] = client.containers.list(all=True, filters=label, ignore_removed=True)
    return found


@pytest.mark.container
def test_a_job_in_a_container_reaches_its_database_and_what_it_leaves_is_swept(
    container_images: frozenset[str],
) -> None:
    assert IMAGE in container_images
    with engine_client() as client:
        if client.info()["Name"] != socket.gethostname():
            pytest.skip("the engine is another machine's, which has no programs of this one to lend the job")
        with job(client) as container:
            words = announced(container)
            (database,) = databases_of(client, container)
            networks = database.attrs["NetworkSettings"]["Networks"].values()
            assert (words["host"], words["port"]) in [(each["IPAddress"], 5432) for each in networks]
            clean()
            assert databases_of(client, container), "it is the database of a job that runs"
            container.kill()
            container.wait()
            clean()
            until(lambda: not databases_of(client, container), GONE_WITHIN_S)
