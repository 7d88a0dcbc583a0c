"""Connections to MySQL and MariaDB that go where the target says, and nowhere else.

The driver reads no option file and no variable unless told to, and is not told to.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TypeAlias

import pymysql
from pymysql.cursors import Cursor

from rehearse.errors import InputError, ServerLostError
from rehearse.model.target import Target

CONNECT_TIMEOUT_S = 10

# As the servers' own clients spell and mean them.
SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
OPTIONS = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")

Connection: TypeAlias = "pymysql.connections.Connection[Cursor]"
Row: TypeAlias = tuple[object, ...]


def connect(target: Target, application_name: str, *, autocommit: bool = True) -> Connection:
    """A session on `target`; ServerLostError, in one line and without the password, where there is none.

    `application_name` is the session's attribute program_name. An empty `dbname` is no database at all.
    """
    reason = ""
    try:
        return pymysql.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password.reveal() if target.password else "",
            database=target.dbname or None,
            autocommit=autocommit,
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT_S,
            program_name=application_name,
            ssl=_tls(dict(target.options)),
            ssl_disabled=dict(target.options).get("ssl-mode") == "DISABLED",
        )
    except pymysql.MySQLError as error:
        reason = message(error)
    except (OSError, RuntimeError) as error:  # a connection cut while it was made; an unknown way to log in
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    # raised outside the handler: the driver's own exception may quote what it was given
    if target.password:
        reason = reason.replace(target.password.reveal(), "***")
    place = f"database {target.dbname!r}" if target.dbname else "the server"
    raise ServerLostError(f"no connection to {place}: {reason}")


def fetch(connection: Connection, query: str, arguments: Mapping[str, object] | None = None) -> list[Row]:
    """All rows of a query; its `%(name)s` are filled in by the driver."""
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return [tuple(row) for row in cursor.fetchall()]


def execute(connection: Connection, statement: str, arguments: Mapping[str, object] | None = None) -> None:
    """Run a statement that gives no rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)


def identifier(name: str) -> str:
    """A name as a quoted identifier, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def message(error: BaseException) -> str:
    """The server's or the driver's message in one line, without the number before it."""
    text = str(error.args[1] if len(error.args) > 1 else error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def code(error: BaseException) -> int:
    """The server's error number; 0 if it has none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _tls(options: Mapping[str, str]) -> ssl.SSLContext | None:
    """None: encrypted if the server offers it, as its own clients do, or not at all."""
    mode = options.get("ssl-mode", "VERIFY_CA" if "ssl-ca" in options else "PREFERRED")
    if mode in ("DISABLED", "PREFERRED"):
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl-ca"))
        if "ssl-cert" in options:
            context.load_cert_chain(options["ssl-cert"], options.get("ssl-key"))
    except OSError as error:
        raise InputError(f"the DSN's certificates cannot be read: {error.strerror or error}") from None
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    return context
