"""What a provisioner provides, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target


class Running(Protocol):
    """A database server that runs: the one to rehearse on, or a standby beside it."""

    @property
    def target(self) -> Target:
        """Its maintenance database, as a user who may create databases; `.on(...)` for another."""

    @property
    def pid(self) -> int | None:
        """Its main process, where that is one of this machine that we started."""

    @property
    def data_directory(self) -> Path | None:
        """Its files, where they are ours."""

    def alive(self) -> bool:
        """Whether it still runs."""

    def last_words(self) -> str:
        """Why it ended, in one line from its log without anyone's data; empty if it runs or nobody knows."""

    def kill(self) -> None:
        """Kill it at once, as a crash would. EnvironmentFailure where it is not ours to kill."""

    def restart(self) -> None:
        """Start it again after it ended or was killed, on the same data and address."""


class Elsewhere:
    """What holds of a `Running` server that is no process of ours: in a container, or somebody else's."""

    @property
    def pid(self) -> int | None:
        """None: its processes are not ours."""
        return None

    @property
    def data_directory(self) -> Path | None:
        """None: its files are not ours."""
        return None


class Server(Running, Protocol):
    """A running database server to rehearse on."""

    @property
    def environment(self) -> Environment:
        """What it is and runs on, as it goes into the record."""

    def standby(self) -> AbstractContextManager[Standby]:
        """A standby that follows it, for as long as the context lasts; see `Standby`.

        ProvisionError where there can be none (a server that is not ours, programs that are missing, no
        room on the disk), InputError where the user's settings forbid it (wal_level, max_wal_senders).
        """


@runtime_checkable
class Pausable(Protocol):
    """A server whose files can be had while it is not running: one of our own."""

    def paused(self) -> AbstractContextManager[tuple[Path, Callable[[str], bool]]]:
        """The data directory while no server runs on it, shut down in order, and which of its files (by
        their paths in it) a copy does not need. Afterwards the server runs again.
        """


class Standby(Running, Protocol):
    """A streaming physical standby beside a `Server`: same version, settings, users and databases.

    ::

        with server.standby() as standby:
            with connect(standby.target.on("rehearse_trial"), "rehearse") as reader:  # read-only
                ...
            with connect(server.target, "rehearse") as connection:
                connection.execute(
                    "SELECT replay_lag FROM pg_stat_replication WHERE application_name = %s", (standby.name,)
                )

    It is a base backup taken when the context is entered, so every database that the server has by then is
    on it, and those made later follow; that takes as long as copying the server's files does, and as much
    disk. When the context is entered it takes connections and is sent the log as it is written. It follows
    over a slot, so that however far it falls behind it can catch up (the primary keeps the log meanwhile).

    `hot_standby_feedback` (off), `max_standby_streaming_delay` (30 s) and `synchronous_standby_names`
    (empty: commits do not wait for it) are as shipped unless `[database.settings]` says otherwise, so that
    conflicts between replay and queries are seen: SQLSTATE 40001 for a query that was cancelled,
    pg_stat_database_conflicts on the standby for the count, replay_lag meanwhile.

    Killed, it leaves the server going; started again, it goes on where it stopped. It dies with us as the
    server does, and on leaving the context it, its files and its slot are gone.
    """

    @property
    def name(self) -> str:
        """Its application_name in the primary's pg_stat_replication, and the name of its slot."""


Fill: TypeAlias = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted: `argument` is what follows the provisioner's prefix (`docker:IMAGE`), or the DSN.

    `disposable` is the name of the database that the user said may be destroyed. `fill` makes the data
    directory of a server of our own, where it is to start on files that were shut down in order before.
    """

    spec: DatabaseSpec
    argument: str = ""
    disposable: str | None = None
    fill: Fill | None = None


class Provisioner(Protocol):
    """Provides a server for as long as the context lasts; ProvisionError or InputError if it cannot."""

    def __call__(self, request: Request) -> AbstractContextManager[Server]:
        """The server, ready for connections when the context is entered; gone, or ours no more, after."""
