"""PostgreSQL as a product that is provided; see `Product`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rehearse.engines.postgres.connect import connect
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import container_standby, log, production
from rehearse.provision.environment import describe
from rehearse.provision.product import Product, Reading, Resources
from rehearse.provision.server import Standby
from rehearse.provision.settings import notes_for, settings_for
from rehearse.provision.takeover import Takeover

if TYPE_CHECKING:
    from rehearse.provision.container import ContainerServer

_USER = "rehearse"
_DATABASE = "postgres"
_PRELOAD = "pg_stat_statements"
_OTHERS = re.compile(r"(^|[/-])(mysql|mariadb|percona)")


class Postgres:
    """See `Product`."""

    example = "postgres:18"
    port = 5432
    data = "/var/lib/postgresql"
    log: Reading = log

    def wrong_image(self, image: str) -> bool:
        """Whether it says MySQL or MariaDB."""
        return _OTHERS.search(image) is not None

    def settings_for(self, memory_bytes: int, overrides: Iterable[tuple[str, str]]) -> dict[str, str]:
        """With the statistics of statements, which every such image has."""
        return settings_for(memory_bytes, preload=[_PRELOAD], overrides=overrides)

    def notes_for(self, settings: Mapping[str, str]) -> tuple[str, ...]:
        """Whether autovacuum is off."""
        return notes_for(settings)

    def command(self, settings: Mapping[str, str]) -> list[str]:
        """`postgres -c name=value ...`."""
        return ["postgres", *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))]

    def secrets(self, password: Secret) -> dict[str, str]:
        """A superuser of ours."""
        return {
            "POSTGRES_USER": _USER,
            "POSTGRES_PASSWORD": password.reveal(),
            "POSTGRES_DB": _DATABASE,
            "POSTGRES_INITDB_ARGS": "--no-sync",  # an empty cluster need not survive
        }

    def target(self, host: str, port: int, password: Secret) -> Target:
        """The database `postgres`."""
        options = (("sslmode", "prefer"), ("gssencmode", "disable"))
        return Target(
            EngineName.POSTGRES, host, port, _DATABASE, _USER, password, options=options, disposable=True
        )

    def knock(self, target: Target) -> None:
        """Connect and let go."""
        connect(target, "rehearse").close()

    def examine(self, target: Target, spec: DatabaseSpec, memory_bytes: int) -> Takeover:
        """Asks by ALTER SYSTEM."""
        return production.examine(target, spec, memory_bytes)

    def merged(self, settings: Mapping[str, str], takeover: Takeover) -> dict[str, str]:
        """Those taken over come last."""
        return {**settings, **takeover.taken}

    def confirmed(self, target: Target, takeover: Takeover) -> Takeover:  # noqa: ARG002 - see `Product`
        """All of it: one that it would not take keeps this server from starting."""
        return takeover

    def describe(
        self, target: Target, provisioner: str, notes: tuple[str, ...], resources: Resources
    ) -> Environment:
        """What it says of itself."""
        with connect(target, "rehearse") as connection:
            return describe(
                connection,
                provisioner,
                notes,
                cpus=resources.cpus,
                memory_bytes=resources.memory_bytes,
                limits=resources.limits,
            )

    def standby_of(self, server: ContainerServer) -> AbstractContextManager[Standby]:
        """A streaming standby in a second container."""
        return container_standby.beside(server)


POSTGRES = Postgres()
_product: Product = POSTGRES
