"""The examples beside the rules' pages: the bad one is caught by its rule, the good one is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rehearse.acts.losses import count_losses
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.judge.judge import judge
from rehearse.migrate.run import run_migration
from rehearse.model.migration import SqlFile, TransactionMode
from rehearse.model.target import Target
from rehearse.model.verdict import Severity
from rehearse.provision import Server
from tests.judge.build import record, tables

PAGES = Path(__file__).parents[2] / "docs" / "rules"
ORDERS = 5_000
# The two tables that the pages speak of, with orders of the last five years.
SHOP = f"""
CREATE TABLE customers (id bigserial PRIMARY KEY, email text);
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer_id bigint NOT NULL, status text, amount numeric(10,2), note text,
    created_at timestamptz
);
INSERT INTO customers (email) SELECT 'c' || n || '@example.org' FROM generate_series(1, 50) n;
INSERT INTO orders (customer_id, status, amount, note, created_at)
SELECT 1 + n % 50, 'new', n, 'n' || n, now() - n % 1800 * interval '1 day'
FROM generate_series(1, {ORDERS}) n;
ANALYZE;
"""
# What is told from the effects of the statements alone: the traffic is the tables that it locks.
STRUCTURAL = (
    "data-loss",
    "index-build-blocks-writes",
    "lock-held-across-statements",
    "long-transaction",
    "rewrite-under-lock",
    "rows-locked",
    "scan-under-lock",
    "unbounded-lock-queue",
)
LOUD = (Severity.FAILURE, Severity.UNMEASURED, Severity.WARNING)


# A machine that stops for a moment makes one of a few batches as long as all of them.
ATTEMPTS = {"long-transaction": 3}
RESET = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
BASE, COPY = "examples_base", "examples_copy"


@pytest.fixture(scope="module")
def shop(server: Server) -> Iterator[Target]:
    """The server's own database, beside which there are the shop and a place for its copies."""
    for name in (BASE, COPY):
        create_database(server.target, name)
    _fill(server.target.on(BASE))
    yield server.target
    for name in (BASE, COPY):
        drop_database(server.target, name)


@pytest.mark.parametrize("rule", STRUCTURAL)
def test_the_bad_one_is_caught_and_the_good_one_is_not(rule: str, shop: Target) -> None:
    assert rule in _found(PAGES / rule / "bad.sql", shop)
    assert any(rule not in _found(PAGES / rule / "good.sql", shop) for _ in range(ATTEMPTS.get(rule, 1)))


def _fill(database: Target) -> None:
    """As it was before any migration: filled anew, which is faster than a new database."""
    with connect(database, "rehearse") as connection:
        execute_file(connection, SqlFile("shop.sql", RESET + SHOP))


def _found(example: Path, server: Target) -> set[str]:
    """The rules that have something against it."""
    _fill(server.on(COPY))
    run = run_migration(
        server.on(COPY),
        [SqlFile(example.name, example.read_text(encoding="utf-8"))],
        TransactionMode.AS_WRITTEN,
        timeout_s=60,
        on_state=lambda _: None,
    )
    assert run.failed is None, run.failed
    run = count_losses(server.on(BASE), run)
    made = record(run, gates=(), expendable=("orders.note",) if example.stem == "good" else ())
    made = replace(made, tables=tables(rows=ORDERS))
    return {finding.rule for finding in judge(made, None).findings if finding.severity in LOUD}
