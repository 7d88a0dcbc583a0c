"""The machine that servers are started on: what it has, and as whom a server may run."""

from __future__ import annotations

import os
import platform
import pwd
import stat
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import psutil

from rehearse.errors import ProvisionError
from rehearse.provision.guarded import Account

# Unprivileged users to run a server as when we are root, which PostgreSQL refuses; initdb needs the user
# to have an entry in the password database.
_UNPRIVILEGED = ("nobody", "postgres", "daemon")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# An empty cluster with its first write-ahead log, and room to begin.
LEAST_FREE_BYTES = 300 * 1024**2


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """The memory there is: the machine's, or less where a control group says so."""
    limits = [psutil.virtual_memory().total]
    for name in _CGROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such group, or `max`
            continue
    return min(limits)


def tool_version() -> str:
    """The version of Rehearse."""
    try:
        return metadata.version("rehearse")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def platform_name() -> str:
    """System, its version and architecture, as in `Linux 6.1.0 x86_64`."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def require_linux() -> None:
    """ProvisionError where servers cannot be tied to our life: elsewhere than on Linux."""
    if sys.platform != "linux":
        raise ProvisionError(
            f"servers of our own are run on Linux only, and this is {sys.platform}",
            'give a container ("docker:postgres:18") or a DSN',
        )


def server_account() -> Account | None:
    """Whom a server runs as: None for ourselves, an unprivileged user where we are root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ProvisionError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)}",
        "run as another user, or add one of those",
    )


def reachable(path: Path, account: Account | None) -> bool:
    """Whether `account` can run the program, or pass through the directory, that is at `path`: by the mode
    bits of it and of every directory above.
    """
    path = path.resolve()
    if account is None:
        return os.access(path, os.X_OK)
    return all(_may_execute(place, account) for place in (path, *path.parents))


def base_directory(account: Account | None) -> Path:
    """Where private directories go: $TMPDIR if that is set, else /tmp or /var/tmp, on a disk if one is.

    The server's user must be able to pass through. ProvisionError if there is no such place or no room.
    """
    for base in bases():
        if base.is_dir() and os.access(base, os.W_OK) and reachable(base, account):
            require_space(base)
            return base
    raise ProvisionError(
        f"user {account.name if account else 'you'} can reach no directory for temporary files: "
        f"{', '.join(map(str, bases()))}",
        "set TMPDIR to one",
    )


def bases() -> tuple[Path, ...]:
    """The places for private directories, the best first."""
    usual = sorted((Path("/tmp"), Path("/var/tmp")), key=in_memory)  # noqa: S108 - private directories are made in it
    chosen = [Path(os.environ["TMPDIR"])] if os.environ.get("TMPDIR") else []
    return tuple(dict.fromkeys(path.resolve() for path in (*chosen, *usual, Path(tempfile.gettempdir()))))


def in_memory(path: Path) -> bool:
    """Whether the files of a directory are kept in memory, as in many a /tmp: no place for a database that
    is to behave as one on a disk.
    """
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    path = path.resolve()
    over = [(place, kind) for _, place, kind, *_ in mounts if path.is_relative_to(place)]
    return max(over, key=lambda mount: len(mount[0]), default=("", ""))[1] in ("tmpfs", "ramfs")


def free_bytes(directory: Path) -> int:
    """Room for an ordinary user on the file system of `directory`."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def require_space(directory: Path) -> None:
    """ProvisionError if the file system of `directory` has no room for an empty server."""
    free = free_bytes(directory)
    if free < LEAST_FREE_BYTES:
        raise ProvisionError(
            f"no disk space for a server in {directory}: "
            f"{LEAST_FREE_BYTES >> 20} MB needed, {free >> 20} MB free",
            "free some, or set TMPDIR to a directory with more",
        )


def _may_execute(path: Path, account: Account) -> bool:
    """Whether the bit for owner, group or others, whichever is `account` to it, is set."""
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
