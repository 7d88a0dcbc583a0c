"""MySQL and MariaDB as products that are provided; see `Product`."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearse.engines.mysql.connect import Connection, connect
from rehearse.engines.mysql.server_facts import (
    changed_settings,
    known_settings,
    refusals,
    server_version,
)
from rehearse.errors import ProvisionError
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import machine, mysql_log, mysql_settings
from rehearse.provision.mysql_takeover import Here, in_force, option, take_over
from rehearse.provision.product import Product, Reading, Resources
from rehearse.provision.server import Standby
from rehearse.provision.takeover import Takeover

if TYPE_CHECKING:
    from rehearse.provision.container import ContainerServer

OLDEST = {EngineName.MYSQL: (8, 0), EngineName.MARIADB: (10, 5)}
TITLES = {EngineName.MYSQL: "MySQL", EngineName.MARIADB: "MariaDB"}
_SERVERS = {EngineName.MYSQL: "mysqld", EngineName.MARIADB: "mariadbd"}
_EXAMPLES = {EngineName.MYSQL: "mysql:9.7", EngineName.MARIADB: "mariadb:11.8"}
_ROOT = {EngineName.MYSQL: "MYSQL_ROOT_PASSWORD", EngineName.MARIADB: "MARIADB_ROOT_PASSWORD"}
_OTHERS = {
    EngineName.MYSQL: re.compile(r"(^|[/-])(postgres|postgis|pgvector|timescale|mariadb)"),
    EngineName.MARIADB: re.compile(r"(^|[/-])(postgres|postgis|pgvector|timescale|mysql|percona)"),
}
_USER = "root"  # the only one that the images always make
_DATABASE = "mysql"


@dataclass(frozen=True, slots=True)
class MySQL:
    """See `Product`. `engine` says which of the two."""

    engine: EngineName

    @property
    def example(self) -> str:
        """An image."""
        return _EXAMPLES[self.engine]

    @property
    def port(self) -> int:
        """As assigned to MySQL."""
        return 3306

    @property
    def data(self) -> str:
        """Where the official images have it."""
        return "/var/lib/mysql"

    @property
    def log(self) -> Reading:
        """The error log."""
        return mysql_log

    def wrong_image(self, image: str) -> bool:
        """Whether it says PostgreSQL, or the other of the two."""
        return _OTHERS[self.engine].search(image) is not None

    def settings_for(self, memory_bytes: int, overrides: Iterable[tuple[str, str]]) -> dict[str, str]:
        """For that much memory."""
        return mysql_settings.settings_for(self.engine, memory_bytes, overrides)

    def notes_for(self, settings: Mapping[str, str]) -> tuple[str, ...]:
        """Whether events are off."""
        return mysql_settings.notes_for(settings)

    def command(self, settings: Mapping[str, str]) -> list[str]:
        """`mysqld --name=value ...`."""
        return [_SERVERS[self.engine], *mysql_settings.arguments(settings)]

    def secrets(self, password: Secret) -> dict[str, str]:
        """The password of root."""
        return {_ROOT[self.engine]: password.reveal()}

    def target(self, host: str, port: int, password: Secret) -> Target:
        """The database `mysql`."""
        return Target(self.engine, host, port, _DATABASE, _USER, password, disposable=True)

    def knock(self, target: Target) -> None:
        """Connect and let go."""
        connect(target, "rehearse").close()

    def examine(self, target: Target, spec: DatabaseSpec, memory_bytes: int) -> Takeover:
        """Asks by SET GLOBAL."""
        assert spec.production is not None
        with connect(target, "rehearse") as connection:
            here = Here(known_settings(connection), memory_bytes)
            own = [name for name, _ in spec.settings]
            takeover = take_over(spec.production.values, here, own=own)
            return takeover.without(refusals(connection, takeover.taken))

    def merged(self, settings: Mapping[str, str], takeover: Takeover) -> dict[str, str]:
        """Not every variable can be set at the start: one that cannot must not keep the server from it."""
        return {**settings, **{f"loose_{option(name)}": value for name, value in takeover.taken.items()}}

    def confirmed(self, target: Target, takeover: Takeover) -> Takeover:
        """Looks them up."""
        if not takeover.taken:
            return takeover
        with connect(target, "rehearse") as connection:
            return in_force(takeover, known_settings(connection))

    def describe(
        self, target: Target, provisioner: str, notes: tuple[str, ...], resources: Resources
    ) -> Environment:
        """What it says of itself."""
        with connect(target, "rehearse") as connection:
            return self.described(connection, provisioner, notes, resources)

    def described(
        self, connection: Connection, provisioner: str, notes: tuple[str, ...], resources: Resources
    ) -> Environment:
        """The same, asked over a session that there is."""
        version = server_version(connection)
        if version.engine is not self.engine:
            raise ProvisionError(
                f"the server is {TITLES[version.engine]} {version.text}, not {TITLES[self.engine]}",
                f'engine = "{version.engine.value}"',
            )
        if version.number < OLDEST[self.engine]:
            oldest = ".".join(map(str, OLDEST[self.engine]))
            raise ProvisionError(
                f"{TITLES[self.engine]} {version.text} is too old to rehearse on",
                f"version {oldest} or later is needed",
            )
        return Environment(
            provisioner=provisioner,
            server_version=version.text,
            cpus=machine.cpus() if resources.cpus is None else resources.cpus,
            memory_bytes=machine.memory_bytes() if resources.memory_bytes is None else resources.memory_bytes,
            platform=machine.platform_name(),
            tool_version=machine.tool_version(),
            python_version=platform.python_version(),
            settings=changed_settings(connection),
            notes=notes,
            limits=resources.limits,
        )

    def standby_of(self, server: ContainerServer) -> AbstractContextManager[Standby]:
        """ProvisionError: not yet."""
        raise no_standby(server.recipe.product.example.partition(":")[0])


def no_standby(engine: str) -> ProvisionError:
    """Why there is no replica beside a server of that engine."""
    return ProvisionError(f"a server of {engine} gets no replica", "a standby stands beside PostgreSQL alone")


MYSQL = MySQL(EngineName.MYSQL)
MARIADB = MySQL(EngineName.MARIADB)
_products: tuple[Product, ...] = (MYSQL, MARIADB)
