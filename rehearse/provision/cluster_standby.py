"""A standby beside a PostgreSQL server of our own: a base backup, and a second server on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import conninfo

from rehearse.errors import ProvisionError
from rehearse.model.target import Target
from rehearse.provision import machine
from rehearse.provision.guarded import Guarded
from rehearse.provision.own import OwnServer
from rehearse.provision.private import own_directory, own_file
from rehearse.provision.server import Standby
from rehearse.provision.standby import STANDBY_SETTINGS, StreamingStandby, place_for_standby

if TYPE_CHECKING:
    from rehearse.provision.cluster import Cluster

_BACKUP_S = 3600.0


@contextlib.contextmanager
def beside(server: OwnServer, cluster: Cluster) -> Iterator[Standby]:
    """A second server from the programs of `cluster`, which `server` runs on, with a warden of its own."""
    base, account = cluster.directory.parent, cluster.account
    with place_for_standby(server) as name, Guarded(base, account) as guarded:
        machine.require_space(base)
        copy = replace(cluster, directory=guarded.directory)
        overrides = STANDBY_SETTINGS | {"unix_socket_directories": copy.socket_directory()}
        copy = replace(copy, overrides=overrides)
        back_up(server.target, name, copy, guarded)
        standby = StreamingStandby(name, OwnServer(copy, guarded))
        standby.wait_streaming(server.target)
        yield standby


def back_up(primary: Target, name: str, cluster: Cluster, guarded: Guarded) -> None:
    """Copy the running `primary` to the cluster's data directory, ready to follow it as `name`."""
    program = cluster.install.bindir / "pg_basebackup"
    if not program.is_file():
        raise ProvisionError(
            f"no pg_basebackup in {cluster.install.bindir}, which makes a standby",
            "install the client's package of that version beside the server's",
        )
    assert primary.password is not None
    password_file = cluster.directory / "passfile"  # the standby reads it whenever it connects
    own_file(password_file, f"*:*:*:*:{primary.password.reveal()}", cluster.account)
    words = primary.conninfo(name) | {"passfile": str(password_file)}
    del words["password"], words["dbname"]
    argv: list[str | Path] = [
        program,
        "-D",
        cluster.data,
        f"--dbname={conninfo.make_conninfo('', **words)}",
        "--write-recovery-conf",
        "--create-slot",
        f"--slot={name}",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-sync",
        "--no-manifest",
    ]
    own_directory(cluster.data, cluster.account)
    if guarded.run(argv, cluster.env, cluster.log, _BACKUP_S) != 0:
        raise cluster.failure("the standby's base backup failed")
