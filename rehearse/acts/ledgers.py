"""Ledgers: the tables in which migration tools note what they have applied, told by their name and shape.

They hold a handful of rows, and only the tool touches them. So they get no generated rows and no traffic,
and what the tool notes in them is no change of the user's data. Whatever is in doubt is no ledger: a table
of the application's that was taken for one would escape the judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.schema import Schema, Table, TableKind

_MOST_ROWS = 10_000  # a row a migration: a table with more of them is something else
_FLYWAY = (
    "version description type script checksum installed_by installed_on execution_time success",
    "installed_rank version_rank",
)
_LOCK = ("id is_locked", "")
# By name, the columns that it has for certain, and those that it has in some versions.
_SHAPES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "schema_migrations": (("version", "dirty inserted_at"),),  # Rails, golang-migrate, dbmate, Ecto
    "ar_internal_metadata": (("key value created_at updated_at", ""),),
    "alembic_version": (("version_num", ""),),
    "django_migrations": (("id app name applied", ""),),
    "goose_db_version": (("id version_id is_applied tstamp", ""),),
    "phinxlog": (("version migration_name start_time end_time", "breakpoint"),),
    "flyway_schema_history": (_FLYWAY,),
    "schema_version": (_FLYWAY,),
    "_prisma_migrations": (
        (
            "id checksum finished_at migration_name logs rolled_back_at started_at",
            "applied_steps_count",
        ),
    ),
    "__diesel_schema_migrations": (("version run_on", ""),),
    "_sqlx_migrations": (("version description installed_on success checksum", "execution_time"),),
    "migrations": (("id migration batch", ""), ("id timestamp name", "")),  # Laravel, TypeORM
    "pgmigrations": (("id name run_on", ""),),
    "mikro_orm_migrations": (("id name executed_at", ""),),
    "knex_migrations": (("id name batch migration_time", ""),),
    "knex_migrations_lock": (("index is_locked", ""),),
    "kysely_migration": (("name timestamp", ""),),
    "kysely_migration_lock": (_LOCK,),
    "__drizzle_migrations": (("id hash created_at", ""),),
    "databasechangelog": (
        (
            "id author filename dateexecuted orderexecuted exectype md5sum description comments tag",
            "liquibase contexts labels deployment_id",
        ),
    ),
    "databasechangeloglock": (("id locked lockgranted lockedby", ""),),
    "__efmigrationshistory": (("migrationid productversion", ""),),
    "sequelizemeta": (("name", ""),),
    "doctrine_migration_versions": (("version executed_at execution_time", ""),),
    "refinery_schema_history": (("version name applied_on checksum", ""),),
    "atlas_schema_revisions": (
        (
            "version description type applied total executed_at execution_time hash operator_version",
            "error error_stmt partial_hashes",
        ),
    ),
    "_yoyo_migration": (("migration_hash migration_id applied_at_utc", ""),),
    "_yoyo_log": (("id migration_hash migration_id operation username hostname comment created_at_utc", ""),),
    "_yoyo_version": (("version installed_at_utc", ""),),
    "yoyo_lock": (("locked ctime pid", ""),),
}
# Tools let their ledger be called otherwise. These are like nothing else, whatever their name.
_TELLING = ("alembic_version", "flyway_schema_history", "databasechangelog", "databasechangeloglock")
# where tools write down which migrations have been applied, by name alone
LEDGERS = (frozenset(_SHAPES) - {"schema_version"}) | {"__EFMigrationsHistory", "SequelizeMeta"}


def find_ledgers(schema: Schema, scenario: Scenario, loaded: Mapping[Relation, int]) -> frozenset[Relation]:
    """The ledgers among the tables of `schema`, of which those in `loaded` have rows already.

    A table that a script of the scenario names, that refers to another or is referred to, or that is said
    to be large, is none.
    """
    by_tool = any(step.tool is not None for step in (*scenario.migration.up, *scenario.migration.down))
    parents = {key.parent for table in schema.tables for key in table.foreign_keys}
    large = {
        relation
        for rows in (loaded, named_rows(schema, scenario.dataset.rows), _in_production(schema, scenario))
        for relation, count in rows.items()
        if count > _MOST_ROWS
    }
    said = " ".join(_texts(scenario))
    return frozenset(
        table.relation
        for table in schema.tables
        if looks_like_a_ledger(table, by_tool=by_tool)
        and table.relation not in parents | large
        and not _names(said, table.relation.name)
    )


def looks_like_a_ledger(table: Table, *, by_tool: bool) -> bool:
    """Whether its name and its columns are those of a ledger; where a tool runs the migration, some are
    known by their columns alone.
    """
    if table.kind is not TableKind.TABLE or table.foreign_keys or table.triggers:
        return False
    columns = frozenset(column.name.lower() for column in table.columns)
    names = (table.relation.name.lower(), *(_TELLING if by_tool else ()))
    return any(
        _fits(columns, always, sometimes) for name in names for always, sometimes in _SHAPES.get(name, ())
    )


def named_rows(schema: Schema, counts: RowCounts) -> dict[Relation, int]:
    """The rows that somebody gave to tables by name."""
    return {table.relation: rows for name, rows in counts.tables if (table := schema.find(name)) is not None}


def without(schema: Schema, relations: frozenset[Relation]) -> Schema:
    """`schema` less the tables `relations`."""
    tables = tuple(table for table in schema.tables if table.relation not in relations)
    return Schema(tables, schema.extensions)


def _fits(columns: frozenset[str], always: str, sometimes: str) -> bool:
    certain = frozenset(always.split())
    return certain <= columns <= certain | frozenset(sometimes.split())


def _in_production(schema: Schema, scenario: Scenario) -> dict[Relation, int]:
    profile = scenario.dataset.profile
    counted = {} if profile is None else {table.relation: table.rows for table in profile.tables}
    return counted | named_rows(schema, scenario.production)


def _texts(scenario: Scenario) -> Iterable[str]:
    """All that somebody wrote as traffic."""
    workload = scenario.workload
    scripts = workload.scripts + (workload.after.scripts if workload.after is not None else ())
    yield from (script.text for script in scripts)
    yield from (name for name, _ in workload.hot)
    yield from (adversary.table for adversary in scenario.adversaries)


def _names(text: str, name: str) -> bool:
    return bool(re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE))
