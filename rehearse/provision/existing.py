"""A server that exists, whatever its engine: what is refused there, and what is not ours to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from rehearse.engines.names import RUN_DATABASES
from rehearse.errors import (
    EnvironmentFailure,
    InputError,
    NotDisposableError,
    ProvisionError,
    ServerLostError,
)
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision.server import Elsewhere, Standby

# For how long sessions that were just closed, our own last run's for instance, are given to go.
SETTLE_S = 5.0

Seen = TypeVar("Seen")


class FoundDatabase(Protocol):
    """A database on a server that has a name or the mark of those that runs make."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def made_by_a_run(self) -> bool:
        """Whether it carries the mark."""

    @property
    def sessions(self) -> int:
        """How many sessions are on it."""


def refuse_settings(spec: DatabaseSpec) -> None:
    """InputError if settings are wanted: they are the server's own."""
    if spec.settings or spec.production is not None:
        raise InputError(
            "settings are for servers of our own, and a DSN was given",
            "set them on that server, or leave [database.settings] out",
        )


def require_named(target: Target, disposable: str | None) -> None:
    """NotDisposableError unless `disposable`, what the user said, is the name of that database."""
    if disposable == target.dbname:
        return
    said = "nobody said so" if disposable is None else f"what was said is {disposable!r}"
    raise NotDisposableError(
        f"guard named-by-user: database {target.dbname!r} may be destroyed only if it is named, and {said}",
        f"--disposable {target.dbname}, if nothing in it is needed",
    )


def require_own_names(target: Target) -> None:
    """NotDisposableError if it is one that a run makes."""
    if target.dbname.lower() in RUN_DATABASES:
        raise NotDisposableError(
            f"guard own-names: a run makes and drops the database {target.dbname!r} beside the one you name",
            "name another",
        )


def settled(look: Callable[[], Seen], in_use: Callable[[Seen], bool]) -> Seen:
    """What `look` finds, once it is not `in_use` or SETTLE_S have passed."""
    deadline = time.monotonic() + SETTLE_S
    while in_use(found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def droppable(found: Iterable[FoundDatabase], own: str) -> tuple[str, ...]:
    """Which of the databases `found` on a server a dead run left, to be dropped; `own` is the one in use.

    NotDisposableError, naming it, for one without the mark and for one that a session is on.
    """
    names = []
    for database in found:
        if database.name == own:
            continue
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
        names.append(database.name)
    return tuple(names)


def sweep(
    look: Callable[[], Iterable[FoundDatabase]], own: str, drop: Callable[[str], None]
) -> tuple[str, ...]:
    """Drop what a dead run left on the server, as `look` finds it; says what, a line each.

    Nothing is dropped without our mark on it, nor while a session is on it: NotDisposableError then, as of
    `droppable`. The caller holds a session on the database `own` that keeps every other run off.
    """
    found = settled(lambda: tuple(look()), lambda found: any(database.sessions for database in found))
    names = droppable(found, own)
    for name in names:
        drop(name)
    return tuple(f"database {name!r} of a dead run was dropped" for name in names)


class ExistingServer(Elsewhere):
    """A server that was there before us and will be after. See `Server`."""

    def __init__(self, target: Target, environment: Environment, knock: Callable[[Target], None]) -> None:
        self._target = target
        self._knock = knock
        self._environment = environment

    @property
    def target(self) -> Target:
        """The disposable database; others are created beside it."""
        return self._target

    @property
    def environment(self) -> Environment:
        """What it is. Processors and memory are this machine's: a server does not tell its own."""
        return self._environment

    def alive(self) -> bool:
        """Whether it takes a connection."""
        try:
            self._knock(self._target)
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

    def standby(self) -> AbstractContextManager[Standby]:
        """ProvisionError: a standby would have to run on a machine that is not ours."""
        raise ProvisionError(
            "a server given by a DSN gets no standby",
            'rehearse with one on a server of our own: "embedded", "local:BINDIR" or "docker:IMAGE"',
        )
