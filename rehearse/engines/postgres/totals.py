"""What a session did over several transactions, and the marks that schema changes leave in the catalog.

A block or procedure that commits as it goes leaves no moment at which its transactions could be looked
into. Its session's counters stay until it is idle again, and what it changed in the catalog stays for good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from rehearse.engines.postgres.catalog import Connection
from rehearse.engines.postgres.probe import Counters
from rehearse.model.locks import LockMode

# '3/17': the 17th transaction of the third server process
VIRTUAL = """
SELECT pg_catalog.split_part(virtualxid, '/', 2) FROM pg_catalog.pg_lock_status()
WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'virtualxid'
"""

_COUNTERS = """
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
  oid::pg_catalog.int8, read, inserted, updated, deleted, begun)), '[]')
FROM (SELECT c.oid,
    pg_catalog.pg_stat_get_{own}tuples_returned(c.oid) AS read,
    pg_catalog.pg_stat_get_{own}tuples_inserted(c.oid) AS inserted,
    pg_catalog.pg_stat_get_{own}tuples_updated(c.oid) AS updated,
    pg_catalog.pg_stat_get_{own}tuples_deleted(c.oid) AS deleted,
    pg_catalog.pg_stat_get_{own}numscans(c.oid) AS begun
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'i') AND n.nspname !~ '^pg_(toast|temp)') counted
WHERE read + inserted + updated + deleted + begun > 0
"""

# To be sent behind the statement in one pipeline: the server keeps the session's own counts to itself, and
# sets them to zero, as soon as it is ready for the next command.
OWN = f"""
WITH clock AS MATERIALIZED (
  SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8 AS us)
SELECT pg_catalog.json_build_object('clock', clock.us, 'transaction', ({VIRTUAL}),
  'counted', pg_catalog.current_setting('track_counts')::pg_catalog.bool,
  'workers', pg_catalog.current_setting('max_parallel_workers_per_gather')::pg_catalog.int4,
  'parallel_from', pg_catalog.pg_size_bytes(pg_catalog.current_setting('min_parallel_table_scan_size')),
  'counters', ({_COUNTERS.format(own="xact_")}))::pg_catalog.text
FROM clock"""  # noqa: S608 - composed from constants alone

# Everybody's, as far as reported.
_SHARED = _COUNTERS.format(own="")

# What can be changed under SHARE UPDATE EXCLUSIVE (statistics, storage parameters, VALIDATE) is left out,
# and so is what VACUUM and ANALYZE write.
_MARKS = """
WITH bound AS (
  SELECT relation, array_agg(mark) AS marks FROM (
    SELECT unnest(ARRAY[conrelid, confrelid]) AS relation,
           concat_ws(' ', oid, conname, condeferrable, condeferred) AS mark
    FROM pg_constraint WHERE contype = 'f'
    UNION ALL
    SELECT tgrelid, concat_ws(' ', oid, tgname, tgenabled) FROM pg_trigger) each
  GROUP BY relation)
SELECT c.oid::bigint,
  md5(concat_ws('|', c.relname, c.relnamespace, c.relowner, c.relam, c.relfilenode, c.reltablespace,
    c.relnatts, c.relchecks, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relpersistence,
    c.relispartition,
    (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
        a.attidentity, a.attgenerated, a.attcollation, a.attstorage, a.attcompression), ',' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
    (SELECT string_agg(concat_ws(' ', d.oid, d.adbin), ',' ORDER BY d.oid)
     FROM pg_attrdef d WHERE d.adrelid = c.oid),
    (SELECT string_agg(concat_ws(' ', k.oid, k.conname, k.condeferrable, k.condeferred), ',' ORDER BY k.oid)
     FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype NOT IN ('f', 't')),
    (SELECT string_agg(concat_ws(' ', r.oid, r.ev_enabled), ',' ORDER BY r.oid)
     FROM pg_rewrite r WHERE r.ev_class = c.oid),
    (SELECT string_agg(p.oid::text, ',' ORDER BY p.oid) FROM pg_policy p WHERE p.polrelid = c.oid))),
  coalesce(b.marks, '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN bound b ON b.relation = c.oid
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_(toast|temp)'
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted by oid of a table or index, over all transactions of a statement, which were so many
    (None: not known). Without `counted` the server's counters say nothing. Up to `workers` others may have
    read tables of `parallel_from_bytes` and more with it, and what these have read is not among it.
    """

    counters: Mapping[int, Counters] = field(default_factory=dict)
    transactions: int | None = None
    counted: bool = True
    clock_us: int | None = None  # the server's when the statement had ended
    workers: int = 0
    parallel_from_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Marks:
    """A table as its definition stands in the catalog. `bound` are its triggers and foreign keys, of either
    side: to add one takes SHARE ROW EXCLUSIVE; everything else takes ACCESS EXCLUSIVE.
    """

    definition: str
    bound: frozenset[str]


def own_totals(text: str, transaction_before: int | None) -> Totals:
    """What OWN answered; the session's last transaction before the statement was `transaction_before`."""
    document = json.loads(text)
    last = document["transaction"]
    known = last is not None and transaction_before is not None
    return Totals(
        counters=_counters(document["counters"]),
        transactions=int(last) - (transaction_before or 0) if known else None,
        counted=document["counted"],
        clock_us=document["clock"],
        workers=document["workers"],
        parallel_from_bytes=document["parallel_from"],
    )


def shared_counters(connection: Connection) -> dict[int, Counters]:
    """What all sessions together have been counted to do since the server's counters were last reset."""
    row = connection.execute(_SHARED.encode()).fetchone()
    assert row is not None, "an aggregate has one row"
    return _counters(row[0])


def marks(connection: Connection) -> dict[int, Marks]:
    """Of every table, by oid."""
    rows = connection.execute(_MARKS.encode()).fetchall()
    return {oid: Marks(definition, frozenset(bound)) for oid, definition, bound in rows}


def locks_behind(before: Mapping[int, Marks], after: Mapping[int, Marks]) -> frozenset[tuple[int, LockMode]]:
    """The locks that somebody must have held on tables to change them so, strong ones alone. Of what is gone
    by now and what is new since, the catalog tells by itself.
    """
    found = set()
    for oid in before.keys() & after.keys():
        was, now = before[oid], after[oid]
        if was.definition != now.definition or was.bound - now.bound:
            found.add((oid, LockMode.ACCESS_EXCLUSIVE))
        elif was.bound != now.bound:
            found.add((oid, LockMode.SHARE_ROW_EXCLUSIVE))
    return frozenset(found)


def _counters(rows: list[list[int]]) -> dict[int, Counters]:
    return {oid: Counters(*counts) for oid, *counts in rows}
