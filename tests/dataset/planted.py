"""A database with planted people in it, rules that mask it, and the shortest ways from one to the other."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from rehearse.dataset.masking.columns import MaskPlan
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import Rules
from rehearse.dataset.masking.run import Job, MaskResult, run_masking
from rehearse.dataset.masking.sink import DatabaseSink
from rehearse.dataset.masking.source import LiveSource
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import read_snapshot
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.target import Secret, Target
from rehearse.provision.binaries import embedded_installation

KEY = MaskKey(Secret("a key that is long enough for anybody"))
CANARIES = (
    "Quillon Featherby", "quillon.featherby@corp-mail.test", "Featherby", "corp-mail", "Wrenfield Lane",
    "Marabou-Secret", "7735550199", "555-0199", "Zanzibar Diagnosis",
)  # fmt: skip
SCHEMA = """
CREATE EXTENSION citext; CREATE EXTENSION hstore;
CREATE TYPE place AS (street text, number integer);
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN shortish AS varchar(40);
CREATE TABLE people (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email citext UNIQUE,
    phone text, profile jsonb, tags text[], secret bytea, home place, mood mood NOT NULL DEFAULT 'glad',
    active boolean NOT NULL DEFAULT true, nick shortish, attributes hstore, born date, score numeric(8,2),
    searched tsvector, note text, seen inet, stay daterange, code char(8) UNIQUE,
    greeting text GENERATED ALWAYS AS ('hello ' || name) STORED);
COMMENT ON TABLE people IS 'the first one is Quillon Featherby';
CREATE TABLE orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id integer NOT NULL REFERENCES people,
    contact citext REFERENCES people (email), amount numeric(10,2) CHECK (amount > 0),
    placed_at timestamptz NOT NULL, paid_at timestamptz, CHECK (paid_at >= placed_at));
CREATE TABLE lines (order_id uuid REFERENCES orders, line integer, "what's it" text,
    PRIMARY KEY (order_id, line));
CREATE TABLE "odd ""o""ne" (parent integer REFERENCES "odd ""o""ne", "the key" integer PRIMARY KEY, tab text);
CREATE TABLE events (at date NOT NULL, person_id integer, note text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
INSERT INTO people (name, email, phone, profile, tags, secret, home, nick, attributes, born, score, searched,
                    note, seen, stay, code) VALUES
 ('Quillon Featherby', 'quillon.featherby@corp-mail.test', '(773) 555-0199',
  '{"contact": {"email": "quillon.featherby@corp-mail.test", "ages": [41, 42]}, "ok": true, "gone": null}',
  ARRAY['Wrenfield Lane', NULL, 'a "b"'], 'Marabou-Secret', ROW('Wrenfield Lane', 7), 'Featherby',
  'street=>"Wrenfield Lane"', '1980-02-03', 12.50, to_tsvector('simple', 'Featherby Marabou-Secret'),
  '<p who="Featherby">Zanzibar Diagnosis</p>', '77.35.55.1', '[2020-01-01,2020-02-01)', 'AB1234'),
 ('Other Person', NULL, NULL, NULL, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, 'empty', NULL);
INSERT INTO people (name, email, code) SELECT 'Person ' || i, 'person' || i || '@corp-mail.test', 'C' || i
  FROM generate_series(3, 60) i;
INSERT INTO orders (person_id, contact, amount, placed_at, paid_at)
  SELECT i, (SELECT email FROM people WHERE id = i), i * 1.5,
         timestamptz '2024-01-01' + i * interval '1 hour',
         timestamptz '2024-01-01' + i * interval '61 minutes' FROM generate_series(1, 60) i;
INSERT INTO lines SELECT id, n, 'Zanzibar Diagnosis' || E'\\t\\\\' FROM orders, generate_series(1, 3) n;
INSERT INTO "odd ""o""ne" VALUES (NULL, 1, 'Featherby'), (1, 2, E'two\\nlines'), (2, 3, '');
INSERT INTO events SELECT date '2019-06-01' + i, i, 'Quillon Featherby' FROM generate_series(1, 400) i;
"""  # fmt: skip
RULES = {
    "columns": {
        "people.*": "auto",
        "people.mood": {"mask": "keep", "reason": "two moods"},
        "orders.*": "auto",
        "lines.*": "auto",
        'odd "o"ne.*': "auto",
        "events.at": {"mask": "keep", "reason": "the partition key"},
        "events.note": "text",
        "events.person_id": {"mask": "key", "domain": "public.people.id"},
    }
}
BINDIR = embedded_installation().bindir


def planned(source: Target, rules: Rules) -> MaskPlan:
    with connect(source, "rehearse") as connection:
        return plan_masks(introspect(connection), rules)


def into(source: Target, target: Target, rules: Rules, **changes: Any) -> MaskResult:
    with read_snapshot(source) as snapshot, DatabaseSink(target) as sink:
        live = LiveSource.of(source, snapshot, BINDIR)
        plan = plan_masks(live.schema, rules)
        return run_masking(replace(Job(live, plan, KEY, sink, rules.leaks), **changes))


def everything(target: Target) -> str:
    """All rows of all tables and all comments, as text."""
    with connect(target, "rehearse") as connection:
        tables = [t.relation for t in introspect(connection).tables]
        rows = [
            connection.execute(f'SELECT t::text FROM "{r.schema}"."{r.name.replace(chr(34), chr(34) * 2)}" t')
            for r in tables
        ]
        text = "\n".join(value for table in rows for (value,) in table)
        comments = connection.execute(
            "SELECT description FROM pg_description WHERE objoid > 16384"
        ).fetchall()
    return text + str(comments)


def one(target: Target, query: str) -> Any:
    with connect(target, "rehearse") as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row


def no_canary(text: str) -> None:
    assert [canary for canary in CANARIES if canary.lower() in text.lower()] == []
    assert b"Marabou".hex() not in text


def dumped(source: Target, path: Path, form: str) -> Path:
    words = [f"{name}={value}" for name, value in source.conninfo("t").items() if name != "password"]
    password = source.password.reveal() if source.password else ""
    command = [str(BINDIR / "pg_dump"), f"-F{form}", "-f", str(path), "-d", " ".join(words)]
    subprocess.run(command, check=True, env={"PGPASSWORD": password})
    return path
