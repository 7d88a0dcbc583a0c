"""Where a database is, and what runs there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum


class Secret:
    """A value that never prints: not in a repr, a log, a report or a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the driver alone."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class EngineName(Enum):
    """The database engines a scenario can name."""

    POSTGRES = "postgres"
    MYSQL = "mysql"
    MARIADB = "mariadb"


@dataclass(frozen=True, slots=True)
class Target:
    """One database on one server.

    `options` are further libpq connection keywords (`sslmode`, ...). `disposable` says that whoever
    provided the database allows it to be destroyed.
    """

    engine: EngineName
    host: str
    port: int
    dbname: str
    user: str
    password: Secret | None = None
    options: tuple[tuple[str, str], ...] = field(default=())
    disposable: bool = False

    def on(self, dbname: str) -> Target:
        """The same server, another database."""
        return replace(self, dbname=dbname)

    def conninfo(self, application_name: str) -> dict[str, str]:
        """Keywords for libpq, the password among them: for the driver, never to be printed."""
        words = dict(self.options)
        words |= {"host": self.host, "port": str(self.port), "dbname": self.dbname, "user": self.user}
        words["application_name"] = application_name
        if self.password is not None:
            words["password"] = self.password.reveal()
        return words
