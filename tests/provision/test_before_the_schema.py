"""Extensions and init scripts are there when the schema comes."""

from __future__ import annotations

from pathlib import Path

from rehearse.acts.loading import BASE, build_base
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import drop_database
from rehearse.provision import Server
from rehearse.scenario.load import load_scenario

SCHEMA = """
CREATE TABLE app.words (id int PRIMARY KEY, word text NOT NULL, kind app.kind);
CREATE INDEX words_trgm ON app.words USING gin (word gin_trgm_ops);
ALTER TABLE app.words OWNER TO clerk;
"""
SCENARIO = """
[database]
extensions = ["pg_trgm"]
init = ["roles.sql", "app.sql"]
[dataset]
schema = "schema.sql"
rows = 100
[migration]
up = "up.sql"
"""


def test_the_schema_finds_what_it_needs(server: Server, tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "roles.sql").write_text("CREATE ROLE clerk;")
    (tmp_path / "app.sql").write_text("CREATE SCHEMA app;\nCREATE TYPE app.kind AS ENUM ('a', 'b');")
    (tmp_path / "up.sql").write_text("ALTER TABLE app.words ADD COLUMN n int;")
    path = tmp_path / "case.toml"
    path.write_text(SCENARIO)
    try:
        base = build_base(server.target, load_scenario(path), lambda _: None)
        assert base.facts.rows == 100
        with connect(base.target, "rehearse") as connection:
            assert connection.execute("SELECT count(*) FROM app.words").fetchone() == (100,)
    finally:
        drop_database(server.target, BASE)
        with connect(server.target, "rehearse") as connection:
            connection.execute("DROP ROLE IF EXISTS clerk")
