"""A server provided for somebody else's use, with a database that is ready for a schema."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rehearse.engines.mysql import connect as mysql
from rehearse.engines.mysql import databases as mysql_databases
from rehearse.engines.mysql import execute as mysql_files
from rehearse.engines.names import MARKER_COMMENT, RUN_DATABASES
from rehearse.engines.postgres import connect as postgres
from rehearse.engines.postgres import databases as postgres_databases
from rehearse.engines.postgres import execute as postgres_files
from rehearse.engines.postgres import guards as postgres_guards
from rehearse.engines.postgres.server_facts import create_extensions
from rehearse.errors import RehearseError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Target
from rehearse.provision import Server, provision
from rehearse.provision.handover import Access, handed_over

DATABASE = RUN_DATABASES[0]


@dataclass(frozen=True, slots=True)
class _Hands:
    """What is done to a database before it is handed over, by engine.

    `keep` says that it is somebody's, so that no run drops it as one that a dead run left.
    """

    create: Callable[[Target, str], object]
    drop: Callable[[Target, str], None]
    prepare: Callable[[Target, DatabaseSpec], None]
    keep: Callable[[Target, str], None]


@dataclass(frozen=True, slots=True)
class Held:
    """A server that runs, and how others get at its database."""

    server: Server
    access: Access


@contextlib.contextmanager
def held(spec: DatabaseSpec, disposable: str | None) -> Iterator[Held]:
    """The server of `spec`, with a database in which the extensions and init scripts are, as long as the
    context lasts. Errors are those of `provision`, and SqlFileError for a script.
    """
    hands = _HANDS[spec.engine]
    with provision(spec, disposable=disposable) as server:
        hands.create(server.target, DATABASE)
        try:
            target = server.target.on(DATABASE)
            hands.prepare(target, spec)
            if server.environment.provisioner != "dsn":
                # on one that exists the mark stays, by which the next run drops what a killed one left
                hands.keep(server.target, DATABASE)
            with handed_over(target) as access:
                yield Held(server, access)
        finally:
            # a server of ours is gone in a moment; on one that exists nothing is to be left
            with contextlib.suppress(RehearseError):
                hands.drop(server.target, DATABASE)


def _prepare_postgres(target: Target, spec: DatabaseSpec) -> None:
    with postgres.connect(target, "rehearse") as connection:
        create_extensions(connection, spec.extensions)
        for file in spec.init:
            postgres_files.execute_file(connection, file)


def _prepare_mysql(target: Target, spec: DatabaseSpec) -> None:
    with contextlib.closing(mysql.connect(target, "rehearse")) as connection:
        for file in spec.init:
            mysql_files.execute_file(connection, file)


def _keep_postgres(server: Target, name: str) -> None:
    with postgres.connect(server.on(name), "rehearse") as connection:
        postgres_guards.mark(connection)


def _keep_mysql(server: Target, name: str) -> None:
    with contextlib.closing(mysql.connect(server.on(""), "rehearse")) as connection:
        mysql_databases.mark(connection, name, MARKER_COMMENT)


_POSTGRES = _Hands(
    postgres_databases.create_database,
    postgres_databases.drop_database,
    _prepare_postgres,
    _keep_postgres,
)
_MYSQL = _Hands(mysql_databases.create_database, mysql_databases.drop_database, _prepare_mysql, _keep_mysql)
_HANDS = {
    EngineName.POSTGRES: _POSTGRES,
    EngineName.MYSQL: _MYSQL,
    EngineName.MARIADB: _MYSQL,
}
