"""Whether the data set fits on the disk, where the server's disk can be seen from here."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from rehearse.dataset.generate import Generator
from rehearse.dataset.recipe import DatasetPlan
from rehearse.dataset.session import Connection
from rehearse.errors import EnvironmentFailure
from rehearse.model.schema import Schema
from rehearse.model.target import Target

_SAMPLE_ROWS = 50
_ROW_OVERHEAD_BYTES = 36
_INDEX_ENTRY_BYTES = 32
_LOCAL = ("localhost", "127.0.0.1", "::1")


def require_room(connection: Connection, target: Target, plan: DatasetPlan, schema: Schema) -> None:
    """EnvironmentFailure if the server's file system has clearly no room for the plan's rows."""
    directory = _data_directory(connection, target)
    if directory is None:
        return
    needed = estimated_bytes(plan, schema)
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise EnvironmentFailure(
            f"disk: the data set needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            "ask for fewer rows",
        )


def estimated_bytes(plan: DatasetPlan, schema: Schema) -> int:
    """Heap and indexes by the width of a few rows of each table, and the log that a checkpoint leaves."""
    generator = Generator(plan)
    total = 0
    for relation, count in plan.rows.items():
        if count:
            sample = min(count, _SAMPLE_ROWS)
            width = len(generator.csv(relation, 0, sample)) // sample + _ROW_OVERHEAD_BYTES
            indexes = len(schema.table(relation).indexes)
            total += count * (width + indexes * _INDEX_ENTRY_BYTES)
    return total * 5 // 4


def _data_directory(connection: Connection, target: Target) -> Path | None:
    """The data directory, if the server runs on this machine and its directory can be read."""
    if not target.host.startswith("/") and target.host not in _LOCAL:
        return None
    try:
        row = connection.execute("SHOW data_directory").fetchone()
        directory = Path(row[0]) if row else None
        # a container's server is "local" too, but its directory is not ours
        if directory is not None and str(target.port) in (directory / "postmaster.pid").read_text().split():
            return directory
    except (psycopg.Error, OSError):
        return None
    return None
