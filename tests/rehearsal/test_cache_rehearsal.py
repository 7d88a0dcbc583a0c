"""A data set kept from one run to the next is the one that would be made, and only what may be kept is."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from rehearse.acts import keeping
from rehearse.acts.keeping import Keeping, keeping_of
from rehearse.acts.loading import BASE, Base, build_base
from rehearse.dataset.fresh import fresh_pool
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import drop_database
from rehearse.model.generation import ColumnSpec, Pattern
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, MigrationSpec, RowCounts, Scenario
from rehearse.provision import Server

SCHEMA = """
CREATE TABLE customers (id bigserial PRIMARY KEY, name text, email text UNIQUE);
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, status text,
    total numeric(10, 2), CHECK (total * 2 < 100 OR status IS NULL)
);
"""
SCENARIO = Scenario(
    name="kept",
    dataset=DatasetSpec(SqlFile("schema.sql", SCHEMA), RowCounts(2000)),
    migration=MigrationSpec((SqlFile("up.sql", "ALTER TABLE orders ALTER status SET NOT NULL;"),)),
)


@pytest.fixture
def caching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keeping, "WORTH_S", 0.0)
    # the tool's own code may be edited while this runs
    monkeypatch.setattr(keeping, "_sources", lambda: "")


def made(scenario: Scenario) -> tuple[list[tuple[object, ...]], Base, str]:
    """What is in every table, and in the rows that come next; the base; what was said of the cache."""
    asked = keeping_of(scenario)
    with ExitStack() as stack:
        server, kept, note = asked.provisioned(scenario.database, None, stack)
        base = build_base(server.target, scenario, lambda _: None, kept=kept, keep=asked.wanted)
        if base.keepable:
            note = asked.keep(server, base.facts, base.excused, base.plan)
        content: list[tuple[object, ...]] = []
        with connect(base.target, "rehearse") as connection:
            for name in ("customers", "orders"):
                query = f"SELECT md5(string_agg(x::text, '|' ORDER BY id)), count(*) FROM {name} AS x"
                content += connection.execute(query.encode()).fetchall()
            content += connection.execute("SELECT last_value FROM orders_id_seq").fetchall()
            connection.execute("INSERT INTO customers (name) VALUES ('a new one')")
        fresh = fresh_pool(base.plan, Relation("public", "orders"), ["id", "status", "total"], 5, "orders")
        content.append((repr(fresh.columns),))
    return content, base, note


@pytest.mark.usefixtures("caching")
def test_a_kept_data_set_is_the_one_that_is_made() -> None:
    first, fresh, said = made(SCENARIO)
    assert "kept for the next run" in said
    assert fresh.keepable
    again, base, said = made(SCENARIO)
    assert "from the cache" in said
    assert again == first
    assert base.facts == fresh.facts  # it was not made anew, which takes another time
    assert base.preview.touched == fresh.preview.touched
    assert base.facts.precautions == fresh.facts.precautions
    assert [table.rows for table in base.tables] == [table.rows for table in fresh.tables]

    asked = keeping_of(SCENARIO)
    assert asked.cache is not None
    entry = asked.cache.entries()[0]
    assert entry.rows == 4000
    largest = max(entry.data.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    largest.write_bytes(b"cut short")
    with ExitStack() as stack:
        server, kept, note = asked.provisioned(SCENARIO.database, None, stack)
        assert server.alive()
    assert kept is None
    assert "not whole" in note
    assert asked.cache.entries() == []


@pytest.mark.usefixtures("caching")
def test_everything_that_decides_the_rows_is_in_the_key() -> None:
    dataset, migration = SCENARIO.dataset, SCENARIO.migration
    others = [
        replace(SCENARIO, dataset=replace(dataset, seed=7)),
        replace(SCENARIO, dataset=replace(dataset, rows=RowCounts(2001))),
        replace(SCENARIO, dataset=replace(dataset, schema=SqlFile("schema.sql", SCHEMA + "SELECT 1;"))),
        replace(SCENARIO, dataset=replace(dataset, columns=(ColumnSpec("orders.status", Pattern("[a-z]")),))),
        replace(SCENARIO, dataset=replace(dataset, locale="de_DE")),
        replace(SCENARIO, migration=replace(migration, up=(SqlFile("up.sql", "SELECT 1;"),))),
        replace(SCENARIO, database=DatabaseSpec(settings=(("default_toast_compression", "lz4"),))),
        replace(SCENARIO, database=DatabaseSpec(extensions=("citext",))),
    ]
    keys = [keeping_of(scenario).key for scenario in (SCENARIO, *others)]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert keeping_of(SCENARIO).key == keys[0]


FILE = (SqlFile("rows.sql", "INSERT INTO customers VALUES (1);"),)


@pytest.mark.usefixtures("caching")
@pytest.mark.parametrize(
    "scenario",
    [
        replace(SCENARIO, dataset=replace(SCENARIO.dataset, load=FILE)),
        replace(SCENARIO, database=DatabaseSpec(init=FILE)),
        replace(SCENARIO, database=DatabaseSpec(provision="postgresql://someone:secret@host/db")),
        replace(SCENARIO, database=DatabaseSpec(provision="docker:postgres:18")),
        replace(SCENARIO, dataset=DatasetSpec(SqlFile("s.sql", "\\i other.sql\n"))),
        replace(SCENARIO, dataset=DatasetSpec(SqlFile("s.sql", "CREATE ROLE a PASSWORD 'x';"))),
        replace(SCENARIO, dataset=DatasetSpec(SqlFile("s.sql", "COPY t (a)\nFROM stdin;\n1\n\\.\n"))),
        replace(SCENARIO, migration=MigrationSpec((SqlFile("up.sql", "\\ir other.sql\n"),))),
    ],
    ids=["load", "init", "dsn", "docker", "include", "password", "copy", "migration includes"],
)
def test_what_may_hold_anybodys_rows_or_cannot_be_told_is_not_kept(scenario: Scenario) -> None:
    assert not keeping_of(scenario).wanted


@pytest.mark.usefixtures("caching")
def test_rows_that_the_schema_itself_inserts_are_not_kept(server: Server) -> None:
    schema = SqlFile("s.sql", SCHEMA + "DO $$ BEGIN INSERT INTO customers (name) VALUES ('real'); END $$;")
    scenario = replace(SCENARIO, dataset=replace(SCENARIO.dataset, schema=schema, rows=RowCounts(50)))
    assert keeping_of(scenario).wanted
    try:
        base = build_base(server.target, scenario, lambda _: None, keep=True)
    finally:
        drop_database(server.target, BASE)
    assert not base.keepable
    assert {table.relation.name: table.rows for table in base.tables} == {"customers": 1, "orders": 50}


def test_nothing_is_kept_where_the_cache_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", "off")
    assert keeping_of(SCENARIO) == Keeping(None, None, "kept")
