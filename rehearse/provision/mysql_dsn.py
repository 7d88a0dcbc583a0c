"""A DSN of MySQL or MariaDB: a server that exists, touched only where its owner said that it may be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from rehearse.engines.mysql.connect import OPTIONS, SSL_MODES, connect
from rehearse.engines.mysql.databases import MARKER_TABLE, drop_unused, run_databases
from rehearse.engines.mysql.guards import DatabaseState, failed_guard, read_state
from rehearse.engines.names import MARKER_COMMENT
from rehearse.errors import InputError, NotDisposableError
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision.existing import (
    ExistingServer,
    refuse_settings,
    require_named,
    require_own_names,
    settled,
    sweep,
)
from rehearse.provision.mysql import MySQL
from rehearse.provision.product import Resources
from rehearse.provision.server import Request, Server

_DEFAULT_PORT = 3306
_USAGE = "mysql://USER:PASSWORD@HOST:PORT/DATABASE"
_PASSWORD_FILE = "password-file"  # noqa: S105 - the name of a key

_MENDS = {
    "empty-or-marked": (
        "if nothing in it is needed: CREATE TABLE {name}." + MARKER_TABLE + " (marker int PRIMARY KEY)"
        f" COMMENT '{MARKER_COMMENT}'"
    ),
    "sees-everything": "grant it: GRANT PROCESS, REPLICATION CLIENT ON *.* (MariaDB: SLAVE MONITOR as well)",
}


@contextlib.contextmanager
def provide(request: Request, product: MySQL) -> Iterator[Server]:
    """The server of that DSN, if its database is known to be disposable."""
    target = parse_mysql_dsn(request.argument, product.engine)
    refuse_settings(request.spec)
    require_named(target, request.disposable)
    require_own_names(target)
    # open to the end: a second run finds a session on the database, and keeps off
    with contextlib.closing(connect(target, "rehearse")) as connection:
        environment = product.described(connection, "dsn", (), Resources())
        state = settled(lambda: read_state(connection, target.dbname), lambda state: state.sessions_here > 0)
        _require_disposable(target, state)
        dropped = sweep(
            lambda: run_databases(connection), target.dbname, lambda name: drop_unused(connection, name)
        )
        environment = product.described(connection, "dsn", (*_notes(state), *dropped), Resources())
        yield ExistingServer(target, environment, product.knock)


def parse_mysql_dsn(text: str, engine: EngineName) -> Target:
    """The target that a DSN names in full; InputError, without quoting it, if it leaves something open."""
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORT
        words = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        parts = None
    if parts is None:  # not in the handler: the message may quote a password
        raise InputError("the DSN cannot be read", _USAGE)
    named = {"host": parts.hostname, "user": parts.username, "database": parts.path.strip("/")}
    missing = [what for what, value in named.items() if not value]
    if missing:
        raise InputError(
            f"guard complete-address: the DSN names no {', no '.join(missing)}",
            "say it: option files and variables are not read",
        )
    host, user, database = (unquote(str(value)) for value in named.values())
    if "," in host or "/" in database:
        raise InputError("guard one-host: the DSN names several hosts or databases", "name the one")
    password = unquote(parts.password) if parts.password else _password_in(words.pop(_PASSWORD_FILE, ""))
    _check_options(words)
    return Target(
        engine,
        host,
        port,
        database,
        user,
        Secret(password) if password else None,
        options=tuple(words.items()),
        disposable=True,
    )


def _password_in(file: str) -> str:
    if not file:
        return ""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{_PASSWORD_FILE} {file}: {reason}") from None
    return lines[0] if lines else ""


def _check_options(words: dict[str, str]) -> None:
    unknown = [word for word in words if word not in OPTIONS]
    if unknown:
        known = ", ".join((*OPTIONS, _PASSWORD_FILE))
        raise InputError(
            f"guard complete-address: {unknown[0]} cannot be given in a DSN", f"there are: {known}"
        )
    mode = words.get("ssl-mode", SSL_MODES[0])
    if mode not in SSL_MODES:
        raise InputError(f"there is no ssl-mode {mode}", f"there are: {', '.join(SSL_MODES)}")


def _require_disposable(target: Target, state: DatabaseState) -> None:
    guard = failed_guard(state)
    if guard is None:
        return
    name, _, wrong = guard
    mend = _MENDS.get(name, "give a server and database for rehearsals alone")
    quoted = "`" + target.dbname.replace("`", "``") + "`"
    raise NotDisposableError(
        f"guard {name}: database {target.dbname!r}: {wrong}", mend.replace("{name}", quoted)
    )


def _notes(state: DatabaseState) -> tuple[str, ...]:
    notes = ["an existing server: its machine, settings and neighbours are its own"]
    if state.sessions_elsewhere:
        notes.append(f"{state.sessions_elsewhere} sessions were on other databases of the server")
    return tuple(notes)
