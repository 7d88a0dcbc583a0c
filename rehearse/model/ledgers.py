"""Ledgers: the tables in which migration tools note what they have applied, told by their name and shape.

They hold a handful of rows, and only the tool touches them. Whatever is in doubt is no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rehearse.model.relation import Relation
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
    "migration": (("id name app_name ran_on", ""),),  # Piccolo
    "aerich": (("id version app content", ""),),
}
# Tools let their ledger be called otherwise. These are like nothing else, whatever their name.
_TELLING = ("alembic_version", "flyway_schema_history", "databasechangelog", "databasechangeloglock")
# where tools write down which migrations have been applied, by name alone: names that are nothing else's
LEDGERS = (frozenset(_SHAPES) - {"schema_version", "migration"}) | {"__EFMigrationsHistory", "SequelizeMeta"}


def ledgers_among(
    schema: Schema, counts: Iterable[Mapping[Relation, int]], *, by_tool: bool = False
) -> frozenset[Relation]:
    """The tables of `schema` that look like ledgers, to which no other refers, and of which none of the
    `counts` (rows by table) says that it is large.
    """
    parents = {key.parent for table in schema.tables for key in table.foreign_keys}
    large = {relation for rows in counts for relation, count in rows.items() if count > _MOST_ROWS}
    return frozenset(
        table.relation
        for table in schema.tables
        if looks_like_a_ledger(table, by_tool=by_tool) and table.relation not in parents | large
    )


def looks_like_a_ledger(table: Table, *, by_tool: bool) -> bool:
    """Whether its name and its columns are those of a ledger; where a tool runs the migration, some are
    known by their columns alone.
    """
    if table.kind is not TableKind.TABLE or table.foreign_keys or table.triggers:
        return False
    columns = [column.name for column in table.columns]
    return has_shape_of_a_ledger(table.relation.name, columns, by_tool=by_tool)


def has_shape_of_a_ledger(name: str, columns: Iterable[str], *, by_tool: bool = False) -> bool:
    """Whether a table of that name, with these columns, is what some tool makes as its ledger."""
    has = frozenset(column.lower() for column in columns)
    names = (name.lower(), *(_TELLING if by_tool else ()))
    return any(_fits(has, always, sometimes) for of in names for always, sometimes in _SHAPES.get(of, ()))


def _fits(columns: frozenset[str], always: str, sometimes: str) -> bool:
    certain = frozenset(always.split())
    return certain <= columns <= certain | frozenset(sometimes.split())
