"""`pg_stat_statements` in, a weighted mix of single statements out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from rehearse.engines.postgres.command import command_of, control_of
from rehearse.engines.postgres.connect import connect
from rehearse.errors import InputError
from rehearse.model.schema import Schema
from rehearse.model.target import Target
from rehearse.workload.evidence.check import Checker
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.folder import Written, select
from rehearse.workload.evidence.logged import pieces_of
from rehearse.workload.evidence.mix import Group, Step
from rehearse.workload.evidence.scripting import Draft, Unusable, script_of
from rehearse.workload.evidence.shape import UnscriptableError, shape_of
from rehearse.workload.evidence.system import own_tables, system_reason
from rehearse.workload.evidence.values import Seen

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_SCRIPTABLE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"})
_CANNOT_KNOW = (
    (
        "pg_stat_statements does not know transactions: each statement is a script of its own, and locks are "
        "held for one statement only; give logs to from-log for whole transactions"
    ),
    "nor does it know parameters: all rows are drawn alike, hot ones are not",
)
_SCHEMA = """
    SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
     WHERE extname = 'pg_stat_statements'
"""
_SINCE = "SELECT extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS s FROM {relation}"
_QUERY = """
    SELECT s.query, s.calls, s.rows, coalesce(to_jsonb(s)->>'toplevel', 'true') AS toplevel
      FROM {relation} s JOIN pg_database d ON d.oid = s.dbid
     WHERE d.datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows of the view, and the seconds over which their calls were counted (None: unknown)."""

    rows: tuple[Mapping[str, str], ...]
    seconds: float | None


def read_csv(path: Path, seconds: float | None) -> Statistics:
    """An export with a header. Raises InputError where `query` or `calls` is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            csv.field_size_limit(1 << 27)
            reader = csv.DictReader(stream, strict=True)
            missing = {"query", "calls"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path} has no column {' and '.join(sorted(missing))}",
                    "export with \\copy (SELECT * FROM pg_stat_statements) TO 'FILE.csv' CSV HEADER",
                )
            return Statistics(tuple(reader), seconds)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no CSV in UTF-8: {error}") from None


def read_server(target: Target, seconds: float | None) -> Statistics:
    """The view of the database that `target` names, in a transaction that only reads."""
    with connect(target, "rehearse") as connection:
        connection.execute("SET default_transaction_read_only = on")
        try:
            found = connection.execute(_SCHEMA).fetchone()
            if found is None:
                raise InputError(
                    f"database {target.dbname!r} has no pg_stat_statements",
                    "CREATE EXTENSION pg_stat_statements",
                )
            return _read(connection, found[0], seconds)
        except psycopg.Error as error:
            raise InputError(f"pg_stat_statements cannot be read: {error.diag.message_primary}") from None


def _read(connection: Connection, schema: str, seconds: float | None) -> Statistics:
    view = sql.Identifier(schema, "pg_stat_statements")
    info = sql.Identifier(schema, "pg_stat_statements_info")
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = tuple(
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in cursor.execute(sql.SQL(_QUERY).format(relation=view))
        )
        known = cursor.execute("SELECT to_regclass(%s) AS r", [info.as_string(connection)]).fetchone()
        if seconds is None and known is not None and known["r"] is not None:
            since = cursor.execute(sql.SQL(_SINCE).format(relation=info)).fetchone()
            seconds = float(since["s"]) if since is not None and since["s"] else None
    return Statistics(rows, seconds)


def distil_statistics(statistics: Statistics, schema: Schema, checker: Checker, *, most: int) -> Written:
    """The mix that `statistics` tell, at most `most` scripts. Raises InputError if there is none."""
    tally = Tally()
    made: list[Draft | Unusable] = []
    merged: dict[str, Group] = {}
    own = own_tables(schema)
    commits = 0
    for row in statistics.rows:
        count = _calls(row)
        if row.get("query", "").strip().rstrip(";").upper() in {"COMMIT", "END"}:
            commits += count
        group = _group(row, count, tally, own)
        if group is not None:
            known = merged.setdefault(group.steps[0].shape.text, group)
            if known is not group:
                known.count += group.count
    made = [script_of(group, _origin(group), schema, checker) for group in merged.values()]
    for note in _notes(statistics, merged.values(), commits):
        tally.note(note)
    calls = sum(group.count for group in merged.values())
    rate = calls / statistics.seconds if statistics.seconds else None
    return select(made, rate, most, tally)


def _notes(statistics: Statistics, groups: Iterable[Group], commits: int) -> Iterable[str]:
    yield from _CANNOT_KNOW
    calls = sum(group.count for group in groups)
    if commits:
        each = f"{calls / commits:.1f} for each, at most"
        yield f"{commits} COMMITs were counted beside {calls} statements: {each}"
    if statistics.seconds is None:
        yield "since when calls were counted is not known: weights are right, the rate is yours (--seconds)"


def _origin(group: Group) -> str:
    return (
        f"From pg_stat_statements: called {group.count} times. Whether it is part of a larger transaction "
        "is not known."
    )


def _calls(row: Mapping[str, str]) -> int:
    try:
        return max(0, int(float(row["calls"])))
    except (ValueError, KeyError):
        return 0


def _group(row: Mapping[str, str], count: int, tally: Tally, own: frozenset[str]) -> Group | None:
    """One row as a group of one statement; None if it is left out, which is counted in calls."""
    reason, step = _step(row, own)
    if step is None or not count:
        tally.left_out[reason or "statements that were never called"] += count
        return None
    slots = len(step.shape.slots)
    partition = [_number(step, place) for place in range(slots)]
    return Group((step,), [Seen() for _ in range(slots)], partition, count)


def _number(step: Step, place: int) -> int:
    slots = step.shape.slots
    same = (other for other in range(place) if slots[other].parameter == slots[place].parameter)
    return next(same, place)


def _step(row: Mapping[str, str], own: frozenset[str]) -> tuple[str, Step | None]:
    if row.get("toplevel", "").lower() in {"f", "false"}:
        return "calls from inside of functions", None
    pieces = pieces_of(row.get("query") or "")
    if pieces is None or len(pieces) != 1:
        return "calls of statements whose text is not whole", None
    command = command_of(pieces[0])
    if control_of(pieces[0]) is not None or command not in _SCRIPTABLE:
        return "calls of utility statements", None
    try:
        shape, _values = shape_of(pieces[0], ())
    except UnscriptableError as error:
        return f"calls of statements with {error}", None
    if system := system_reason(shape, own):
        return f"calls {system}", None
    return "", Step(shape, command, None, 0)
