"""Where operations are tried: a schema, its rows, and the application that runs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Site:
    """A schema, what fills it, and the application, whose scripts are FILE@WEIGHT and text.

    `load` is SQL that fills tables, `{rows}` of them each; `rows` are those that Rehearse generates.
    """

    schema: str
    application: Mapping[str, str]
    load: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)


RESET = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n"

SCHEMA = """
CREATE TABLE customers (id bigint PRIMARY KEY, email text, name varchar(40));
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id bigint, status text DEFAULT 'new', note varchar(40),
  amount numeric(10,2), placed timestamp DEFAULT now(), code text, memo text);
CREATE INDEX orders_note ON orders (note);
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
"""

TABLES = ("customers", "orders", "parts")


# As many orders as customers, and 2,000 parts.
LOAD = """
INSERT INTO customers SELECT g, 'c' || g || '@example.org', 'n' || g FROM generate_series(1, {rows}) g;
INSERT INTO orders (id, customer_id, note, amount, code, memo)
  SELECT g, g, 'n' || g, g, 'k' || g, 'm' || g FROM generate_series(1, {rows}) g;
INSERT INTO parts SELECT g, now() FROM generate_series(1, 2000) g;
"""

# Nothing in it speaks of orders.memo. An order that is placed has a key that nobody has: one of billions.
APPLICATION: Mapping[str, str] = {
    "read_order@6": """\\set id random(1, :rows)
SELECT o.id, o.status, o.note, o.amount, o.placed, o.code, c.name
  FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = :id;
""",
    "place_order@2": """\\set id random(1000000, 2000000000)
\\set customer random(1, :rows)
INSERT INTO orders (id, customer_id, status, note, amount, code)
  VALUES (:id, :customer, 'new', concat('n', :id::int), 10, concat('k', :id::int));
""",
    "pay_order@2": """\\set id random(1, :rows)
UPDATE orders SET status = 'paid' WHERE id = :id;
""",
    "rename_customer@1": """\\set id random(1, :rows)
UPDATE customers SET name = 'somebody else' WHERE id = :id;
""",
    "use_part@1": """\\set id random(1, 2000)
SELECT at FROM parts WHERE id = :id;
UPDATE parts SET at = '2031-01-31' WHERE id = :id;
""",
}

SHOP = Site(SCHEMA, APPLICATION, LOAD)
