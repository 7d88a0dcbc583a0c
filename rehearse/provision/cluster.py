"""A PostgreSQL server of our own, made from a directory of programs and gone with us without a trace."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from rehearse.errors import InputError, ProvisionError
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import cluster_standby, log, machine, production
from rehearse.provision.binaries import Installation, bring_within_reach
from rehearse.provision.files import SOCKET_PATH_LIMIT, Files, private_place
from rehearse.provision.guarded import Guarded
from rehearse.provision.own import HOST, OwnServer
from rehearse.provision.postgres import POSTGRES
from rehearse.provision.private import give, own_directory, own_file, text_of
from rehearse.provision.product import Reading, Resources
from rehearse.provision.server import Fill, Request, Server, Standby
from rehearse.provision.settings import notes_for, settings_for

USER = "rehearse"
MAINTENANCE_DATABASE = "postgres"

_INITDB_S = 120.0
_START_S = 60.0
_LOCALE = "rehearse.locale"  # a file in the data directory
_BUILTIN_LOCALES = 17  # the first version with a locale provider of its own, the same on every machine


@dataclass(frozen=True, slots=True)
class Cluster(Files):
    """See `Files`. `overrides` win over its files' settings."""

    install: Installation
    settings: dict[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of initdb and the server: nothing of ours."""
        words = {"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "LC_ALL": "C", "TZ": "UTC"}
        if self.install.libraries is not None:
            words["LD_LIBRARY_PATH"] = str(self.install.libraries)
        return words

    @property
    def reading(self) -> Reading:
        """How its log is read."""
        return log

    @property
    def shutdown(self) -> signal.Signals:
        """A fast shutdown."""
        return signal.SIGINT

    def start(self, guarded: Guarded, port: int) -> int:
        """Start the postmaster and wait until it takes connections; its pid."""
        return _start(self, guarded, port)

    def target(self, port: int) -> Target:
        """The maintenance database, as superuser."""
        return Target(
            EngineName.POSTGRES,
            HOST,
            port,
            MAINTENANCE_DATABASE,
            USER,
            self.password,
            options=(("sslmode", "disable"), ("gssencmode", "disable")),
            disposable=True,
        )

    def describe(self, target: Target, provisioner: str, notes: tuple[str, ...]) -> Environment:
        """What runs there."""
        return POSTGRES.describe(target, provisioner, notes, Resources())

    def unneeded(self) -> Callable[[str], bool]:
        """Of a server that was shut down in order: all of its log but where the last checkpoint stands."""
        return _unneeded(self)

    def socket_directory(self) -> str:
        """A new directory for the Unix socket, or none where its path would be too long for one."""
        directory = self.directory / "socket"
        if len(f"{directory}/.s.PGSQL.65535") > SOCKET_PATH_LIMIT:
            return ""
        own_directory(directory, self.account)
        return str(directory)

    def standby_of(self, server: OwnServer) -> AbstractContextManager[Standby]:
        """A second server from the same programs, with a warden of its own. See `Standby`."""
        return cluster_standby.beside(server, self)


@contextlib.contextmanager
def own_server(install: Installation, name: str, request: Request) -> Iterator[Server]:
    """A fresh server from these programs; `name` is the provisioner's, for the record."""
    machine.require_linux()
    account = machine.server_account()
    version = install.version()
    with private_place(account) as (guarded, place):
        cluster = Cluster(
            install=bring_within_reach(install, account, guarded.directory),
            directory=guarded.directory,
            account=account,
            password=Secret(secrets.token_urlsafe(24)),
            settings=settings_for(
                machine.memory_bytes(),
                preload=[m for m in ("pg_stat_statements",) if install.has_library(m)],
                overrides=request.spec.settings,
            ),
        )
        if request.fill is None:
            locale = _initialise(cluster, guarded, version)
        else:
            locale = _fill(cluster, guarded, request.fill)
        server = OwnServer(cluster, guarded)
        taken = _take_over(server, cluster, request.spec)
        server.describe(name, (locale, *place, *notes_for(cluster.settings), *taken))
        yield server


def _take_over(server: OwnServer, cluster: Cluster, spec: DatabaseSpec) -> tuple[str, ...]:
    """Start again with what can be had of production's settings; notes on what could not."""
    takeover = production.examine(server.target, spec, machine.memory_bytes())
    if takeover.taken:
        _append_settings(cluster, takeover.taken)
        try:
            server.restart()
        except ProvisionError as error:
            raise InputError(f"with production's settings, {error.what}", production.mend(spec)) from error
    return production.notes(takeover, spec)


def _initialise(cluster: Cluster, guarded: Guarded, version: tuple[int, ...]) -> str:
    """Make the data directory; says which locale it has.

    C.UTF-8 knows the characters of every language and sorts the same on every machine. From version 17 on
    the server brings it itself; before, it is the C library's, if that has it.
    """
    own_directory(cluster.data, cluster.account)
    password_file = cluster.directory / "password"
    own_file(password_file, cluster.password.reveal(), cluster.account)
    builtin = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version[0] >= _BUILTIN_LOCALES else []
    )
    try:
        for locale in ("C.UTF-8", "C"):
            argv: list[str | Path] = [
                cluster.install.initdb,
                f"--pgdata={cluster.data}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                f"--locale={locale}",
                *builtin,
                "--no-sync",  # what the server itself writes is synced; an empty cluster need not survive
                "--no-instructions",
            ]
            if guarded.run(argv, cluster.env, cluster.log, _INITDB_S) == 0:
                _configure(cluster)
                return _note_locale(
                    cluster,
                    f"locale C.UTF-8 ({'builtin' if builtin else 'libc'})"
                    if builtin or locale != "C"
                    else "locale C",
                )
            if "invalid locale" not in text_of(cluster.log):
                break
    finally:
        password_file.unlink()
    raise cluster.failure("initdb failed")


