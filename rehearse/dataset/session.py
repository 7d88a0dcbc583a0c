"""Connections to load with, jobs on several of them at once, and what a failure means to the user."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.primary import without_values
from rehearse.errors import DatasetError, EnvironmentFailure, RehearseError, ServerLostError
from rehearse.model.relation import Relation
from rehearse.model.target import Target

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Job: TypeAlias = Callable[[Connection], None]

_SETTINGS = {
    "synchronous_commit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "row_security": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    # the streams are the parallelism
    "max_parallel_maintenance_workers": "0",
}
_RING = 160_000  # vacuum_buffer_usage_limit came with version 16


def name_of(relation: Relation) -> sql.Identifier:
    """A relation as SQL names it."""
    return sql.Identifier(relation.schema, relation.name)


def verbatim(text: str) -> sql.SQL:
    """SQL that is our own constant or that the server's catalog printed, never the user's input."""
    return sql.SQL(text)


def open_session(target: Target, *, replica: bool) -> Connection:
    """A connection to load with; `replica` keeps ordinary triggers, foreign keys among them, from firing."""
    # the driver warns of a COPY that it cannot end in order when the server has died: that is said by us
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    connection = connect(target, "rehearse")
    try:
        for name, value in _SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        if connection.info.server_version >= _RING:
            # VACUUM through the whole of shared memory, not through its usual small ring
            connection.execute("SET vacuum_buffer_usage_limit = 0")
        if replica:
            connection.execute("SET session_replication_role = replica")
    except psycopg.Error as error:
        connection.close()
        raise translated(error, "the load's own settings") from None
    return connection


def in_parallel(target: Target, jobs: Sequence[Job], *, streams: int, replica: bool) -> None:
    """Runs every job, in order as far as there are free connections. The first failure stops the rest."""
    if not jobs:
        return
    waiting = deque(jobs)
    stop = threading.Event()
    sessions: list[Connection] = []
    failures: list[BaseException] = []  # in the order in which they happened: the first one is the reason

    def work() -> None:
        with open_session(target, replica=replica) as session:
            sessions.append(session)
            while not stop.is_set():
                try:
                    job = waiting.popleft()
                except IndexError:
                    return
                job(session)

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            raise

    with ThreadPoolExecutor(max_workers=streams, thread_name_prefix="load") as pool:
        futures: list[Future[None]] = [pool.submit(guarded) for _ in range(min(streams, len(jobs)))]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C while waiting: the threads must not outlive it
            _abandon(stop, sessions)
            raise
        if failures:
            _abandon(stop, sessions)
    if failures:
        raise failures[0]


def _abandon(stop: threading.Event, sessions: list[Connection]) -> None:
    stop.set()
    for session in sessions:
        if not session.closed:
            # of a server that is gone there is nothing to cancel
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=5)


def translated(error: psycopg.Error, what: object) -> RehearseError:
    """A server's complaint in one line, without its DETAIL (which quotes rows)."""
    if isinstance(error, psycopg.errors.DiskFull):
        return EnvironmentFailure("disk full: the server has no space left for the data set")
    if error.sqlstate is None or isinstance(
        error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown | psycopg.errors.CannotConnectNow
    ):
        return ServerLostError(f"the server went away while loading {what}")
    message = without_values(error.sqlstate, error.diag.message_primary or type(error).__name__)
    named = error.diag.constraint_name
    if named and named not in message:
        message = f"{message} (constraint {named})"
    mend = "load the table from a SQL file"
    if error.sqlstate.startswith("22"):  # a value that the type does not take: somebody's own, as a rule
        mend = f"say otherwise in [dataset.columns] what it holds, or {mend}"
    return DatasetError(f"{what}: {message}", mend)
