"""A MySQL or MariaDB server of our own, from the programs of an installation, and gone with us."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rehearse.errors import InputError, RehearseError, ServerLostError
from rehearse.model.record import Environment
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import machine, mysql_log, mysql_settings, production
from rehearse.provision.files import SOCKET_PATH_LIMIT, Files, private_place
from rehearse.provision.guarded import Guarded
from rehearse.provision.mysql import MySQL, no_standby
from rehearse.provision.mysql_binaries import MySQLInstallation, mysql_installation, require_reachable
from rehearse.provision.own import HOST, OwnServer
from rehearse.provision.private import own_directory, own_file
from rehearse.provision.product import Reading, Resources
from rehearse.provision.server import Request, Server, Standby

_USER = "rehearse"
_DATABASE = "mysql"
_INSTALL_S = 180.0
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class MySQLFiles(Files):
    """See `Files`."""

    product: MySQL
    install: MySQLInstallation

    @property
    def options(self) -> Path:
        """The only option file that is read."""
        return self.directory / "my.cnf"

    @property
    def first_orders(self) -> Path:
        """SQL that makes our user, there until the server has run it."""
        return self.directory / "orders.sql"

    @property
    def reading(self) -> Reading:
        """How its log is read."""
        return mysql_log

    @property
    def shutdown(self) -> signal.Signals:
        """A shutdown in order."""
        return signal.SIGTERM

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of its programs: nothing of ours."""
        return {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "LC_ALL": "C",
            "TZ": "UTC",
        }

    def start(self, guarded: Guarded, port: int) -> int:
        """Start the server and wait until it lets our user in; its pid."""
        argv: list[str | Path] = [
            self.install.server,
            f"--defaults-file={self.options}",
            "--datadir",  # a word of its own, by which a sweep knows whose server it is
            self.data,
            f"--port={port}",
        ]
        if self.first_orders.exists():
            argv.append(f"--init-file={self.first_orders}")
        pid = guarded.start(argv, self.env, self.log, farewell=signal.SIGKILL)
        self._wait_ready(guarded, pid, port)
        self.first_orders.unlink(missing_ok=True)
        return pid

    def _wait_ready(self, guarded: Guarded, pid: int, port: int) -> None:
        deadline = time.monotonic() + _START_S
        while guarded.wait(pid, 0.05) is None and guarded.running(pid):
            with contextlib.suppress(ServerLostError):
                self.product.knock(self.target(port))
                return
            if time.monotonic() > deadline:
                guarded.kill()
                raise self.failure(f"the server took no connections within {_START_S:.0f} s")
        raise self.failure("the server did not start")

    def target(self, port: int) -> Target:
        """The database `mysql`, as a user who may do everything."""
        return Target(
            self.product.engine,
            HOST,
            port,
            _DATABASE,
            _USER,
            self.password,
            options=(("ssl-mode", "DISABLED"),),
            disposable=True,
        )

    def describe(self, target: Target, provisioner: str, notes: tuple[str, ...]) -> Environment:
        """What runs there."""
        return self.product.describe(target, provisioner, notes, Resources())

    def unneeded(self) -> Callable[[str], bool]:
        """All of them are needed."""
        return lambda _: False

    def standby_of(self, server: OwnServer) -> AbstractContextManager[Standby]:  # noqa: ARG002 - see `Files`
        """ProvisionError: not yet."""
        raise no_standby(self.product.engine.value)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write the option file anew: these, and where everything is."""
        socket = self.directory / "data" / "s"
        places = {
            "basedir": str(self.install.basedir),
            "bind_address": HOST,
            "socket": str(socket) if len(str(socket)) <= SOCKET_PATH_LIMIT else "s",
            "pid_file": str(self.data / "pid"),
            "tmpdir": str(self.directory / "tmp"),
            "secure_file_priv": str(self.directory / "tmp"),
            "loose_mysqlx": "OFF",
        }
        lines = [
            "[mysqld]",
            *(f"{name} = {_quoted(value)}" for name, value in {**settings, **places}.items()),
        ]
        own_file(self.options, "\n".join(lines), self.account)


@contextlib.contextmanager
def provide(request: Request, product: MySQL) -> Iterator[Server]:
    """A fresh server from the programs in that directory; data and options of any other are not used."""
    machine.require_linux()
    install = mysql_installation(request.argument, product.engine)
    account = machine.server_account()
    require_reachable(install, account)
    with private_place(account) as (guarded, place):
        files = MySQLFiles(guarded.directory, account, Secret(secrets.token_urlsafe(24)), product, install)
        settings = product.settings_for(machine.memory_bytes(), request.spec.settings)
        _initialise(files, guarded, settings)
        server = OwnServer(files, guarded)
        taken = _take_over(server, files, request.spec, settings)
        server.describe("local", (*place, *mysql_settings.notes_for(settings), *taken))
        yield server


def _initialise(files: MySQLFiles, guarded: Guarded, settings: Mapping[str, str]) -> None:
    """Make the data directory, the options and the first orders."""
    own_directory(files.directory / "tmp", files.account)
    own_directory(files.data, files.account)
    if guarded.run(_installing(files), files.env, files.log, _INSTALL_S) != 0:
        raise files.failure("the data directory could not be made")
    files.configure(settings)
    own_file(files.first_orders, "\n".join(_first_orders(files)), files.account)


def _first_orders(files: MySQLFiles) -> tuple[str, ...]:
    """A line each: our user comes, and nobody else may log in, as root could without a password."""
    user = f"'{_USER}'@'{HOST}'"
    ours = (
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{files.password.reveal()}';",
        f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION;",
    )
    if files.product.engine is EngineName.MYSQL:
        return (*ours, "ALTER USER 'root'@'localhost' ACCOUNT LOCK;")
    # there is a root for the name of the machine, too
    return (*ours, "DELETE FROM mysql.global_priv WHERE User = 'root' OR User = '';", "FLUSH PRIVILEGES;")


def _installing(files: MySQLFiles) -> list[str | Path]:
    places = [f"--basedir={files.install.basedir}", f"--datadir={files.data}"]
    if files.product.engine is EngineName.MYSQL:
        return [files.install.server, "--no-defaults", "--initialize-insecure", *places]
    assert files.install.installer is not None
    return [
        "/bin/sh",
        files.install.installer,
        "--no-defaults",
        *places,
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
        "--skip-name-resolve",
        "--force",  # a machine that does not know its own name is no reason not to
    ]


def _take_over(
    server: OwnServer, files: MySQLFiles, spec: DatabaseSpec, settings: Mapping[str, str]
) -> tuple[str, ...]:
    """Start again with what can be had of production's settings; notes on what could not."""
    if spec.production is None:
        return ()
    product = files.product
    takeover = product.examine(server.target, spec, machine.memory_bytes())
    files.configure(product.merged(settings, takeover))
    try:
        server.restart()
    except RehearseError as error:
        raise InputError(f"with production's settings, {error.what}", production.mend(spec)) from error
    return production.notes(product.confirmed(server.target, takeover), spec)


def _quoted(value: str) -> str:
    """As an option file takes it: a `#` would begin a comment."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
