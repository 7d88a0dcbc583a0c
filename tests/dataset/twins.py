"""A database of known skew, its profile and the twin made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from rehearse.dataset.alone import load_alone
from rehearse.engines.postgres.connect import connect
from rehearse.model.migration import SqlFile
from rehearse.model.profile import Profile
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target

# few enough for ANALYZE to read every row: statistics, and so the twin, are the same each time
CUSTOMERS, ORDERS = 8_000, 28_000

SCHEMA = """
CREATE TYPE plan AS ENUM ('free', 'basic', 'pro');
CREATE TABLE customers (
    id int PRIMARY KEY, email text NOT NULL UNIQUE, full_name text NOT NULL, plan plan NOT NULL,
    region text, salary int, created_at timestamptz NOT NULL, tags text[], active boolean NOT NULL,
    picture bytea, settings jsonb);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, courier_id int REFERENCES customers,
    status text NOT NULL, amount numeric(10, 2) NOT NULL, quantity int NOT NULL,
    placed_at timestamptz NOT NULL, shipped_on date, score double precision, note text,
    CHECK (amount >= 0));
CREATE TABLE readings (taken_on date NOT NULL, value real) PARTITION BY RANGE (taken_on);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE readings_2 PARTITION OF readings FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE INDEX ON orders (customer_id);
CREATE STATISTICS orders_joint (ndistinct, dependencies, mcv) ON status, quantity FROM orders;
"""

FILL = f"""
SELECT setseed(0.42);
INSERT INTO customers SELECT
    1000 + 3 * i, 'canary' || i || '@corp' || i % 50 || '.example',
    CASE WHEN i % 4 = 0 THEN 'Canary Jones' ELSE 'Canary ' || md5(i::text) END,
    (CASE WHEN random() < 0.7 THEN 'free' WHEN random() < 0.8 THEN 'basic' ELSE 'pro' END)::plan,
    CASE WHEN random() < 0.25 THEN NULL WHEN i IN (7, 8) THEN 'canary'
         ELSE (ARRAY['emea', 'amer', 'apac', 'latam'])[1 + floor(power(random(), 2) * 4)] END,
    CASE WHEN i % 3 = 0 THEN 7654321 ELSE 30000 + i END,
    timestamptz '2020-01-01 00:00+00' + i * interval '40 minutes',
    CASE WHEN random() < 0.3 THEN '{{}}' WHEN i IN (7, 8) THEN '{{canary}}'
         WHEN random() < 0.5 THEN '{{vip}}' ELSE '{{vip,beta}}' END::text[],
    random() < 0.93, convert_to('canary' || i, 'UTF8'), jsonb_build_object('email', 'canary@corp.example')
    FROM generate_series(1, {CUSTOMERS}) i;
INSERT INTO orders SELECT
    i, 1003 + 3 * least(
        {CUSTOMERS} - 1, floor((power(random(), 3) * 0.4 + 0.6 * i / {ORDERS}) * {CUSTOMERS}))::int,
    CASE WHEN random() < 0.4 THEN NULL WHEN random() < 0.2 THEN 1900
         ELSE 1003 + 3 * floor(power(random(), 2) * 300)::int END,
    (ARRAY['delivered', 'delivered', 'delivered', 'delivered', 'shipped', 'new', 'returned'])
        [1 + floor(random() * 7)],
    round(exp(3 + 1.1 * sqrt(-2 * ln(random() + 1e-12)) * cos(6.283185 * random()))::numeric, 2),
    1 + floor(-ln(1 - random()) * 2.5)::int,
    timestamptz '2022-01-01 00:00+00' + i * interval '5 minutes' + random() * interval '3 days',
    CASE WHEN random() < 0.15 THEN NULL ELSE date '2022-01-01' + i / 288 + floor(random() * 5)::int END,
    random() * random() * 100,
    CASE WHEN random() < 0.6 THEN NULL ELSE repeat('canary', 1 + floor(random() * 9)::int) || i END
    FROM generate_series(1, {ORDERS}) i;
INSERT INTO readings SELECT date '2024-01-01' + floor(power(random(), 2) * 366)::int, random()
    FROM generate_series(1, 5000);
"""


@dataclass(frozen=True)
class Twins:
    source: Target
    profile: Profile
    twin: Target


def load_twin(target: Target, profile: Profile, scale: float = 1.0) -> None:
    file = SqlFile("schema.sql", SCHEMA)
    # one stream, since of several the slowest would decide about the order on disk
    load_alone(
        target,
        file,
        RowCounts(),
        seed=5,
        on_progress=lambda _: None,
        streams=1,
        profile=profile,
        scale=scale,
    )


def rows(target: Target, query: str, *names: str) -> list[tuple[Any, ...]]:
    composed = sql.SQL(query).format(*map(sql.Identifier, names))
    with connect(target, "test") as connection:
        return connection.execute(composed).fetchall()
