"""A DSN: a server that exists. It is touched only where its owner said, twice, that nothing is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import drop_unused, run_databases
from rehearse.engines.postgres.guards import (
    MARKER_COMMENT,
    DatabaseState,
    failed_guard,
    mark,
    read_state,
)
from rehearse.errors import InputError, NotDisposableError, ProvisionError
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision.environment import describe
from rehearse.provision.existing import (
    ExistingServer,
    refuse_settings,
    require_named,
    require_own_names,
    settled,
    sweep,
)
from rehearse.provision.postgres import POSTGRES
from rehearse.provision.server import Request, Server

_DEFAULT_PORT = "5432"
_NEEDED = {"host": "host", "user": "user", "dbname": "database"}
# They bring in words from a file or of our own, unseen.
_REFUSED = ("service", "servicefile", "application_name", "fallback_application_name", "replication")


@contextlib.contextmanager
def provide(request: Request) -> Iterator[Server]:
    """The server of that DSN, if its database is known to be disposable and more can be made beside it."""
    target = parse_dsn(request.argument)
    refuse_settings(request.spec)
    require_named(target, request.disposable)
    require_own_names(target)
    # open to the end: a second run finds a session on the database, and keeps off
    connection = connect(target, "rehearse")
    try:
        state = _settled_state(connection)
        _require_disposable(target, state)
        _require_create(target, state)
        dropped = sweep(
            lambda: run_databases(connection), target.dbname, lambda name: drop_unused(connection, name)
        )
        environment = describe(connection, "dsn", (*_notes(state), *dropped))
        yield ExistingServer(target, environment, POSTGRES.knock)
    finally:
        connection.close()


def parse_dsn(text: str) -> Target:
    """The target that a DSN names in full; InputError, without quoting it, if it leaves something open."""
    words = _words(text)
    missing = [what for word, what in _NEEDED.items() if word not in words]
    if missing:
        raise InputError(
            f"guard complete-address: the DSN names no {', no '.join(missing)}",
            "say it: variables such as PGHOST and PGDATABASE are not read",
        )
    for word in _REFUSED:
        if word in words:
            raise InputError(
                f"guard complete-address: {word} cannot be given in a DSN",
                "give host, port, user and database",
            )
    port = words.pop("port", _DEFAULT_PORT)
    if "," in words["host"] or "," in port:
        raise InputError("guard one-host: the DSN names several hosts", "name the one")
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


def _settled_state(connection: psycopg.Connection[Any]) -> DatabaseState:
    return settled(lambda: read_state(connection), lambda state: state.sessions_here > 0)


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


def disposable_target(text: str, disposable: str | None) -> Target:
    """The database of a DSN, if its owner said that nothing in it is needed and nothing speaks against it.

    As `provide`, for whoever needs no databases beside it. Raises InputError, NotDisposableError.
    """
    target = parse_dsn(text)
    require_named(target, disposable)
    with connect(target, "rehearse") as connection:
        _require_disposable(target, _settled_state(connection))
    return target
