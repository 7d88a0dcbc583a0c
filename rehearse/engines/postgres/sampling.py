"""Rows of a table for scripts to draw from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from rehearse.model.relation import Relation
from rehearse.model.workload import Pool

_ESTIMATE = """
SELECT greatest(c.reltuples, 0)::float8, c.relkind::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
_SAMPLED_KINDS = frozenset("rmp")  # TABLESAMPLE does not know views and foreign tables
_WORTH_SAMPLING = 4  # times the rows wanted; below that the whole table is read
_BY_PAGE = 1_000_000  # rows from which on whole pages are sampled: reading all would take long


def sample_pool(
    connection: psycopg.Connection[tuple[Any, ...]],
    name: str,
    relation: Relation,
    columns: Sequence[str],
    limit: int,
    seed: int,
) -> Pool:
    """Up to `limit` rows of `relation` in random order; `name` is what scripts call it.

    The same rows for the same table, statistics and seed. An empty table makes an empty pool.
    """
    found = connection.execute(_ESTIMATE, (relation.schema, relation.name)).fetchone()
    estimate, kind = found or (0.0, "")
    rows: list[tuple[Any, ...]] = []
    if kind in _SAMPLED_KINDS and estimate > _WORTH_SAMPLING * limit:
        rows = connection.execute(_by_share(relation, columns, limit / estimate, estimate, seed)).fetchall()
    if len(rows) < limit:  # a small table, or an estimate that was far off
        connection.execute("SELECT setseed(%s)", (random.Random(seed).uniform(-1, 1),))
        rows = connection.execute(_whole(relation, columns, limit)).fetchall()
    random.Random(seed).shuffle(rows)
    del rows[limit:]
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return Pool(
        "sample", name, {column: _texts(texts) for column, texts in zip(columns, values, strict=True)}
    )


def _texts(values: Sequence[str | None]) -> list[bytes | None]:
    return [None if value is None else value.encode() for value in values]


def _by_share(
    relation: Relation, columns: Sequence[str], share: float, estimate: float, seed: int
) -> sql.Composed:
    """Somewhat more rows than wanted, so that there are enough where pages are not equally full."""
    return sql.SQL("SELECT {} FROM {} TABLESAMPLE {} ({}) REPEATABLE ({})").format(
        _as_text(columns),
        sql.Identifier(relation.schema, relation.name),
        sql.SQL("SYSTEM" if estimate > _BY_PAGE else "BERNOULLI"),
        min(100.0, 150 * share),
        seed,
    )


def _whole(relation: Relation, columns: Sequence[str], limit: int) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} ORDER BY random() LIMIT {}").format(
        _as_text(columns), sql.Identifier(relation.schema, relation.name), limit
    )


def _as_text(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)
