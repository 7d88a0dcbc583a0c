"""Whether the data set fits on the disk, where the server's disk can be seen from here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from rehearse.dataset.generate import Generator
from rehearse.dataset.recipe import DatasetPlan
from rehearse.dataset.session import Connection
from rehearse.errors import EnvironmentFailure
from rehearse.model.relation import Relation
from rehearse.model.scales import size
from rehearse.model.schema import Schema
from rehearse.model.target import Target

_SAMPLE_ROWS = 50
_ROW_OVERHEAD_BYTES = 36
_INDEX_ENTRY_BYTES = 32
_MARGIN = 1.1
_FULL_BYTES = 32 << 20
# file systems that copy by sharing blocks, and the first server that asks them to
_SHARING, _CLONES = frozenset({"btrfs", "xfs", "bcachefs", "apfs"}), 180_000
_LOCAL = ("localhost", "127.0.0.1", "::1")
# checkpoints begin before the log is as large as it may get, and it goes on growing until they end
_LOG_LIMIT = (
    "SELECT setting::bigint * 1048576 * 5 / 4 FROM pg_catalog.pg_settings WHERE name = 'max_wal_size'"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a load will take: of tables, of indexes, of the log until a checkpoint clears it, of
    the sorting of the largest index, and of the copies that trials make of tables and indexes later.
    """

    table_bytes: int
    index_bytes: int
    log_bytes: int
    sort_bytes: int
    copy_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it, with some margin."""
        loaded = self.table_bytes + self.index_bytes + self.log_bytes
        # what was sorted is gone by then
        return round((loaded + max(self.sort_bytes, self.copy_bytes)) * _MARGIN)


def require_room(
    connection: Connection, target: Target, plan: DatasetPlan, schema: Schema, *, copies: float = 0.0
) -> None:
    """EnvironmentFailure if the server's file system has no room for the plan's rows, by our estimate, nor
    for so many `copies` of them beside.
    """
    directory = data_directory(connection, target)
    if directory is None:
        return
    row = connection.execute(_LOG_LIMIT).fetchone()
    if connection.info.server_version >= _CLONES and _shares_blocks(directory):
        copies = 0.0
    needed = estimate(plan, schema, log_limit_bytes=row[0] if row else 0, copies=copies)
    free = shutil.disk_usage(directory).free
    if needed.total_bytes > free:
        later = f", {copies:g} times tables and indexes again for the trials" if copies else ""
        raise EnvironmentFailure(
            f"disk: the data set needs about {size(needed.total_bytes)} "
            f"(tables {size(needed.table_bytes)}, "
            f"indexes {size(needed.index_bytes + needed.sort_bytes)}, write-ahead log "
            f"{size(needed.log_bytes)}{later}), {size(free)} are free in {directory}",
            "ask for fewer rows, or set TMPDIR to a directory with more"
            if target.disposable
            else "ask for fewer rows",
        )


def _shares_blocks(directory: Path) -> bool:
    """Whether copies in this directory share the blocks of what they are copied from, as far as the kind of
    its file system tells.
    """
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    above = (directory, *directory.parents)
    return next((mounts[path] for path in above if path in mounts), "") in _SHARING


def is_full(directory: Path | None) -> bool:
    """Whether there is no room for another segment of the log, without which a server ends itself."""
    try:
        return directory is not None and shutil.disk_usage(directory).free < _FULL_BYTES
    except OSError:
        return False


def estimate(plan: DatasetPlan, schema: Schema, *, log_limit_bytes: int, copies: float = 0.0) -> Estimate:
    """What the plan's rows will take, by the width of a few rows of each table, and their `copies`."""
    generator = Generator(plan)
    tables, indexes = 0, [0]
    for relation, count in plan.rows.items():
        if count:
            tables += count * (text_width(generator, relation) + _ROW_OVERHEAD_BYTES)
            indexes += [count * _INDEX_ENTRY_BYTES] * len(schema.table(relation).indexes)
    loaded = tables + sum(indexes)
    log_bytes = min(loaded, log_limit_bytes)
    return Estimate(tables, sum(indexes), log_bytes, max(indexes), round(copies * loaded))


def text_width(generator: Generator, relation: Relation) -> int:
    """How many bytes a row of that table has as text, by a few of them."""
    sample = max(1, min(generator.plan.tables[relation].rows, _SAMPLE_ROWS))
    return len(generator.csv(relation, 0, sample)) // sample


def data_directory(connection: Connection, target: Target) -> Path | None:
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
