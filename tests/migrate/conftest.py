"""A small shop to migrate, and one way to run a migration on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.migrate.run import run_migration
from rehearse.model.migration import MigrationRun, SqlFile, TransactionMode
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

Migrate = Callable[..., MigrationRun]


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
