"""Planted people never reach a masked snapshot, a folder, a log or a message."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import psycopg
import pytest

from rehearse.cli.data_mask import mask
from rehearse.cli.main import app
from rehearse.dataset.masking.columns import ColumnPlan, MaskPlan
from rehearse.dataset.masking.draft import draft_rules
from rehearse.dataset.masking.maskers import masker_of
from rehearse.dataset.masking.masks import Masker
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.roots import root_rows
from rehearse.dataset.masking.rules import Rules, parse_rules
from rehearse.dataset.masking.run import Job, LeakError, MaskResult, run_masking
from rehearse.dataset.masking.sink import DatabaseSink, FolderSink, load_snapshot
from rehearse.dataset.masking.source import DumpSource, LiveSource
from rehearse.dataset.masking.subset import by_fraction, by_root, multiplied, read_keys
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import read_snapshot
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.dump import Dump, Sections
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import InputError, NotDisposableError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Secret, Target
from rehearse.provision import Server
from rehearse.provision.binaries import embedded_installation

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

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


@pytest.fixture(scope="module")
def source(server: Server) -> Iterator[Target]:
    create_database(server.target, "mask_source")
    target = server.target.on("mask_source")
    with connect(target, "rehearse") as connection:
        connection.execute(SCHEMA)
    yield target
    drop_database(server.target, "mask_source")


@dataclass(frozen=True, slots=True)
class Live(LiveSource):
    """A live source whose schema was dumped before: all tests here have the same."""

    known: Sections

    def sections(self) -> Sections:
        return self.known


@pytest.fixture(scope="module")
def sections(source: Target) -> Sections:
    with read_snapshot(source) as snapshot:
        return LiveSource.of(source, snapshot, BINDIR).sections()


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


def test_no_planted_person_reaches_the_copy_and_joins_survive(source: Target, database: Target) -> None:
    result = into(source, database, parse_rules(RULES, "rules"))
    no_canary(everything(database))
    assert result.leaks.sampled > 50
    assert result.rows == 60 + 60 + 180 + 3 + 400
    assert (
        one(
            database,
            "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id AND p.email = o.contact",
        )
        == 59
    )
    # order in time survives, and what the partitions go by is kept: both of these are the 17th person
    person = one(database, "SELECT person_id FROM orders ORDER BY placed_at OFFSET 16 LIMIT 1")
    assert person == one(database, "SELECT person_id FROM events WHERE at = '2019-06-18'")
    assert one(
        database, "SELECT count(email), count(DISTINCT id), count(phone), count(code) FROM people"
    ) == (59, 60, 1, 59)
    name, phone, code, greeting = one(
        database, "SELECT name, phone, code, greeting FROM people WHERE profile IS NOT NULL"
    )
    assert greeting == f"hello {name}"
    assert (len(phone), phone[0], len(code.strip())) == (14, "(", 6)
    profile, tags = one(database, "SELECT profile, tags FROM people WHERE profile IS NOT NULL")
    assert profile["contact"]["email"].rpartition("@")[2].startswith("example.")
    assert (profile["ok"], profile["gone"], len(profile["contact"]["ages"])) == (True, None, 2)
    assert [tag and len(tag) for tag in tags] == [14, None, 5]
    assert one(database, "SELECT max(id) < nextval(pg_get_serial_sequence('people', 'id')) FROM people")


def dumped(source: Target, path: Path, form: str) -> Path:
    words = [f"{name}={value}" for name, value in source.conninfo("t").items() if name != "password"]
    password = source.password.reveal() if source.password else ""
    command = [str(BINDIR / "pg_dump"), f"-F{form}", "-f", str(path), "-d", " ".join(words)]
    subprocess.run(command, check=True, env={"PGPASSWORD": password})
    return path


@pytest.mark.parametrize("form", ["p", "c", "d"])
def test_a_dump_gives_the_same_folder_as_the_server_it_was_made_of(
    source: Target, database: Target, tmp_path: Path, form: str
) -> None:
    dump = Dump.open(dumped(source, tmp_path / "dump", form), BINDIR)
    rules = parse_rules(RULES, "rules")
    made = DumpSource.of(dump, database)
    sink = FolderSink(tmp_path / "out")
    result = run_masking(Job(made, plan_masks(made.schema, rules), KEY, sink))
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    no_canary(text)
    assert result.rows == 703
    if form == "p":
        with DatabaseSink(database) as empty:
            empty.discard()
        load_snapshot(database, tmp_path / "out")
        no_canary(everything(database))
        joined = "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id"
        assert one(database, joined) == 60
        with read_snapshot(source) as snapshot:
            live = LiveSource.of(source, snapshot, BINDIR)
            again = FolderSink(tmp_path / "again")
            run_masking(Job(live, plan_masks(live.schema, rules), KEY, again))
        for path in (tmp_path / "again" / "rows").iterdir():
            assert sorted(path.read_text().splitlines()) in [
                sorted(other.read_text().splitlines()) for other in (tmp_path / "out" / "rows").iterdir()
            ]


def test_without_its_rule_a_column_halts_the_run_and_names_the_line(source: Target) -> None:
    columns = {name: rule for name, rule in RULES["columns"].items() if name != "orders.*"}
    plan = planned(source, parse_rules({"columns": columns}, "rules"))
    with pytest.raises(
        InputError, match=r'orders.amount: no rule covers it.*"public.orders.amount" = "number"'
    ):
        plan.require_complete()
    # keys and what they refer to need no rule of their own
    assert {halt.column for halt in plan.halts} == {"amount", "placed_at", "paid_at"}


def test_a_column_that_came_later_halts_whatever_wildcards_say(source: Target) -> None:
    draft = planned(source, parse_rules(RULES, "rules"))
    inventory: dict[str, list[str]] = {f"{r.relation.schema}.{r.relation.name}": [] for r in draft.columns}
    for column in draft.columns:
        if column.label != "people.active":
            inventory[f"{column.relation.schema}.{column.relation.name}"].append(column.column.name)
    plan = planned(source, parse_rules({**RULES, "inventory": inventory}, "rules"))
    assert [str(halt) for halt in plan.halts] == [
        "people.active: it is not in the [inventory] that the rules were written for"
    ]


def test_a_draft_covers_every_column(source: Target) -> None:
    with connect(source, "rehearse") as connection:
        schema = introspect(connection)
    text = draft_rules(schema, plan_masks(schema, Rules("none")))
    plan = plan_masks(schema, parse_rules(tomllib.loads(text.replace('"..."', '"read"')), "draft"))
    # what rows are partitioned by is the one thing to decide on
    assert {halt.column for halt in plan.halts} <= {"at"}
    assert '"public.people.email" = "email"' in text
    assert "Featherby" not in text


def passing(label: str) -> Any:
    """Masks as they should be, but one of a column that lets everything through."""

    def make(plan: ColumnPlan, key: MaskKey, **copy: int) -> Masker | None:
        return (lambda values: values) if plan.label == label else masker_of(plan, key, **copy)

    return make


@pytest.mark.parametrize(
    "column",
    ["people.name", "people.profile", "people.tags", "people.secret", "people.home", "people.nick",
     "people.attributes", "people.searched", "people.email", "people.phone", "orders.id", "orders.placed_at",
     "lines.what's it"],
)  # fmt: skip
def test_a_mask_that_lets_values_through_is_caught_and_nothing_is_left(
    source: Target, sections: Sections, tmp_path: Path, column: str
) -> None:
    rules = parse_rules(RULES, "rules")
    with read_snapshot(source) as snapshot:
        live = Live(source, snapshot, introspect(snapshot.connection), BINDIR, sections)
        sink = FolderSink(tmp_path / "out")
        job = Job(live, plan_masks(live.schema, rules), KEY, sink, masker=passing(column))
        with pytest.raises(LeakError) as caught:
            run_masking(job)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("leak: ")
    no_canary(str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_kept_column_that_repeats_a_masked_one_is_caught_in_the_database(
    source: Target, database: Target
) -> None:
    columns = {
        "events.note": {"mask": "keep", "reason": "wrongly believed to be harmless"},
        **RULES["columns"],
    }
    columns["events.note"] = {"mask": "keep", "reason": "wrongly believed to be harmless"}
    rules = parse_rules({"columns": columns}, "rules")
    with pytest.raises(LeakError, match=r"events.note: source values of people.name in 400 rows"):
        into(source, database, rules)
    assert one(database, "SELECT count(*) FROM pg_class WHERE relname = 'people'") == 0
    allowed = parse_rules({"columns": columns, "leaks": {"allow": {"events.note": "public"}}}, "rules")
    assert into(source, database, allowed).leaks.allowed == ("events.note",)


def test_a_subset_is_closed_over_references_and_copies_do_not_collide(
    source: Target, database: Target
) -> None:
    rules = parse_rules(RULES, "rules")
    with read_snapshot(source) as snapshot, DatabaseSink(database) as sink:
        live = LiveSource.of(source, snapshot, BINDIR)
        plan = plan_masks(live.schema, rules)
        keys = read_keys(live, plan)
        selection = by_fraction(keys, 0.3, KEY)
        job = Job(live, plan, KEY, sink, selection=selection, multiplied=multiplied(keys, plan, 3))
        result = run_masking(job)
        with pytest.raises(InputError, match="select the primary key of people: id"):
            root_rows(snapshot.connection, live.schema, "SELECT name FROM people")
        table, columns, found = root_rows(
            snapshot.connection, live.schema, "SELECT name, id FROM people p WHERE id IN (5, 7)"
        )
        root = by_root(keys, table, columns, found, children=True)
        counts = {str(relation): int(flags.sum()) for relation, flags in root.flags.items()}
    rows = dict(result.tables)
    assert 0 < rows["people"] < 3 * 60
    # the constraints hold, or the run would have failed; parents have all of their children or none
    assert rows["people"] % 3 == rows["orders"] % 3 == 0
    assert rows["lines"] == 3 * rows["orders"]
    assert counts["people"] == counts["orders"] == 2
    assert counts["lines"] == 6
    assert (
        one(database, "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id") == rows["orders"]
    )


def test_the_documented_commands_do_what_is_said(
    server: Server,
    source: Target,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def database_instead(_spec: DatabaseSpec) -> Iterator[SimpleNamespace]:
        create_database(server.target, "mask_scratch")
        try:
            yield SimpleNamespace(target=server.target.on("mask_scratch"))
        finally:
            drop_database(server.target, "mask_scratch")

    section = (Path(__file__).parents[2] / "docs" / "data.md").read_text().partition("## Anonymized")[2]
    commands = [line.split()[1:] for line in section.splitlines() if line.startswith("rehearse data mask ")]
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REHEARSE_MASK_KEY", "0123456789abcdef0123456789abcdef")
    dumped(source, tmp_path / "production.dump", "c")
    for number, words in enumerate(commands):
        assert app([*words, "--json"], standalone_mode=False) in {0, None}
        if number == 0:
            rules = (tmp_path / "mask.toml").read_text().replace('"..."', '"read"')
            kept = 'events.at" = { mask = "keep", reason = "partitions" }'
            (tmp_path / "mask.toml").write_text(rules.replace('events.at" = "date"', kept))
            # one server was started for a dump's schema, as it is; the others are left out
            monkeypatch.setattr("rehearse.provision.provision", database_instead)
    (tmp_path / "production.dump").unlink()
    no_canary("".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file()))
    manifest = json.loads((tmp_path / "masked" / "manifest.json").read_text())
    assert manifest["rows"] == 703
    shown = capfd.readouterr()
    no_canary(shown.out + shown.err)
    assert "0123456789abcdef" not in shown.out + shown.err
    assert "a boolean tells nobody from another" in shown.out


def test_what_is_missing_is_asked_for_before_anything_is_written(
    source: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"{name}={value}" for name, value in source.conninfo("t").items() if name != "application_name"]
    rules = tmp_path / "mask.toml"
    rules.write_text("[columns]\n")
    monkeypatch.delenv("REHEARSE_MASK_KEY", raising=False)
    out, key = tmp_path / "out", tmp_path / "key"
    with pytest.raises(InputError, match="no masking key; set REHEARSE_MASK_KEY"):
        mask(" ".join(words), rules=rules, out=out)
    key.write_text("0123456789abcdef0123456789abcdef")
    with pytest.raises(InputError, match=r"add under \[columns\]: \"public\."):
        mask(" ".join(words), rules=rules, out=out, key_file=key)
    assert not out.exists()
    columns = "".join(f"{json.dumps(name)} = {toml(rule)}\n" for name, rule in RULES["columns"].items())
    rules.write_text(f"[columns]\n{columns}")
    with pytest.raises(NotDisposableError, match="named-by-user"):
        mask(" ".join(words), rules=rules, into=" ".join(words), key_file=key)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {json.dumps(text)}" for name, text in value.items()) + " }"
    return json.dumps(value)
