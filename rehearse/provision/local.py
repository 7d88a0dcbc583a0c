"""`local:BINDIR`: a server of our own from a PostgreSQL that is installed on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rehearse.provision.binaries import local_installation
from rehearse.provision.cluster import own_server
from rehearse.provision.server import Request, Server


def provide(request: Request) -> AbstractContextManager[Server]:
    """A fresh server from the programs in that directory; data and settings of any other are not used."""
    return own_server(local_installation(request.argument), "local", request)
