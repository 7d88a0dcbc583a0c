"""Dead row versions: tables as they are after years of updates, not as they are after a load."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import psycopg
from psycopg import sql

from rehearse.dataset.session import Connection, Job, in_parallel, name_of, open_session, translated
from rehearse.dataset.settle import Size
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.relation import Relation
from rehearse.model.schema import Identity, Schema, Table
from rehearse.model.target import Target

_PARTS = 1 << 20  # into which the hashes of rows are divided


def wear(target: Target, dead: Mapping[Relation, float], seed: int) -> tuple[int, tuple[str, ...]]:
    """Updates rows of these tables to what they are already, until the share `dead` of a table's row
    versions is dead; which rows is decided by what is in them. Returns the database's bytes afterwards, and
    notes on tables that were left as they are.
    """
    with open_session(target, replica=False) as connection:
        schema = introspect(connection)
        superuser = _may_silence_triggers(connection)
        jobs, notes = [], []
        for relation, share in dead.items():
            table = schema.table(relation)
            column = _harmless_column(table)
            if column is None or (_has_triggers(schema, table) and not superuser):
                notes.append(
                    f"{relation} has no dead rows: its triggers would fire, or no column can be updated"
                )
                continue
            jobs.append(_job(relation, column, share, seed))
        in_parallel(target, jobs, streams=2, replica=superuser)
        return Size.of(connection).size_bytes, tuple(notes)


def _job(relation: Relation, column: str, share: float, seed: int) -> Job:
    per_row = share / (1 - share)  # dead versions for each live one
    passes = math.ceil(per_row)
    chosen = round(per_row / passes * _PARTS)
    table = name_of(relation)

    def job(connection: Connection) -> None:
        try:
            for number in range(passes):
                connection.execute(
                    sql.SQL(
                        "UPDATE {} AS rehearse_row SET {} = {} WHERE "
                        "(pg_catalog.hashtextextended(rehearse_row::text, {}) & {}) < {}"
                    ).format(
                        table,
                        sql.Identifier(column),
                        sql.Identifier("rehearse_row", column),
                        sql.Literal((seed + number) % 2**62),
                        sql.Literal(_PARTS - 1),
                        sql.Literal(chosen),
                    )
                )
            connection.execute(sql.SQL("ANALYZE {}").format(table))
            if _may_silence_triggers(connection):
                connection.execute("CHECKPOINT")
        except psycopg.Error as error:
            raise translated(error, f"the dead rows of {relation}") from None

    return job


def _harmless_column(table: Table) -> str | None:
    """A column that can be set to what it is; rather one that no index and no partition hangs on."""
    candidates = [c.name for c in table.columns if not c.generated and c.identity is not Identity.ALWAYS]
    used = {name for index in table.indexes for name in index.uses}
    return next(iter(sorted(candidates, key=lambda name: name in used)), None)


def _has_triggers(schema: Schema, table: Table) -> bool:
    return bool(table.triggers) or any(_has_triggers(schema, child) for child in _partitions(schema, table))


def _partitions(schema: Schema, table: Table) -> Iterator[Table]:
    return (child for child in schema.tables if child.partition_of == table.relation)


def _may_silence_triggers(connection: Connection) -> bool:
    return connection.info.parameter_status("is_superuser") == "on"
