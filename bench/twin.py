"""How alike a database and its statistical twin are.

Run as `python -m bench.twin [--rows N]`. A skewed data set is profiled from its statistics alone, loaded
again from schema and profile, and both are read in full: what is printed is what was counted on either side.
"""

from __future__ import annotations

import argparse
import sys
import time

from rehearse.dataset.alone import load_alone
from rehearse.dataset.profile.fidelity import MEASURES, fidelity, table_lines
from rehearse.dataset.profile.take import take_profile
from rehearse.dataset.profile.withhold import Rules
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database
from rehearse.model.migration import SqlFile
from rehearse.model.profile_file import parse_profile, profile_text
from rehearse.model.scenario import DatabaseSpec, RowCounts
from rehearse.provision import Server, provision

SCHEMA = """
CREATE TYPE plan AS ENUM ('free', 'basic', 'pro', 'enterprise');
CREATE TABLE customers (
    id int PRIMARY KEY, email text NOT NULL UNIQUE, full_name text NOT NULL, plan plan NOT NULL,
    region text, credit numeric(12, 2), created_at timestamptz NOT NULL, tags text[],
    active boolean NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, status text NOT NULL,
    coupon text, amount numeric(10, 2) NOT NULL, quantity int NOT NULL, placed_at timestamptz NOT NULL,
    shipped_on date, note text, payload jsonb, score double precision);
CREATE INDEX ON orders (customer_id);
"""
FILL = """
SELECT setseed(0.42);
INSERT INTO customers SELECT
    1000 + 3 * i, 'user' || i || '@corp' || i % 50 || '.example', 'Person ' || md5(i::text),
    (CASE WHEN random() < 0.7 THEN 'free' WHEN random() < 0.6 THEN 'basic'
          WHEN random() < 0.8 THEN 'pro' ELSE 'enterprise' END)::plan,
    CASE WHEN random() < 0.25 THEN NULL
         ELSE (ARRAY['emea', 'amer', 'apac', 'latam'])[1 + floor(power(random(), 2) * 4)] END,
    CASE WHEN random() < 0.5 THEN 0 ELSE round(exp(random() * 6)::numeric, 2) END,
    timestamptz '2020-01-01 00:00+00' + i * interval '4 minutes',
    CASE WHEN random() < 0.3 THEN '{{}}' WHEN random() < 0.5 THEN '{{vip}}' ELSE '{{vip,beta}}' END::text[],
    random() < 0.93
    FROM generate_series(1, {customers}) i;
INSERT INTO orders SELECT
    i, 1003 + 3 * least({customers} - 1,
        floor((power(random(), 3) * 0.4 + 0.6 * i / {orders}) * {customers}))::int,
    (ARRAY['delivered', 'delivered', 'delivered', 'delivered', 'shipped', 'new', 'returned'])
        [1 + floor(random() * 7)],
    CASE WHEN random() < 0.8 THEN NULL ELSE 'SALE' || floor(power(random(), 2) * 30) END,
    round(exp(3 + 1.1 * sqrt(-2 * ln(random() + 1e-12)) * cos(6.283185 * random()))::numeric, 2),
    1 + floor(-ln(1 - random()) * 2.5)::int,
    timestamptz '2022-01-01 00:00+00' + i * interval '30 seconds' + random() * interval '3 days',
    CASE WHEN random() < 0.15 THEN NULL
         ELSE date '2022-01-01' + i / 2880 + floor(random() * 5)::int END,
    CASE WHEN random() < 0.6 THEN NULL ELSE repeat(md5(i::text), 1 + floor(random() * 4)::int) END,
    jsonb_build_object('k', md5(i::text), 'v', repeat('x', 60)), random() * random() * 100
    FROM generate_series(1, {orders}) i
"""


def compared(server: Server, rows: int) -> None:
    """Fill, profile, load the twin, read both, print."""
    source, twin = (server.target.on(name) for name in ("source", "twin"))
    for target in (source, twin):
        create_database(server.target, target.dbname)
    with connect(source, "rehearse") as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(FILL.format(customers=rows // 10, orders=rows).encode())
        connection.execute("VACUUM ANALYZE")
    started = time.monotonic()
    text = profile_text(take_profile(source))
    took = time.monotonic() - started
    profile = parse_profile(text, "profile")
    schema = SqlFile("schema.sql", SCHEMA)
    loaded = load_alone(twin, schema, RowCounts(), seed=1, on_progress=lambda _: None, profile=profile)
    rules = Rules(like=profile)
    result = fidelity(
        take_profile(source, scan=True, rules=rules), take_profile(twin, scan=True, rules=rules)
    )
    sys.stdout.write(
        f"profiled {rows + rows // 10:,} rows in {took:.2f} s, without reading one; {len(text):,} bytes\n"
        f"the twin: {loaded.rows_per_second:,.0f} rows/s\n"
    )
    lines = [("column", *MEASURES), *table_lines(result, 0.03)]
    for line in lines:
        cells = (cell.rjust(12) for cell in line[1:])
        sys.stdout.write(f"{line[0]:<24}{''.join(cells)}\n")
    sys.stdout.write(f"worst: {100 * max(column.worst for column in result.columns):.2f} %\n")


def main() -> None:
    """Provision, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        compared(server, given.rows)


if __name__ == "__main__":
    main()
