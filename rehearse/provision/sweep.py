"""Leftovers of runs whose warden was killed as well: directories, and servers that still use them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from rehearse.provision.warden import LOCK_NAME, PREFIX, SharedMemory


def sweep_directories(base: Path) -> tuple[str, ...]:
    """Remove what dead runs of this user left under `base`; says what, a line each. Never raises for what
    it cannot remove: the next run tries again.
    """
    done = []
    for directory in leftover_directories(base):
        killed = _kill_servers_in(directory)
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            done.append(
                f"directory {directory}" + (f" and the server in it ({killed} processes)" if killed else "")
            )
    return tuple(done)


def leftover_directories(base: Path) -> Iterator[Path]:
    """Our directories under `base` that no warden holds any more."""
    for directory in sorted(base.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            if _abandoned(directory):
                yield directory


def _abandoned(directory: Path) -> bool:
    lock = directory / LOCK_NAME
    if not lock.is_file():
        # not a warden's, or so fresh that it is just about to take it
        return False
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kill_servers_in(directory: Path) -> int:
    """Kill every server whose data directory lies in `directory`, with its children; how many processes."""
    victims: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        if str(directory / "data") in (process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                victims += (process, *process.children(recursive=True))
    shared_memory = SharedMemory()
    shared_memory.note([victim.pid for victim in victims], str(directory))
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            victim.kill()
    psutil.wait_procs(victims, timeout=5)
    shared_memory.remove()
    return len(victims)
