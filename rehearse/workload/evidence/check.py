"""What an empty copy of the database says to a statement: whether it is possible, and its types."""

from __future__ import annotations

from typing import Any, Protocol

import psycopg
from psycopg import pq

_TYPE_NAMES = (
    "SELECT n, format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS t(oid, n) ORDER BY n"
)

_LIMIT = "SET LOCAL statement_timeout = '2s'"
_IMPOSSIBLE = ("42", "22023")  # something named is not there or not allowed; no value that a setting takes


class Checker(Protocol):
    """Knows the schema."""

    def refusal(self, statement: str) -> str:
        """Why the statement (with `$1`, `$2`, ...) is impossible; empty if it is not."""

    def types(self, statement: str) -> tuple[str, ...]:
        """The types of its parameters as `format_type` prints them; empty where it has none or is refused."""


class ServerChecker:
    """Asks a server, of its own and with no data, by preparing the statement."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def refusal(self, statement: str) -> str:
        """See `Checker`. One without parameters is run, too, and undone: what it asks of the server by name
        (a setting, an object in a text) is looked up only then.
        """
        refusal, parameters = self._prepare(statement)
        return refusal or ("" if parameters else self._tried(statement))

    def types(self, statement: str) -> tuple[str, ...]:
        """See `Checker`."""
        refusal, oids = self._prepare(statement)
        if refusal or not oids:
            return ()
        return tuple(name for _, name in self._connection.execute(_TYPE_NAMES, [oids]))

    def _tried(self, statement: str) -> str:
        try:
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(_LIMIT)
                self._connection.execute(statement.encode())
        except psycopg.Error as error:
            state = error.sqlstate or ""
            # of other errors, there being no rows may be the reason
            return error.diag.message_primary or state if state.startswith(_IMPOSSIBLE) else ""
        return ""

    def _prepare(self, statement: str) -> tuple[str, list[int]]:
        pgconn = self._connection.pgconn
        result = pgconn.prepare(b"", statement.encode())
        if result.status == pq.ExecStatus.COMMAND_OK:
            described = pgconn.describe_prepared(b"")
            return "", [described.param_type(place) for place in range(described.nparams)]
        # the primary message alone: it names tables and columns, and the values are not in the statement
        primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"refused"
        return primary.decode(errors="replace"), []
