"""Which tables are taken for the ledgers of migration tools, and which never are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.acts.drift import without_ledgers
from rehearse.acts.ledgers import find_ledgers
from rehearse.engines.postgres.differences import Described
from rehearse.model.migration import SqlFile, ToolSpec
from rehearse.model.relation import Relation
from rehearse.model.scenario import (
    AdversarySpec,
    DatasetSpec,
    MigrationSpec,
    RowCounts,
    Scenario,
    WorkloadSpec,
)
from rehearse.model.schema import Column, DataType, ForeignKey, Schema, Table, TableKind
from rehearse.model.workload import ScriptSource

TEXT = DataType("text", "text")
BY_HAND = Scenario("x", DatasetSpec(SqlFile("s.sql", "")), MigrationSpec((SqlFile("up.sql", ""),)))
BY_TOOL = replace(BY_HAND, migration=MigrationSpec((SqlFile("t", "t", ToolSpec(("t",))),)))
LEDGER = Relation("public", "alembic_version")


def table(name: str, columns: str, **more: object) -> Table:
    made = tuple(Column(each, place, TEXT) for place, each in enumerate(columns.split(), 1))
    return Table(Relation("public", name), 1, made, **more)  # type: ignore[arg-type] # any field


def found(*tables: Table, scenario: Scenario = BY_TOOL, rows: int = 1) -> set[str]:
    loaded = {each.relation: rows for each in tables}
    return {relation.name for relation in find_ledgers(Schema(tables), scenario, loaded)}


ALEMBIC = table("alembic_version", "version_num")


@pytest.mark.parametrize(
    "ledger",
    [
        ALEMBIC,
        table("schema_migrations", "version"),
        table("schema_migrations", "version dirty"),
        table("django_migrations", "id app name applied"),
        table("__EFMigrationsHistory", "MigrationId ProductVersion"),
        table("migrations", "id migration batch"),
    ],
    ids=lambda each: each.relation.name,
)
def test_a_known_name_and_shape_is_a_ledger_whoever_runs_the_migration(ledger: Table) -> None:
    assert found(ledger) == found(ledger, scenario=BY_HAND) == {ledger.relation.name}


def test_a_name_of_ones_own_is_known_by_its_shape_where_a_tool_runs() -> None:
    own = table("alembic_version_billing", "version_num")

    assert found(own) == {"alembic_version_billing"}
    assert not found(own, scenario=BY_HAND)


@pytest.mark.parametrize(
    "real",
    [
        table("migrations", "id species seen_at batch"),  # of birds
        table("alembic_version", "version_num customer"),
        table("app_version", "version"),
        table("alembic_version", "version_num", kind=TableKind.PARTITIONED),
        table("alembic_version", "version_num", triggers=("CREATE TRIGGER t ...",)),
        table("alembic_version", "version_num", foreign_keys=(ForeignKey("k", (), LEDGER, ()),)),
    ],
    ids=lambda each: each.relation.name,
)
def test_a_table_with_more_to_it_is_none(real: Table) -> None:
    assert not found(real)


def test_a_table_that_the_users_traffic_names_is_none() -> None:
    script = ScriptSource("health", "SELECT version_num FROM public.Alembic_Version;")
    for scenario in (
        replace(BY_TOOL, workload=WorkloadSpec(scripts=(script,))),
        replace(BY_TOOL, workload=WorkloadSpec(hot=(("alembic_version", 2.0),))),
        replace(BY_TOOL, adversaries=(AdversarySpec("long-transaction", "alembic_version", 1.0),)),
    ):
        assert not found(ALEMBIC, scenario=scenario)
    other = ScriptSource("other", "SELECT * FROM alembic_version_of_mine;")
    assert found(ALEMBIC, scenario=replace(BY_TOOL, workload=WorkloadSpec(scripts=(other,))))


def test_a_large_table_or_one_that_others_refer_to_is_none() -> None:
    child = table("uses", "version_num", foreign_keys=(ForeignKey("k", (), LEDGER, ()),))
    many = RowCounts(tables=(("alembic_version", 1_000_000),))

    assert not found(ALEMBIC, rows=1_000_000)
    assert "alembic_version" not in found(ALEMBIC, child)
    assert not found(ALEMBIC, scenario=replace(BY_TOOL, production=many))
    dataset = replace(BY_TOOL.dataset, rows=many)
    assert not found(ALEMBIC, scenario=replace(BY_TOOL, dataset=dataset))


def test_only_ledgers_and_their_parts_are_passed_over_where_schemas_are_compared() -> None:
    columns = {
        "public.migration": "id name app_name ran_on",  # Piccolo's
        "public.migration_jobs": "id name",
        "schema_migrations": "version and_more",
        'public."SequelizeMeta"': "name",
        "billing.migration": "id state",
    }
    objects = {("table", each): Described(None, "") for each in columns}
    for each, names in columns.items():
        objects |= {("column", f"{each}.{name}"): Described(each, "text") for name in names.split()}
    objects["sequence", "public.migration_id_seq"] = Described(None, "")
    objects["sequence", "public.jobs_id_seq"] = Described(None, "")
    objects["view", "public.migrations_of_late"] = Described(None, "")
    assert {name for kind, name in without_ledgers(objects) if kind != "column"} == {
        "public.migration_jobs",
        "billing.migration",
        "public.jobs_id_seq",
        "public.migrations_of_late",
    }
