"""Connections to PostgreSQL that go where the target says, and nowhere else.

libpq fills every keyword it is not given from the environment (PGHOSTADDR, PGSERVICE, ...) and from
files in the home directory. A tool that destroys what it connects to must not be steered by those, so
they are taken out of the process's environment and out of the connection's keywords before connecting.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import conninfo as libpq_conninfo

from rehearse.errors import ServerLostError
from rehearse.model.target import Target

CONNECT_TIMEOUT_S = 30  # a server of ours on a machine that is overloaded may well take ten

# Left out or empty, it would be ~/.pgpass; one that exists and is no plain file, libpq warns of on standard
# error. This one cannot exist, and that is no matter to it.
_NO_FILE = f"{os.devnull}/none"

# What libpq reads besides the variables it lists for its keywords in PQconndefaults().
_UNLISTED_VARIABLES = (
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGREALM",
    "PGREQUIRESSL",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
)


def conninfo(target: Target, application_name: str) -> str:
    """A complete connection string for libpq, password included: for the driver, never to be printed.

    Every caller that hands libpq a target goes through here, so that none is open to the environment.
    """
    ignore_environment()
    words = {
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "client_encoding": "UTF8",
        "passfile": _NO_FILE,  # ~/.pgpass only where the target's options name it
    }
    words |= target.conninfo(application_name)
    return libpq_conninfo.make_conninfo("", **words)


def connect(
    target: Target, application_name: str, *, autocommit: bool = True
) -> psycopg.Connection[tuple[Any, ...]]:
    """A session on `target`; ServerLostError, in one line and without the password, where there is none."""
    words = conninfo(target, application_name)
    try:
        return psycopg.connect(words, autocommit=autocommit)
    except psycopg.Error as error:
        reason = _first_line(error, target)
    # raised outside the handler: the driver's own exception may quote what it was given
    raise ServerLostError(f"no connection to database {target.dbname!r}: {reason}")


def ignore_environment() -> None:
    """Remove every variable that libpq reads from this process's environment, and so its children's."""
    listed = (option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar)
    for name in (*listed, *_UNLISTED_VARIABLES):
        os.environ.pop(name, None)


def _first_line(error: psycopg.Error, target: Target) -> str:
    text = str(error).strip() or type(error).__name__
    # several addresses give several lines, the first of which only counts them
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if "FATAL" in line or "failed:" in line), lines[0])
    line = line.removeprefix("connection failed: ")
    return line.replace(target.password.reveal(), "***") if target.password else line
