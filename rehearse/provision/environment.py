"""The `Environment` of a record, from a server that runs."""

from __future__ import annotations

import platform
from typing import Any

import psycopg

from rehearse.engines.postgres.server_facts import changed_settings, server_version
from rehearse.errors import ProvisionError
from rehearse.model.record import Environment
from rehearse.provision import machine

OLDEST_VERSION = 13


def describe(
    connection: psycopg.Connection[Any],
    provisioner: str,
    notes: tuple[str, ...] = (),
    *,
    cpus: int | None = None,
    memory_bytes: int | None = None,
    limits: tuple[tuple[str, str], ...] = (),
) -> Environment:
    """What runs there, and on what; ProvisionError if it is too old.

    `provisioner` is a kind of place, never an address. `cpus` and `memory_bytes` are this machine's, and
    all of it, unless the server runs elsewhere or under limits.
    """
    if connection.info.server_version < OLDEST_VERSION * 10000:
        raise ProvisionError(
            f"PostgreSQL {server_version(connection)} is too old to rehearse on",
            f"version {OLDEST_VERSION} or later is needed",
        )
    return Environment(
        provisioner=provisioner,
        server_version=server_version(connection),
        cpus=machine.cpus() if cpus is None else cpus,
        memory_bytes=machine.memory_bytes() if memory_bytes is None else memory_bytes,
        platform=machine.platform_name(),
        tool_version=machine.tool_version(),
        python_version=platform.python_version(),
        settings=changed_settings(connection),
        notes=notes,
        limits=limits,
    )
