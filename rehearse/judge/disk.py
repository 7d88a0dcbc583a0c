"""How much room on the disk the migration needed, at its peak."""

from __future__ import annotations

from rehearse.model.migration import MigrationRun
from rehearse.model.record import Trial


def disk_peak_bytes(trial: Trial, run: MigrationRun) -> float | None:
    """Bytes beyond those that were used before: what was sampled of the database and of temporary files,
    the traffic's part among them, or what one transaction wrote anew before it could let go of the old
    files, whichever is more. None where the database's size was not read before and after.
    """
    sizes = [
        (sample.at_ns, sample.database_bytes + (sample.temporary_bytes or 0))
        for sample in trial.resources
        if sample.database_bytes is not None
    ]
    before = [size for at_ns, size in sizes if at_ns <= run.started_ns]
    since = [(at_ns, size) for at_ns, size in sizes if at_ns > run.started_ns]
    after = [size for at_ns, size in since if at_ns >= run.ended_ns]
    if not before or not after:
        return None
    during = [size for at_ns, size in since if at_ns < run.ended_ns]
    sampled = max([*during, after[0]]) - before[-1]
    return float(max(0, sampled, _written_anew(run)))


def _written_anew(run: MigrationRun) -> int:
    """The most that one transaction wrote into new files: tables and indexes at their size afterwards."""
    anew: dict[int, int] = {}
    for statement in run.statements:
        effects = statement.effects
        if effects is not None:
            size = sum(work.size_bytes for work in effects.rewritten)
            size += sum(build.size_bytes for build in effects.built)
            anew[statement.transaction] = anew.get(statement.transaction, 0) + size
    return max(anew.values(), default=0)
