"""What is particular to one kind of database server, wherever it runs: one engine, one implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Secret, Target
from rehearse.provision.server import Standby
from rehearse.provision.takeover import Takeover

if TYPE_CHECKING:
    from rehearse.provision.container import ContainerServer


class Reading(Protocol):
    """A server's log, read for the reason that it ended; never the text of anyone's rows. All of them give
    one line, or nothing.
    """

    def crash(self, text: str, /) -> str:
        """What tells of a crash."""

    def bad_setting(self, text: str, /) -> str:
        """Which setting the server would not start with."""

    def reason(self, text: str, /) -> str:
        """What says best why it ended or would not start."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a server may use, where that is not all of this machine (None); `limits` as they are recorded."""

    cpus: int | None = None
    memory_bytes: int | None = None
    limits: tuple[tuple[str, str], ...] = ()


class Product(Protocol):
    """PostgreSQL, MySQL or MariaDB: how it is set up, asked and read."""

    @property
    def example(self) -> str:
        """An image of it, `postgres:18`."""

    @property
    def port(self) -> int:
        """What it listens on in a container."""

    @property
    def data(self) -> str:
        """Where its files are in an image that declares no volume."""

    @property
    def log(self) -> Reading:
        """How its log is read."""

    def wrong_image(self, image: str) -> bool:
        """Whether the name says that another product is in that image."""

    def settings_for(self, memory_bytes: int, overrides: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Settings of a container's server by name, for that much memory; `overrides` come last."""

    def notes_for(self, settings: Mapping[str, str]) -> tuple[str, ...]:
        """What a reader of the report has to know about these settings."""

    def command(self, settings: Mapping[str, str]) -> list[str]:
        """The server with its settings, as an image that keeps the official one's contract takes it."""

    def secrets(self, password: Secret) -> dict[str, str]:
        """The variables that such an image is set up by."""

    def target(self, host: str, port: int, password: Secret) -> Target:
        """The maintenance database of a server that was set up so, as superuser."""

    def knock(self, target: Target) -> None:
        """Connect and let go; ServerLostError where that fails."""

    def examine(self, target: Target, spec: DatabaseSpec, memory_bytes: int) -> Takeover:
        """What of `spec.production` the server there, which runs without it, can take over. It has to be
        started anew afterwards.
        """

    def merged(self, settings: Mapping[str, str], takeover: Takeover) -> dict[str, str]:
        """The settings of a server with those taken over."""

    def confirmed(self, target: Target, takeover: Takeover) -> Takeover:
        """What of it is in force on the server there, which was started with it."""

    def describe(
        self, target: Target, provisioner: str, notes: tuple[str, ...], resources: Resources
    ) -> Environment:
        """What runs there; ProvisionError if it is too old or another product."""

    def standby_of(self, server: ContainerServer) -> AbstractContextManager[Standby]:
        """A second container that follows that one. See `Server.standby`."""
