"""A streaming standby beside a PostgreSQL server of ours: its slot, its name, and when it is ready."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.replication import drop_slot, no_room_for_a_standby, streams
from rehearse.errors import InputError, ProvisionError, RehearseError
from rehearse.model.target import Target
from rehearse.provision.server import Server

_NUMBERS = itertools.count(1)
_STREAMING_S = 60.0
_RELEASED_S = 20.0

# Set on a standby whatever the primary's own files say: without it, it would take no connections.
STANDBY_SETTINGS = {"hot_standby": "on"}


class StreamingStandby:
    """A server that follows another. See `Standby`."""

    def __init__(self, name: str, server: Server) -> None:
        self._name = name
        self._server = server

    @property
    def name(self) -> str:
        """Its `application_name` in the primary's pg_stat_replication, and its slot."""
        return self._name

    @property
    def target(self) -> Target:
        """The maintenance database, as superuser; every transaction there is read-only."""
        return self._server.target

    @property
    def pid(self) -> int | None:
        """Its postmaster, where that is a process of this machine that we started."""
        return self._server.pid

    @property
    def data_directory(self) -> Path | None:
        """Its files, where they are ours."""
        return self._server.data_directory

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._server.alive()

    def last_words(self) -> str:
        """Why it ended."""
        return self._server.last_words()

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._server.kill()

    def restart(self) -> None:
        """Start it again on its data; it goes on where it stopped."""
        self._server.restart()

    def wait_streaming(self, primary: Target) -> None:
        """Until the primary says that it follows; ProvisionError if it ends or takes too long."""
        deadline = time.monotonic() + _STREAMING_S
        with connect(primary, "rehearse") as connection:
            while not streams(connection, self._name):
                if not self.alive():
                    raise ProvisionError(f"the standby ended: {self.last_words()}")
                if time.monotonic() > deadline:
                    raise ProvisionError(f"the standby did not follow within {_STREAMING_S:.0f} s")
                time.sleep(0.02)


@contextlib.contextmanager
def place_for_standby(primary: Server) -> Iterator[str]:
    """A name that no other standby of `primary` has; its slot, if it was made, is dropped at the end.

    InputError where the primary's settings leave no room for one.
    """
    with connect(primary.target, "rehearse") as connection:
        lacking = no_room_for_a_standby(connection)
    if lacking:
        raise InputError(f"the server can have no standby: {lacking}", "mend it in [database.settings]")
    name = f"rehearse_standby_{next(_NUMBERS)}"
    try:
        yield name
    finally:
        # a primary that is dead or gone keeps no log for anyone
        with contextlib.suppress(RehearseError, psycopg.Error):
            _release(primary.target, name)


def _release(primary: Target, name: str) -> None:
    """Drop the slot, once the primary has noticed that its standby is gone. One that never notices is lost
    with the primary a little later.
    """
    deadline = time.monotonic() + _RELEASED_S
    with connect(primary, "rehearse") as connection:
        while not drop_slot(connection, name) and time.monotonic() < deadline:
            time.sleep(0.02)
