"""Logs in, a weighted mix of scripts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rehearse.errors import InputError
from rehearse.model.schema import Schema
from rehearse.workload.evidence.check import Checker
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.files import read_logs
from rehearse.workload.evidence.folder import Written, select
from rehearse.workload.evidence.mix import Group, distil
from rehearse.workload.evidence.scripting import script_of
from rehearse.workload.evidence.system import own_tables
from rehearse.workload.evidence.trace import TraceFacts, write_trace
from rehearse.workload.evidence.transactions import Sessions, Wanted

_MIN_S = 1.0


def distil_logs(
    paths: Sequence[Path],
    *,
    log_line_prefix: str,
    wanted: Wanted,
    schema: Schema | None,
    checker: Checker | None,
    most: int,
) -> Written:
    """The mix in `paths`: at most `most` scripts. Raises InputError where they cannot be read."""
    tally = Tally()
    sessions = Sessions(wanted, tally)
    mix = distil(sessions.transactions(read_logs(paths, log_line_prefix, tally)), tally, own_tables(schema))
    if len(sessions.databases) > 1:
        tally.note(f"the log has {len(sessions.databases)} databases in it: choose one with --database")
    if schema is None:
        tally.note("without --schema no value is drawn from rows: numbers are drawn from the range seen")
    made = [script_of(group, _origin(group), schema, checker) for group in mix.groups.values()]
    seconds = mix.seconds
    if seconds < _MIN_S:
        tally.note("the log is shorter than a second: no rate can be told from it")
    rate = mix.transactions / seconds if seconds >= _MIN_S else None
    return select(made, rate, most, tally)


def trace_logs(
    paths: Sequence[Path], out: Path, *, log_line_prefix: str, wanted: Wanted
) -> tuple[TraceFacts, Tally]:
    """Everything in `paths` that is whole, as the trace `out`. Raises InputError as `distil_logs`, and where
    there is nothing to replay.
    """
    tally = Tally()
    sessions = Sessions(wanted, tally)
    items = read_logs(paths, log_line_prefix, tally)
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = write_trace(out, sessions.transactions(items), tally)
    if not facts.statements:
        out.unlink()
        raise InputError("no whole transaction is in the logs", "log_min_duration_statement = 0 logs them")
    if len(sessions.databases) > 1:
        tally.note(f"the log has {len(sessions.databases)} databases in it: choose one with --database")
    return facts, tally


def _origin(group: Group) -> str:
    return f"Distilled from logs of PostgreSQL: {group.count} transactions were like this one."
