"""Provision: a database server to rehearse on, embedded, local, in a container, or one that exists."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rehearse.model.scenario import DatabaseSpec
from rehearse.provision.requirements import with_extensions
from rehearse.provision.server import Fill, Server
from rehearse.provision.table import choose

__all__ = ["Server", "provision"]


def provision(
    spec: DatabaseSpec, *, disposable: str | None = None, fill: Fill | None = None
) -> AbstractContextManager[Server]:
    """A server as `spec` says, for as long as the context lasts.

    `disposable` names the one database on an existing server (a DSN) that may be destroyed. `fill` makes
    the data directory of an embedded or local server, in place of an empty one. Raises
    ProvisionError if the server cannot be had, InputError if `spec` names none, NotDisposableError if a
    DSN's database is not known to be expendable.
    """
    provisioner, request = choose(spec, disposable, fill)
    return with_extensions(provisioner(request), spec)
