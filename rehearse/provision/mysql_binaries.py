"""Directories of MySQL and MariaDB programs: found, told apart, and checked."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rehearse.engines.mysql.server_facts import Version, parse_version
from rehearse.errors import ProvisionError
from rehearse.model.target import EngineName
from rehearse.provision.guarded import Account
from rehearse.provision.machine import reachable

SERVERS = ("mariadbd", "mysqld")  # MariaDB's may have both names, and the first tells it apart
_PLACES = (
    "/usr/sbin",
    "/usr/local/mysql/bin",
    "/usr/local/mariadb/bin",
    "/opt/mysql/bin",
    "/opt/mariadb/bin",
)
_INSTALLERS = ("mariadb-install-db", "mysql_install_db")


@dataclass(frozen=True, slots=True)
class MySQLInstallation:
    """The program of a server, and the directory that its other files are under."""

    server: Path
    version: Version

    @property
    def basedir(self) -> Path:
        """What the server takes the places of its messages and plugins from."""
        return self.server.parent.parent

    @property
    def installer(self) -> Path | None:
        """MariaDB's program that makes a data directory; MySQL's server makes its own."""
        places = (self.server.parent, self.basedir / "scripts", self.basedir / "bin")
        found = (place / name for name in _INSTALLERS for place in places)
        return next((path for path in found if path.is_file()), None)


def mysql_installation(bindir: str, engine: EngineName) -> MySQLInstallation:
    """The programs of an installation on this machine, by the directory of `mysqld` or `mariadbd`.

    ProvisionError if it has neither, the one there is the other product's, or lacks its installer.
    """
    if not bindir:
        raise ProvisionError("local: names no directory", "local:/usr/sbin, for instance")
    home = Path(bindir).expanduser().absolute()
    server = next((home / name for name in SERVERS if (home / name).is_file()), None)
    if server is None:
        raise ProvisionError(
            f"no {' and no '.join(SERVERS)} in {home}",
            "name the directory that has one; it comes with the server's package, not the client's",
        )
    server = server.resolve()  # a link is not where its other files are
    install = MySQLInstallation(server, _version(server))
    if install.version.engine is not engine:
        raise ProvisionError(
            f"{server} is {install.version.engine.value} {install.version.text}, not {engine.value}",
            f'engine = "{install.version.engine.value}"',
        )
    if engine is EngineName.MARIADB and install.installer is None:
        raise ProvisionError(
            f"no {' and no '.join(_INSTALLERS)} beside {server}, which makes a data directory",
            "it comes with the server's package",
        )
    return install


def engine_in(bindir: str) -> EngineName | None:
    """Whose server a directory of programs holds; None where it is neither MySQL's nor MariaDB's."""
    home = Path(bindir).expanduser()
    server = next((home / name for name in SERVERS if (home / name).is_file()), None)
    return None if server is None else _version(server.resolve()).engine


def mysql_installations() -> tuple[Path, ...]:
    """Directories with a server on this machine that `local:` would take."""
    candidates = [Path(path) for path in os.environ.get("PATH", "").split(os.pathsep) if path]
    candidates += map(Path, _PLACES)
    found = [place for place in candidates if any((place / name).is_file() for name in SERVERS)]
    return tuple({place.resolve(): place for place in found})


def require_reachable(install: MySQLInstallation, account: Account | None) -> None:
    """ProvisionError if the user that a server runs as here cannot run it."""
    if not reachable(install.server, account):
        assert account is not None
        raise ProvisionError(
            f"user {account.name}, whom a server runs as here, may not run {install.server}",
            "install it where everyone may, or run as another user than root",
        )


def _version(server: Path) -> Version:
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user named
            [server, "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            env={},
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionError(f"{server} does not run: {error}") from error
    match = re.search(r"Ver (\S+)", done.stdout)
    if match is None:
        reason = (done.stderr or done.stdout).strip().splitlines()[:1] or ["no version printed"]
        raise ProvisionError(f"{server} does not run: {reason[0]}")
    return parse_version(match[1])
