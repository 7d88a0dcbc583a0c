"""A PostgreSQL server of our own, made from a directory of programs and gone with us without a trace."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rehearse.engines.postgres.connect import connect
from rehearse.errors import InputError, ProvisionError, RehearseError
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import log, machine, production
from rehearse.provision.binaries import Installation, bring_within_reach
from rehearse.provision.environment import describe
from rehearse.provision.guarded import Account, Guarded
from rehearse.provision.server import Request, Server
from rehearse.provision.settings import notes_for, settings_for
from rehearse.provision.sweep import sweep_directories

USER = "rehearse"
MAINTENANCE_DATABASE = "postgres"

_HOST = "127.0.0.1"
_INITDB_S = 120.0
_START_S = 60.0
_PORT_TRIES = 5
_SOCKET_PATH_LIMIT = 107  # bytes in a Unix socket's address
_BUILTIN_LOCALES = 17  # the first version with a locale provider of its own, the same on every machine


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files of one server, and what it takes to start it."""

    install: Installation
    directory: Path
    account: Account | None
    password: Secret
    settings: dict[str, str]

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What initdb and the server print."""
        return self.directory / "log"

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of initdb and the server: nothing of ours."""
        words = {"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "LC_ALL": "C", "TZ": "UTC"}
        if self.install.libraries is not None:
            words["LD_LIBRARY_PATH"] = str(self.install.libraries)
        return words


class OwnServer:
    """A server that runs as a child of a warden of ours. See `Server`."""

    def __init__(self, cluster: Cluster, guarded: Guarded) -> None:
        self._cluster = cluster
        self._guarded = guarded
        self._pid, self._port = _start_on_free_port(cluster, guarded)
        self._log_offset = 0  # characters of it that are about earlier lives
        self._environment: Environment | None = None

    @property
    def target(self) -> Target:
        """The maintenance database, as superuser."""
        return Target(
            EngineName.POSTGRES,
            _HOST,
            self._port,
            MAINTENANCE_DATABASE,
            USER,
            self._cluster.password,
            options=(("sslmode", "disable"), ("gssencmode", "disable")),
            disposable=True,
        )

    @property
    def environment(self) -> Environment:
        """What it is and runs on."""
        assert self._environment is not None
        return self._environment

    @property
    def pid(self) -> int | None:
        """The postmaster."""
        return self._pid

    @property
    def data_directory(self) -> Path | None:
        """The data directory."""
        return self._cluster.data

    def describe(self, provisioner: str, notes: tuple[str, ...]) -> None:
        """Ask the server what it is, for `environment`."""
        with connect(self.target, "rehearse") as connection:
            self._environment = describe(connection, provisioner, notes)

    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return self._guarded.running(self._pid)

    def last_words(self) -> str:
        """Why it ended; also, while it runs, of a backend's crash that it got over since it was started."""
        text = _text(self._cluster.log)[self._log_offset :]
        if self.alive():
            return log.crash(text)
        return "; ".join(part for part in (log.reason(text), self._ending()) if part)

    def _ending(self) -> str:
        code = self._guarded.wait(self._pid, 0.0)
        if code is None:
            return "its warden was killed"
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """SIGKILL to the postmaster and every backend."""
        self._guarded.kill()

    def restart(self) -> None:
        """Start again on the same data and port, recovering if it was killed."""
        if self.alive():
            self._guarded.signal(signal.SIGINT)  # a fast shutdown
            if self._guarded.wait(self._pid, _START_S) is None:
                self.kill()
        self._log_offset = len(_text(self._cluster.log))
        self._pid = _start(self._cluster, self._guarded, self._port)


@contextlib.contextmanager
def own_server(install: Installation, name: str, request: Request) -> Iterator[Server]:
    """A fresh server from these programs; `name` is the provisioner's, for the record."""
    machine.require_linux()
    account = machine.server_account()
    base = machine.base_directory(account)
    sweep_directories(base)
    version = install.version()
    with Guarded(base, account) as guarded:
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
        locale = _initialise(cluster, guarded, version)
        server = OwnServer(cluster, guarded)
        taken = _take_over(server, cluster, request.spec)
        place = ("its files are in memory, which no production's are",) if machine.in_memory(base) else ()
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
    _own_directory(cluster.data, cluster.account)
    password_file = cluster.directory / "password"
    _own_file(password_file, cluster.password.reveal(), cluster.account)
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
                return (
                    f"locale C.UTF-8 ({'builtin' if builtin else 'libc'})"
                    if builtin or locale != "C"
                    else "locale C"
                )
            if "invalid locale" not in _text(cluster.log):
                break
    finally:
        password_file.unlink()
    raise _failure(cluster, "initdb failed")


def _configure(cluster: Cluster) -> None:
    settings = dict(cluster.settings)
    settings |= {"listen_addresses": _HOST, "unix_socket_directories": _socket_directory(cluster)}
    _append_settings(cluster, settings)


def _append_settings(cluster: Cluster, settings: Mapping[str, str]) -> None:
    """The last of two lines that set the same counts."""
    lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(lines)


def _socket_directory(cluster: Cluster) -> str:
    """A directory for the Unix socket, or none where its path would be too long for one."""
    directory = cluster.directory / "socket"
    if len(f"{directory}/.s.PGSQL.65535") > _SOCKET_PATH_LIMIT:
        return ""
    _own_directory(directory, cluster.account)
    return str(directory)


def _start_on_free_port(cluster: Cluster, guarded: Guarded) -> tuple[int, int]:
    """Start the server; (pid, port). Between choosing a port and listening on it, someone else may take it:
    then the server says so, and another is tried.
    """
    for _ in range(_PORT_TRIES):
        port = free_port()
        try:
            return _start(cluster, guarded, port), port
        except ProvisionError:
            if "Address already in use" not in _text(cluster.log):
                raise
            cluster.log.write_text("")
    raise ProvisionError(f"no free port on {_HOST} after {_PORT_TRIES} tries")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _start(cluster: Cluster, guarded: Guarded, port: int) -> int:
    """Start the postmaster and wait until it takes connections; its pid."""
    argv: list[str | Path] = [cluster.install.postgres, "-D", cluster.data, "-p", str(port)]
    # SIGQUIT: the postmaster ends all its backends without a checkpoint, and gives its shared memory back
    pid = guarded.start(argv, cluster.env, cluster.log, farewell=signal.SIGQUIT)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if guarded.wait(pid, 0.01) is not None or not guarded.running(pid):
            raise _failure(cluster, "the server did not start")
        if _ready(cluster.data, pid):
            return pid
    guarded.kill()
    raise _failure(cluster, f"the server took no connections within {_START_S:.0f} s")


def _ready(data: Path, pid: int) -> bool:
    """Whether the postmaster says so, in the last line of its pid file."""
    with contextlib.suppress(OSError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def _failure(cluster: Cluster, what: str) -> RehearseError:
    setting = log.bad_setting(_text(cluster.log))
    if setting:
        return InputError(f"{what}: {setting}", "mend [database.settings]")
    reason = log.reason(_text(cluster.log))
    if "No space left on device" in _text(cluster.log):
        machine.require_space(cluster.directory)  # says how much is needed and free
    return ProvisionError(f"{what}: {reason or 'its log says nothing'}")


def _text(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _own_directory(path: Path, account: Account | None) -> None:
    path.mkdir(mode=0o700)
    path.chmod(0o700)
    _give(path, account)


def _own_file(path: Path, text: str, account: Account | None) -> None:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    _give(path, account)


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
