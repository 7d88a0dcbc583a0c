"""The migration at several sizes."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.migration import MigrationRun
from rehearse.model.relation import Relation


@dataclass(frozen=True, slots=True)
class ScaleRun:
    """The migration, alone, on a copy with `part` (0 to 1) of the rows. `rows` are those of each table;
    `disk_peak_bytes` is sampled while it runs: database and temporary files, without the log.
    """

    part: float
    rows: tuple[tuple[Relation, int], ...]
    run: MigrationRun
    disk_before_bytes: int
    disk_peak_bytes: int
    disk_after_bytes: int


@dataclass(frozen=True, slots=True)
class ScaleFacts:
    """The migration at several sizes, several times each. `fixed` are tables that have rows, and as many at
    every size, because a file loads them: how work on those grows is not known.
    """

    runs: tuple[ScaleRun, ...]
    fixed: tuple[Relation, ...] = ()
