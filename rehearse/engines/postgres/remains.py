"""What is left unfinished in a database: constraints NOT VALID, and INVALID indexes."""

from __future__ import annotations

from typing import Any

import psycopg

from rehearse.model.relation import Relation
from rehearse.model.trials import Remains

# A partitioned index is invalid until all partitions have theirs, which is no index that failed.
_INVALID = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.oid >= 16384 AND n.nspname !~ '^pg_temp' ORDER BY 1, 2
"""
_UNVALIDATED = """
SELECT n.nspname, c.relname, k.conname FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT k.convalidated AND c.oid >= 16384 AND n.nspname !~ '^pg_' ORDER BY 1, 2, 3
"""


def remains(connection: psycopg.Connection[tuple[Any, ...]]) -> Remains:
    """All that the database has of them."""
    return Remains(
        tuple((Relation(schema, table), name) for schema, table, name in connection.execute(_UNVALIDATED)),
        tuple(Relation(schema, name) for schema, name in connection.execute(_INVALID)),
    )
