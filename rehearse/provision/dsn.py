"""A DSN: a server that exists. It is touched only where its owner said, twice, that nothing is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import RunDatabase, drop_unused, run_databases
from rehearse.engines.postgres.guards import (
    MARKER_COMMENT,
    DatabaseState,
    failed_guard,
    mark,
    read_state,
)
from rehearse.errors import (
    EnvironmentFailure,
    InputError,
    NotDisposableError,
    ProvisionError,
    ServerLostError,
)
from rehearse.model.record import Environment
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision.environment import describe
from rehearse.provision.server import Request, Server

_DEFAULT_PORT = "5432"
_SETTLE_S = 1.0
_NEEDED = {"host": "host", "user": "user", "dbname": "database"}
# They bring in words from a file or of our own, unseen.
_REFUSED = ("service", "servicefile", "application_name", "fallback_application_name", "replication")


@contextlib.contextmanager
def provide(request: Request) -> Iterator[Server]:
    """The server of that DSN, if its database is known to be disposable and more can be made beside it."""
    target = parse_dsn(request.argument)
    if request.spec.settings or request.spec.production is not None:
        raise InputError(
            "settings are for servers of our own, and a DSN was given",
            "set them on that server, or leave [database.settings] out",
        )
    _require_named(target, request.disposable)
    # open to the end: a second run finds a session on the database, and keeps off
    connection = connect(target, "rehearse")
    try:
        state = _settled_state(connection)
        _require_disposable(target, state)
        _require_create(target, state)
        swept = sweep_databases(connection)
        environment = describe(connection, "dsn", (*_notes(state), *swept))
        yield ExistingServer(target, environment)
    finally:
        connection.close()


def sweep_databases(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """Drop what a dead run left on the server; says what, a line each.

    Nothing is dropped without our comment on it, nor while a session is on it: then NotDisposableError
    names the database. The caller holds a session that keeps every other run off.
    """
    own = connection.info.dbname
    found = [database for database in _settled_databases(connection) if database.name != own]
    for database in found:
        if not database.made_by_a_run:
            raise NotDisposableError(
                f"guard own-names: no run made the database {database.name!r}, and a run needs its name",
                "rename or drop it, if it is not needed",
            )
        if database.sessions:
            raise NotDisposableError(
                f"guard own-names: a dead run left {database.name!r}, "
                f"and {database.sessions} sessions are on it",
                "wait until they end, or end them",
            )
    for database in found:
        drop_unused(connection, database.name)
    return tuple(f"database {database.name!r} of a dead run was dropped" for database in found)


def parse_dsn(text: str) -> Target:
    """The target that a DSN names in full; InputError, without quoting it, if it leaves something open."""
    words = _words(text)
    missing = [what for word, what in _NEEDED.items() if word not in words]
    if missing:
        raise InputError(
            f"the DSN names no {', no '.join(missing)}",
            "say it: variables such as PGHOST and PGDATABASE are not read",
        )
    for word in _REFUSED:
        if word in words:
            raise InputError(f"{word} cannot be given in a DSN", "give host, port, user and database")
    port = words.pop("port", _DEFAULT_PORT)
    if "," in words["host"] or "," in port:
        raise InputError("the DSN names several hosts", "name the one")
    if not port.isdecimal():
        raise InputError("the port in the DSN is not a number")
    password = words.pop("password", None)
    return Target(
        EngineName.POSTGRES,
        words.pop("host"),
        int(port),
        words.pop("dbname"),
        words.pop("user"),
        Secret(password) if password else None,
        options=tuple(words.items()),
        disposable=True,
    )


def _words(text: str) -> dict[str, str]:
    try:
        given = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        given = None
    if given is None:  # not in the handler: libpq's message quotes what it could not read, a password maybe
        raise InputError("the DSN cannot be read", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return {name: str(value) for name, value in given.items() if value not in (None, "")}


def mark_disposable(target: Target) -> None:
    """Mark a database that passed the guards as one for rehearsals, so that it passes when it is full."""
    with connect(target, "rehearse") as connection:
        mark(connection)


class ExistingServer:
    """A server that was there before us and will be after. See `Server`."""

    def __init__(self, target: Target, environment: Environment) -> None:
        self._target = target
        self._environment = environment

    @property
    def target(self) -> Target:
        """The disposable database; others are created beside it."""
        return self._target

    @property
    def environment(self) -> Environment:
        """What it is. Processors and memory are this machine's: a server does not tell its own."""
        return self._environment

    @property
    def pid(self) -> int | None:
        """None: not a process of ours."""
        return None

    @property
    def data_directory(self) -> Path | None:
        """None: not files of ours."""
        return None

    def alive(self) -> bool:
        """Whether it takes a connection."""
        try:
            connect(self._target, "rehearse").close()
        except ServerLostError:
            return False
        return True

    def last_words(self) -> str:
        """Empty: its log is not ours to read."""
        return ""

    def kill(self) -> None:
        """EnvironmentFailure: not ours to kill."""
        raise EnvironmentFailure("a server given by a DSN is not killed", "use an embedded server for that")

    def restart(self) -> None:
        """EnvironmentFailure: not ours to restart."""
        raise EnvironmentFailure(
            "a server given by a DSN is not restarted", "use an embedded server for that"
        )


def _settled_state(connection: psycopg.Connection[Any]) -> DatabaseState:
    """The state once sessions that were just closed, our own last run's for instance, are gone."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        state = read_state(connection)
        if state.sessions_here == 0 or time.monotonic() > deadline:
            return state
        time.sleep(0.05)


def _settled_databases(connection: psycopg.Connection[Any]) -> tuple[RunDatabase, ...]:
    """Databases of runs, once sessions of a run that has just died are gone from them."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        found = run_databases(connection)
        if not any(database.sessions for database in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _require_named(target: Target, disposable: str | None) -> None:
    if disposable == target.dbname:
        return
    said = "nobody said so" if disposable is None else f"what was said is {disposable!r}"
    raise NotDisposableError(
        f"guard named-by-user: database {target.dbname!r} may be destroyed only if it is named, and {said}",
        f"--disposable {target.dbname}, if nothing in it is needed",
    )


def _require_disposable(target: Target, state: DatabaseState) -> None:
    guard = failed_guard(state)
    if guard is None:
        return
    name, _, wrong = guard
    mend = (
        f"""if nothing in it is needed: COMMENT ON DATABASE "{target.dbname}" IS '{MARKER_COMMENT}'"""
        if name == "empty-or-marked"
        else "give a server and database for rehearsals alone"
    )
    raise NotDisposableError(f"guard {name}: database {target.dbname!r}: {wrong}", mend)


def _require_create(target: Target, state: DatabaseState) -> None:
    if not state.may_create_databases:
        raise ProvisionError(
            f"user {target.user!r} may not create the databases that a rehearsal is made in",
            f'grant it: ALTER ROLE "{target.user}" CREATEDB',
        )


def _notes(state: DatabaseState) -> tuple[str, ...]:
    notes = ["an existing server: its machine, settings and neighbours are its own"]
    if state.sessions_elsewhere:
        notes.append(f"{state.sessions_elsewhere} sessions were on other databases of the server")
    if not state.superuser:
        notes.append("the user is no superuser: not everything can be observed")
    return tuple(notes)
