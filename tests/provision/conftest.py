"""What there is to rehearse on, on the machine that runs the tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rehearse.errors import ProvisionError
from rehearse.provision.engine import engine_client

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
