"""What there is to rehearse on, on the machine that runs the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rehearse.errors import ProvisionError
from rehearse.model.target import EngineName
from rehearse.provision.engine import engine_client
from tests.provision.deaths import place
from tests.provision.mysql_programs import programs_of
from tests.provision.runs import until

# With this set, a machine without a container engine fails the tests instead of skipping some.
CONTAINERS_REQUIRED = os.environ.get("REHEARSE_REQUIRE_CONTAINERS") == "1"


@pytest.fixture(scope="session")
def local_bindir() -> Path:
    """The programs of an installed PostgreSQL, or a skip that says where there was none."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if on_path:
        places.append(Path(on_path).resolve())
    if not places:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql/*/bin and none on the PATH")
    return places[-1].parent


@pytest.fixture(scope="session")
def container_images() -> frozenset[str]:
    """The tags that the container engine has, or a skip (a failure where containers are required)."""
    try:
        with engine_client() as client:
            return frozenset(tag for image in client.images.list() for tag in image.tags)
    except ProvisionError as error:
        if CONTAINERS_REQUIRED:
            pytest.fail(f"REHEARSE_REQUIRE_CONTAINERS=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for servers, which an unprivileged user can pass through; they are gone in the end."""
    with place() as directory:
        yield directory
        until(lambda: not any(directory.glob("rehearse-*")), 60)  # a warden may still be at it


MYSQL_IMAGES = {EngineName.MYSQL: "mysql:9.7", EngineName.MARIADB: "mariadb:11.8"}


@pytest.fixture(scope="session")
def mysql_bindir(container_images: frozenset[str]) -> Iterator[Callable[[EngineName], Path]]:
    """The programs of a MySQL or a MariaDB server, taken out of its image when first asked for."""
    # not a fixture's usual place, where a server's unprivileged user may not look
    directory = Path(tempfile.mkdtemp(prefix="programs-"))
    found: dict[EngineName, Path] = {}

    def of(engine: EngineName) -> Path:
        if engine not in found:
            image = MYSQL_IMAGES[engine]
            assert image in container_images
            (directory / engine.value).mkdir()
            found[engine] = programs_of(image, directory / engine.value)
        return found[engine]

    directory.chmod(0o755)
    yield of
    shutil.rmtree(directory)
