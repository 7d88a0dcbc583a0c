"""How others get at a server of ours: an address without the password, and the password in a private file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rehearse.model.target import EngineName, Target
from rehearse.provision.machine import bases
from rehearse.provision.warden import LOCK_NAME, PREFIX


@dataclass(frozen=True, slots=True)
class Access:
    """Where a database is, the file with its password alone, and a command that opens a session on it."""

    address: str
    password_file: Path | None
    command: str


@contextlib.contextmanager
def handed_over(target: Target) -> Iterator[Access]:
    """`target` for others of this user, as long as the context lasts. If we are killed, the next run or
    `rehearse clean` removes the files.
    """
    if target.password is None:
        yield Access(_address(target), None, _command(target, None))
        return
    base = next(base for base in bases() if os.access(base, os.W_OK))
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    # held as long as we live; a directory whose lock is free is swept
    lock = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file, client = directory / "password", directory / "client"
        _write(file, target.password.reveal())
        _write(client, _for_client(target, target.password.reveal()))
        yield Access(_address(target), file, _command(target, client))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text + "\n", encoding="utf-8")


def _address(target: Target) -> str:
    scheme = "postgresql" if target.engine is EngineName.POSTGRES else target.engine.value
    user, dbname = quote(target.user, safe=""), quote(target.dbname, safe="")
    return f"{scheme}://{user}@{target.host}:{target.port}/{dbname}"


def _for_client(target: Target, password: str) -> str:
    """A passfile of libpq, or an option file of the `mysql` client."""
    if target.engine is EngineName.POSTGRES:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:*:{escaped}"
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'[client]\npassword="{escaped}"'


def _command(target: Target, client: Path | None) -> str:
    if target.engine is EngineName.POSTGRES:
        passfile = "" if client is None else f"?passfile={quote(str(client))}"
        return shlex.join(["psql", _address(target) + passfile])
    program = "mariadb" if target.engine is EngineName.MARIADB else "mysql"
    options = [] if client is None else [f"--defaults-extra-file={client}"]
    place = ["--host", target.host, "--port", str(target.port), "--user", target.user, target.dbname]
    return shlex.join([program, *options, *place])
