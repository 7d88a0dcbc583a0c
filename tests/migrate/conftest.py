"""A small shop to migrate, and one way to run a migration on it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun, MigrationState, SqlFile, ToolSpec, TransactionMode
from rehearse.model.target import Target
from rehearse.provision import Server

RESET = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
SHOP = """
CREATE TABLE customers (id bigint PRIMARY KEY, email text, name varchar(40));
INSERT INTO customers SELECT g, 'c' || g || '@example.org', 'n' || g FROM generate_series(1, 2000) g;
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id bigint, status text DEFAULT 'new', note varchar(40),
  amount numeric(10,2), placed timestamp DEFAULT now(), code text);
INSERT INTO orders (id, customer_id, note, amount, code)
  SELECT g, g, 'n' || g, g, 'k' || g FROM generate_series(1, 2000) g;
CREATE INDEX orders_note ON orders (note);
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
INSERT INTO parts SELECT g, now() FROM generate_series(1, 2000) g;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
ANALYZE;
"""

# what a text of SQL must not be split within, and what it may be
PIECES_OF_SQL = (
    *("a", "'x;y'", "E'\\';'", '";"', "$$;$$", "$q$ ; $$ $q$", "/* ; */", "-- ;\n", "(;)", " ", "\n"),
)

Migrate = Callable[..., MigrationRun]
RunTool = Callable[..., MigrationRun]


@pytest.fixture(scope="session")
def shop_database(server: Server) -> Iterator[Target]:
    name = "migrate_shop"
    create_database(server.target, name)
    yield server.target.on(name)
    drop_database(server.target, name)


@pytest.fixture
def shop(shop_database: Target) -> Target:
    """The shop as it was before any migration: filled anew, which is faster than a new database."""
    with connect(shop_database, "rehearse") as connection:
        connection.execute(RESET + SHOP)
    return shop_database


@pytest.fixture
def migrate(shop: Target) -> Migrate:
    """Runs one file of SQL on the shop, after `setup`."""

    def run(
        text: str,
        mode: TransactionMode = TransactionMode.AS_WRITTEN,
        *,
        setup: str = "",
        timeout_s: float = 60.0,
    ) -> MigrationRun:
        if setup:
            with connect(shop, "rehearse") as connection:
                connection.execute(setup)
        file = SqlFile("up.sql", text)
        return run_migration(shop, [file], mode, timeout_s=timeout_s, on_state=lambda _: None)

    return run


@pytest.fixture
def tool(shop: Target, tmp_path: Path) -> RunTool:
    """Runs a command, or a Python script, on the shop."""

    def run(
        script: str = "",
        *argv: str,
        env: dict[str, str] | None = None,
        timeout_s: float = 120.0,
        on_state: Callable[[MigrationState], None] = lambda _: None,
        broken_off: Callable[[], bool] = lambda: False,
    ) -> MigrationRun:
        if script:
            (tmp_path / "up.py").write_text("import psycopg\n" + textwrap.dedent(script))
            argv = (sys.executable, "up.py")
        spec = ToolSpec(argv, tuple((env or {}).items()), str(tmp_path))
        step = SqlFile("the tool", "the tool", spec)
        return run_migration(
            shop,
            [step],
            TransactionMode.AS_WRITTEN,
            timeout_s=timeout_s,
            on_state=on_state,
            broken_off=broken_off,
        )

    return run
