"""What a scenario needs of a server, looked for before anything is put into it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.server_facts import available_extensions
from rehearse.errors import ProvisionError
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision.server import Server

# Images whose purpose is to have them.
_IMAGES = {
    "postgis": "postgis/postgis",
    "postgis_raster": "postgis/postgis",
    "postgis_topology": "postgis/postgis",
    "vector": "pgvector/pgvector",
    "timescaledb": "timescale/timescaledb",
    "citus": "citusdata/citus",
    "age": "apache/age",
}


@contextlib.contextmanager
def with_extensions(provided: AbstractContextManager[Server], spec: DatabaseSpec) -> Iterator[Server]:
    """The same server; ProvisionError if it lacks extensions of `spec`, naming each."""
    with provided as server:
        if spec.extensions:
            with connect(server.target, "rehearse") as connection:
                available = available_extensions(connection)
            missing = tuple(name for name in spec.extensions if name not in available)
            if missing:
                raise _lacking(missing, available, server)
        yield server


def _lacking(missing: tuple[str, ...], available: frozenset[str], server: Server) -> ProvisionError:
    environment = server.environment
    names = ", ".join(repr(name) for name in missing)
    what = (
        f"the server ({environment.provisioner}, PostgreSQL {environment.server_version}) "
        f"does not have the extension{'s' if len(missing) > 1 else ''} {names}"
    )
    unknown = [name for name in missing if name not in _IMAGES]
    near = [match for name in unknown for match in difflib.get_close_matches(name, available, n=1)]
    if len(near) == len(missing):
        return ProvisionError(what, f"did you mean {', '.join(map(repr, near))}?")
    return ProvisionError(what, _MENDS[environment.provisioner].format(image=_image_for(missing)))


_MENDS = {
    "embedded": 'rehearse on an image that has them, provision = "docker:{image}", or on local:BINDIR',
    "docker": 'name an image that has them, such as provision = "docker:{image}"',
    "local": "install their packages for that PostgreSQL, or name an image that has them: docker:{image}",
    "dsn": "install them on that server, or name an image that has them: docker:{image}",
}


def _image_for(missing: tuple[str, ...]) -> str:
    return next((_IMAGES[name] for name in missing if name in _IMAGES), "IMAGE")
