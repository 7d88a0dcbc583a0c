"""`rehearse data load`: the data alone, on any server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rehearse.cli.main import app
from rehearse.engines.postgres.connect import connect
from rehearse.errors import InputError
from rehearse.model.target import Secret, Target

SCHEMA = """
CREATE TABLE authors (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, joined date);
CREATE TABLE books (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, author_id bigint NOT NULL,
    title text NOT NULL, price numeric(8, 2) CHECK (price > 0), added timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT author FOREIGN KEY (author_id) REFERENCES authors ON DELETE CASCADE);
CREATE INDEX ON books (author_id, added);
"""


@pytest.fixture
def owner(database: Target) -> Iterator[Target]:
    """Someone who owns the database and is nothing else on the server, as on managed ones."""
    with connect(database, "rehearse") as connection:
        connection.execute("CREATE ROLE book_owner LOGIN PASSWORD 'plain'")
        connection.execute(f'ALTER DATABASE "{database.dbname}" OWNER TO book_owner')
        try:
            yield replace(database, user="book_owner", password=Secret("plain"))
        finally:
            connection.execute(f'ALTER DATABASE "{database.dbname}" OWNER TO CURRENT_USER')
            connection.execute("DROP OWNED BY book_owner CASCADE")
            connection.execute("DROP ROLE book_owner")


def test_modest_user_loads_into_a_server_of_his_own(owner: Target, tmp_path: Path) -> None:
    assert owner.password is not None
    file = tmp_path / "books.sql"
    file.write_text(SCHEMA)
    dsn = f"postgresql://{owner.user}:plain@{owner.host}:{owner.port}/{owner.dbname}?sslmode=disable"
    words = ["data", "load", "--schema", str(file), "--rows", "authors=2k", "--rows", "books=25k"]
    result = CliRunner().invoke(app, [*words, "--dsn", dsn, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["rows"] == 27_000
    assert document["bytes"] > 27_000 * 50
    assert document["rows_per_second"] == pytest.approx(27_000 / document["load_seconds"])
    assert document["index_seconds"] > 0
    assert "plain" not in result.output
    with connect(owner, "rehearse") as connection:
        # keys hold, the next row is the next number, and the planner knows the table
        keys = connection.execute(
            "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f'"
        ).fetchall()
        assert keys == [("author", True)]
        added = "INSERT INTO books (author_id, title, price) VALUES (1, 'x', 1) RETURNING id"
        assert connection.execute(added).fetchone() == (25_001,)
        known = connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'books'").fetchone()
        assert known == (25_000,)


DESCRIBED = """
[dataset]
schema = "books.sql"
rows = { authors = 500, books = 6000 }

[dataset.columns]
"books.title" = { values = { Emma = 3, Persuasion = 1 } }

[dataset.tables.authors]
dead_fraction = 0.2

[migration]
up = "up.sql"
"""


def test_a_scenario_says_what_is_loaded(database: Target, tmp_path: Path) -> None:
    (tmp_path / "books.sql").write_text(SCHEMA)
    (tmp_path / "up.sql").write_text("ALTER TABLE books ADD COLUMN isbn text;")
    scenario = tmp_path / "library.toml"
    scenario.write_text(DESCRIBED)
    secret = f":{database.password.reveal()}" if database.password else ""
    dsn = f"postgresql://{database.user}{secret}@{database.host}:{database.port}/{database.dbname}"
    words = ["data", "load", "--scenario", str(scenario), "--rows", "books=4000", "--dsn", dsn, "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 4_500
    with connect(database, "rehearse") as connection:
        titles = dict(connection.execute("SELECT title, count(*) FROM books GROUP BY 1").fetchall())
        assert set(titles) == {"Emma", "Persuasion"}
        assert titles["Emma"] == pytest.approx(3_000, rel=0.05)
        renewed = connection.execute(
            "SELECT count(*) FROM authors WHERE xmin::text <> (SELECT min(xmin::text) FROM authors)"
        ).fetchone()
        assert renewed is not None
        assert 60 < renewed[0] < 440  # a quarter of them updated, in a transaction of their own


def test_a_scenario_and_a_schema_are_not_both_loaded() -> None:
    for words, told in (
        (["--scenario", "a.toml", "--schema", "s.sql"], "both given"),
        ([], "nothing to load"),
    ):
        result = CliRunner().invoke(app, ["data", "load", *words])
        assert isinstance(result.exception, InputError)
        assert told in str(result.exception)
