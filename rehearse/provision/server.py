"""What a provisioner provides, and what it is asked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target


class Server(Protocol):
    """A running database server to rehearse on."""

    @property
    def target(self) -> Target:
        """Its maintenance database, as a user who may create databases."""

    @property
    def environment(self) -> Environment:
        """What it is and runs on, as it goes into the record."""

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


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted: `argument` is what follows the provisioner's prefix (`docker:IMAGE`), or the DSN.

    `disposable` is the name of the database that the user said may be destroyed.
    """

    spec: DatabaseSpec
    argument: str = ""
    disposable: str | None = None


class Provisioner(Protocol):
    """Provides a server for as long as the context lasts; ProvisionError or InputError if it cannot."""

    def __call__(self, request: Request) -> AbstractContextManager[Server]:
        """The server, ready for connections when the context is entered; gone, or ours no more, after."""
