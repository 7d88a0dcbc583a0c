"""`rehearse doctor`: what this machine has for rehearsals, and what would mend what it has not."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearse.errors import RehearseError
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import embedded, machine
from rehearse.provision.binaries import Installation, local_installations
from rehearse.provision.box import has_reaper
from rehearse.provision.engine import engine_address, engine_client, engine_kind
from rehearse.provision.mysql import TITLES
from rehearse.provision.mysql_binaries import engine_in, mysql_installation, mysql_installations
from rehearse.provision.server import Request

_DATABASES = re.compile(r"(^|/)(postgres|mysql|mariadb)[\w-]*:")
_COMFORTABLE_FREE_BYTES = 10 * 1024**3
_COMFORTABLE_MEMORY_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `needed`: without it, the default way of rehearsing does not work."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    needed: bool = False


def diagnose() -> tuple[Check, ...]:
    """Look at everything; takes some two seconds, because the embedded server is really started."""
    checks: tuple[Callable[[], Check], ...] = (_python, _embedded, _disk, _memory, _local, containers)
    return tuple(check() for check in checks)


def _python() -> Check:
    detail = (
        f"Rehearse {machine.tool_version()}, Python {platform.python_version()}, {machine.platform_name()}"
    )
    return Check("python", ok=True, detail=detail, needed=True)


def _embedded() -> Check:
    started = time.monotonic()
    try:
        with embedded.provide(Request(DatabaseSpec())) as server:
            took = time.monotonic() - started
            detail = f"PostgreSQL {server.environment.server_version} started in {took:.1f} s"
    except RehearseError as error:
        return Check("embedded server", ok=False, detail=error.what, mend=error.mend, needed=True)
    return Check("embedded server", ok=True, detail=detail, needed=True)


def _disk() -> Check:
    try:
        base = machine.base_directory(machine.server_account())
    except RehearseError as error:
        return Check("disk", ok=False, detail=error.what, mend=error.mend, needed=True)
    free = machine.free_bytes(base)
    return Check(
        "disk",
        ok=free >= _COMFORTABLE_FREE_BYTES,
        detail=f"{_gigabytes(free)} free for rehearsals in {base}",
        mend="" if free >= _COMFORTABLE_FREE_BYTES else "set TMPDIR to a directory with more room",
    )


def _memory() -> Check:
    memory = machine.memory_bytes()
    enough = memory >= _COMFORTABLE_MEMORY_BYTES
    detail = f"{_gigabytes(memory)} memory, {machine.cpus()} processors"
    return Check("machine", enough, detail, "" if enough else "rehearse with fewer rows and clients")


def _local() -> Check:
    found = [_describe(home) for home in local_installations()]
    found += [_describe_mysql(home) for home in mysql_installations()]
    working = [text for text in found if text]
    return Check(
        "local installations",
        ok=bool(working),
        detail=", ".join(working) or "none found",
        mend="" if working else "only needed for local:BINDIR: install your production's version",
    )


def _describe(bindir: Path) -> str:
    try:
        version = Installation(bindir, bindir.parent, ()).version()
    except RehearseError:
        return ""
    lacks = "" if (bindir / "pg_basebackup").is_file() else ", no pg_basebackup: no standby"
    return f"{'.'.join(map(str, version))} (local:{bindir}{lacks})"


def _describe_mysql(bindir: Path) -> str:
    try:
        engine = engine_in(str(bindir))
        version = mysql_installation(str(bindir), engine).version if engine else None
    except RehearseError:
        return ""
    return "" if version is None else f"{TITLES[version.engine]} {version.text} (local:{bindir})"


def containers() -> Check:
    """The container engine, where it listens, and which images of databases it has."""
    try:
        with engine_client() as client:
            engine = f"{engine_kind(client)} {client.version()['Version']} at {engine_address()}"
            reaper = _reaper(client)
            tags = sorted(
                tag for image in client.images.list() for tag in image.tags if _DATABASES.search(tag)
            )
    except RehearseError as error:
        return Check(
            "containers", ok=False, detail=error.what, mend=f"only needed for docker:IMAGE: {error.mend}"
        )
    images = ", ".join(tags) or "no image of a database yet (pulled when first used)"
    return Check("containers", ok=True, detail=f"{engine}: {images}; {reaper}")


def _reaper(client: Any) -> str:
    """Who removes the container of a run that was killed."""
    if has_reaper(client):
        return "Ryuk removes what a killed run leaves"
    return "what a killed run leaves is removed by the next run or `rehearse clean` (there is no Ryuk here)"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f} GB"
