"""What an empty copy of the database says to a statement: whether it is possible, and its types."""

from __future__ import annotations

from typing import Any, Protocol

import psycopg
from psycopg import pq

_TYPE_NAMES = (
    "SELECT n, format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS t(oid, n) ORDER BY n"
)


class Checker(Protocol):
    """Knows the schema."""

    def refusal(self, statement: str) -> str:
        """Why the statement (with `$1`, `$2`, ...) is impossible; empty if it is not."""

    def types(self, statement: str) -> tuple[str, ...]:
        """The types of its parameters as `format_type` prints them; empty where it has none or is refused."""


class ServerChecker:
    """Asks a server, by preparing the statement and nothing more."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def refusal(self, statement: str) -> str:
        """See `Checker`."""
        return self._prepare(statement)[0]

    def types(self, statement: str) -> tuple[str, ...]:
        """See `Checker`."""
        refusal, oids = self._prepare(statement)
        if refusal or not oids:
            return ()
        return tuple(name for _, name in self._connection.execute(_TYPE_NAMES, [oids]))

    def _prepare(self, statement: str) -> tuple[str, list[int]]:
        pgconn = self._connection.pgconn
        result = pgconn.prepare(b"", statement.encode())
        if result.status == pq.ExecStatus.COMMAND_OK:
            described = pgconn.describe_prepared(b"")
            return "", [described.param_type(place) for place in range(described.nparams)]
        # the primary message alone: it names tables and columns, and the values are not in the statement
        primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"refused"
        return primary.decode(errors="replace"), []
