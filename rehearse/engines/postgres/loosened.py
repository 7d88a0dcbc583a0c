"""What a database sees to by itself: foreign keys, triggers, defaults of columns that are NOT NULL, and the
settings of its connections; and what it no longer does after a migration.

Things are told apart by their numbers in the catalog, which a copy of a database shares with it: a new name
is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from rehearse.model.relation import Relation
from rehearse.model.trials import Loosened, Loosening

# Keys and defaults of partitions come with the ones of their parent. Whether a key is enforced is in the
# catalog from PostgreSQL 18 on.
_KEYS = """
SELECT k.conrelid, k.conkey, k.confrelid, k.confkey, k.conname,
    coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true)
FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0
"""
_TRIGGERS = """
SELECT t.oid, t.tgrelid, coalesce(k.conname, t.tgname), k.contype = 'f',
    t.tgenabled IN ('O', 'A'), t.tgparentid
FROM pg_catalog.pg_trigger t LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgrelid >= 16384
"""
_DEFAULTS = """
SELECT a.attrelid, a.attnum, a.attname, a.atthasdef OR a.attidentity <> ''
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.oid >= 16384
"""
_TABLES = """
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
"""
_SETTINGS = """
SELECT setrole, pg_catalog.unnest(setconfig) FROM pg_catalog.pg_db_role_setting
WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""

# Whoever writes this switches off what enforces foreign keys, for a session or on a table.
_SWITCHES = re.compile(
    r"\bsession_replication_role\b|\bDISABLE\s+TRIGGER\b|\bNOT\s+ENFORCED\b|\btgenabled\b|\bconvalidated\b",
    re.IGNORECASE,
)

_Connection = psycopg.Connection[tuple[Any, ...]]
_Key = tuple[int, tuple[int, ...], int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Trigger:
    table: int
    name: str
    of_key: bool
    on: bool
    parent: int  # that of a partitioned table; 0: none


@dataclass(frozen=True, slots=True)
class Guards:
    """The catalog's entries by their numbers; keys with whether they are enforced, and columns with whether
    they have a default.
    """

    tables: Mapping[int, Relation]
    keys: Mapping[_Key, tuple[str, bool]]
    triggers: Mapping[int, _Trigger]
    defaults: Mapping[tuple[int, int], tuple[str, bool]]
    settings: frozenset[tuple[int, str]]


def guards(connection: _Connection) -> Guards:
    """All that the database has of them."""
    return Guards(
        {oid: Relation(schema, name) for oid, schema, name in connection.execute(_TABLES)},
        {
            (table, tuple(columns), to, tuple(theirs)): (name, enforced)
            for table, columns, to, theirs, name, enforced in connection.execute(_KEYS)
        },
        {
            oid: _Trigger(table, name, bool(of_key), on, parent)
            for oid, table, name, of_key, on, parent in connection.execute(_TRIGGERS)
        },
        {(table, column): (name, there) for table, column, name, there in connection.execute(_DEFAULTS)},
        frozenset((role, setting) for role, setting in connection.execute(_SETTINGS)),
    )


def switches_off(text: str) -> bool:
    """Whether a statement may switch off the enforcement of foreign keys, for a while or for good."""
    return _SWITCHES.search(text) is not None


def loosened(before: Guards, after: Guards) -> tuple[Loosened, ...]:
    """What is not seen to any more, on tables that are still there; settings by their names alone."""
    found = dict.fromkeys([*_keys(before, after), *_triggers(before, after), *_defaults(before, after)])
    names = sorted({setting.partition("=")[0] for _, setting in after.settings - before.settings})
    settings = [Loosened(Loosening.SETTING, name) for name in names]
    return (*found, *settings)


def _keys(before: Guards, after: Guards) -> Iterator[Loosened]:
    for key, (name, enforced) in before.keys.items():
        table, _, to, _ = key
        if table not in after.tables or to not in after.tables:
            continue
        if key not in after.keys:
            yield Loosened(Loosening.KEY_DROPPED, name, after.tables[table])
        elif enforced and not after.keys[key][1]:
            yield Loosened(Loosening.KEY_OFF, name, after.tables[table])


def _triggers(before: Guards, after: Guards) -> Iterator[Loosened]:
    for oid, trigger in before.triggers.items():
        now = after.triggers.get(oid)
        of_all = after.triggers.get(now.parent) if now else None
        if of_all is not None and not of_all.on:
            continue  # told of the partitioned table
        if trigger.on and now is not None and not now.on and now.table in after.tables:
            kind = Loosening.KEY_OFF if now.of_key else Loosening.TRIGGER_OFF
            yield Loosened(kind, now.name, after.tables[now.table])


def _defaults(before: Guards, after: Guards) -> Iterator[Loosened]:
    for place, (_, there) in before.defaults.items():
        name, still = after.defaults.get(place, ("", True))
        if there and not still and place[0] in after.tables:
            yield Loosened(Loosening.DEFAULT_DROPPED, name, after.tables[place[0]])
