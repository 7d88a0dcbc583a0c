"""The files of a server process of our own, whatever its engine: where they are and what they tell."""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rehearse.errors import InputError, ProvisionError, RehearseError
from rehearse.model.record import Environment
from rehearse.model.target import Secret, Target
from rehearse.provision import machine
from rehearse.provision.guarded import Account, Guarded
from rehearse.provision.private import text_of
from rehearse.provision.product import Reading
from rehearse.provision.server import Standby
from rehearse.provision.sweep import sweep_directories

if TYPE_CHECKING:
    from rehearse.provision.own import OwnServer

SOCKET_PATH_LIMIT = 107  # bytes in a Unix socket's address

_IN_MEMORY = "its files are in memory, which no production's are"


@dataclass(frozen=True, slots=True)
class Files(ABC):
    """The files of one server in a private directory, and what it takes to run it: an engine each."""

    directory: Path
    account: Account | None
    password: Secret

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server, and what made its files, prints."""
        return self.directory / "log"

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """How that is read."""

    @property
    @abstractmethod
    def shutdown(self) -> signal.Signals:
        """The signal that ends it in order, whoever is connected."""

    @abstractmethod
    def start(self, guarded: Guarded, port: int) -> int:
        """Start it and wait until it takes connections; its pid. ProvisionError or InputError."""

    @abstractmethod
    def target(self, port: int) -> Target:
        """The maintenance database, as superuser."""

    @abstractmethod
    def describe(self, target: Target, provisioner: str, notes: tuple[str, ...]) -> Environment:
        """What runs there."""

    @abstractmethod
    def unneeded(self) -> Callable[[str], bool]:
        """Which files of a data directory that was shut down in order a copy does not need, by their paths
        in it.
        """

    @abstractmethod
    def standby_of(self, server: OwnServer) -> AbstractContextManager[Standby]:
        """A second server that follows that one. See `Server.standby`."""

    def failure(self, what: str) -> RehearseError:
        """What to raise where the log says why a program of it failed."""
        text = text_of(self.log)
        setting = self.reading.bad_setting(text)
        if setting:
            return InputError(f"{what}: {setting}", "mend [database.settings]")
        if "No space left on device" in text:
            machine.require_space(self.directory)  # says how much is needed and free
        return ProvisionError(f"{what}: {self.reading.reason(text) or 'its log says nothing'}")


@contextlib.contextmanager
def private_place(account: Account | None) -> Iterator[tuple[Guarded, tuple[str, ...]]]:
    """Where the files of a server that runs as `account` go, with what a report has to say of it. What dead
    runs left beside it is removed first.
    """
    base = machine.base_directory(account)
    sweep_directories(base)
    with Guarded(base, account) as guarded:
        yield guarded, (_IN_MEMORY,) if machine.in_memory(base) else ()