def _note_locale(cluster: Cluster, words: str) -> str:
    """Beside the data, so that a copy of them says it too."""
    own_file(cluster.data / _LOCALE, words, cluster.account)
    return words


def _fill(cluster: Cluster, guarded: Guarded, fill: Fill) -> str:
    """Take over files that were shut down in order, with a password of our own; says their locale."""
    fill(cluster.data)
    for directory, _, files in os.walk(cluster.data):
        give(Path(directory), cluster.account)
        for name in files:
            give(Path(directory, name), cluster.account)
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    _configure(cluster)
    order = cluster.directory / "password"
    own_file(order, f"ALTER ROLE {USER} PASSWORD '{cluster.password.reveal()}';", cluster.account)
    single = 'exec "$0" --single -D "$1" postgres <"$2"'  # the password is nobody's to see in a process list
    argv: list[str | Path] = ["/bin/sh", "-c", single, cluster.install.postgres, cluster.data, order]
    try:
        if guarded.run(argv, cluster.env, cluster.log, _INITDB_S) != 0:
            raise cluster.failure("the cached data directory cannot be used")
    finally:
        order.unlink()
    return text_of(cluster.data / _LOCALE).strip()


def _unneeded(cluster: Cluster) -> Callable[[str], bool]:
    """Of a server that was shut down in order: all of its log but where the last checkpoint stands."""
    controldata = cluster.install.bindir / "pg_controldata"
    needed: set[str] = set()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        shown = subprocess.run(  # noqa: S603 - a program of the installation
            [controldata, "-D", cluster.data], capture_output=True, text=True, env=cluster.env, check=True
        )
        last = re.search(r"REDO WAL file:\s+([0-9A-F]{24})", shown.stdout)
        if last is not None:  # the checkpoint's record may reach into the next file
            later = sorted(p.name for p in (cluster.data / "pg_wal").iterdir() if p.name >= last[1])
            needed = set(later[:2])

    def skip(path: str) -> bool:
        if path in {"postmaster.pid", "postmaster.opts"}:
            return True
        segment = re.fullmatch(r"pg_wal/([0-9A-F]{24})", path)
        return bool(needed) and segment is not None and segment[1] not in needed

    return skip


def _configure(cluster: Cluster) -> None:
    settings = dict(cluster.settings)
    settings |= {"listen_addresses": HOST, "unix_socket_directories": cluster.socket_directory()}
    _append_settings(cluster, settings)


def _append_settings(cluster: Cluster, settings: Mapping[str, str]) -> None:
    """The last of two lines that set the same counts."""
    lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(lines)


def _start(cluster: Cluster, guarded: Guarded, port: int) -> int:
    """Start the postmaster and wait until it takes connections; its pid."""
    flags = [word for name, value in cluster.overrides.items() for word in ("-c", f"{name}={value}")]
    argv: list[str | Path] = [cluster.install.postgres, "-D", cluster.data, "-p", str(port), *flags]
    # SIGQUIT: the postmaster ends all its backends without a checkpoint, and gives its shared memory back
    pid = guarded.start(argv, cluster.env, cluster.log, farewell=signal.SIGQUIT)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if guarded.wait(pid, 0.01) is not None or not guarded.running(pid):
            raise cluster.failure("the server did not start")
        if _ready(cluster.data, pid):
            return pid
    guarded.kill()
    raise cluster.failure(f"the server took no connections within {_START_S:.0f} s")


def _ready(data: Path, pid: int) -> bool:
    """Whether the postmaster says so, in the last line of its pid file."""
    with contextlib.suppress(OSError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
