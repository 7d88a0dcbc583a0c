"""Values in places and of forms that nobody prepared for: masked, told apart, found, or the run halts."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as Tree
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from rehearse.cli.data_mask import mask
from rehearse.dataset.masking import binaries, masks, measures, structured
from rehearse.dataset.masking.leaks import LeakCheck, Sample, normal
from rehearse.dataset.masking.letters import texts
from rehearse.dataset.masking.markup import markup, markup_parts
from rehearse.dataset.masking.masks import Masker, Shape, UnreadableError
from rehearse.dataset.masking.names import Names
from rehearse.dataset.masking.patterns import found
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import parse_rules
from rehearse.dataset.masking.run import Job, LeakError, run_masking
from rehearse.dataset.masking.sink import DatabaseSink
from rehearse.dataset.masking.source import DumpSource, LiveSource
from rehearse.dataset.masking.spellings import spelled_out
from rehearse.dataset.masking.statements import texts_in
from rehearse.dataset.masking.subset import by_fraction, by_root, multiplied, read_keys
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import read_snapshot
from rehearse.engines.postgres.dump import Dump, schema_only
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import InputError
from rehearse.model.target import Secret, Target
from rehearse.provision.binaries import embedded_installation

MASTER = MaskKey(Secret("a key that is long enough for anybody"))
KEY = MASTER.derive("a domain")
TEXT = texts(KEY, Shape())
BINDIR = embedded_installation().bindir
WORDS = ("quillon", "featherby", "wrenfield", "zanzibar")


def applied(masker: Masker, *values: str) -> list[str]:
    return [str(text) for text in masker(pl.Series(values, dtype=pl.String)).to_list()]


def no_word(text: str) -> None:
    assert [word for word in WORDS if word in text.lower()] == []


def test_xml_is_masked_wherever_words_stand_in_it_and_stays_well_formed() -> None:
    given = (
        '<?xml version="1.0"?><a t="Quillon > x" u=\'Wrenfield "y"\'><!-- Zanzibar -->'
        '<Quillon77355 who="&#81;uillon"/>Featherby &amp; <![CDATA[<Zanzibar>]]></a>'
    )
    (masked,) = applied(markup(TEXT), given)
    no_word(masked)
    tree = Tree.fromstring(masked)
    assert (tree.tag, sorted(tree.attrib), len(tree)) == ("a", ["t", "u"], 1)
    assert len("".join(tree.itertext())) == len("Featherby & <Zanzibar>")
    assert markup_parts('<a b="x &lt;">y</a>') == (["a", "b", "a"], ["x <", "y"])
    with pytest.raises(UnreadableError):
        applied(markup(TEXT), '<!DOCTYPE a [<!ENTITY b "Quillon">]><a>&b;</a>')


def test_values_that_would_pass_for_want_of_a_form_halt() -> None:
    for masker, value in (
        (measures.numbers(KEY, 0.2, Shape(), whole=False), "1" + "7735550199" * 40),
        (structured.intervals(measures.scaled(KEY, 0.2)), "P1Y2M"),
        (structured.lexemes(TEXT), "Quillon 'x':1"),
    ):
        with pytest.raises(UnreadableError):
            applied(masker, value)
    number = measures.numbers(KEY, 0.2, Shape(), whole=False)
    assert applied(number, "Infinity", "NaN", "0") == ["Infinity", "NaN", "0"]
    assert applied(structured.arrays(structured.shapes(number), boxes=True), "{(1,1),(0,0);(2,2),(1,1)}")


def test_unique_values_of_few_forms_never_meet() -> None:
    unique = Shape(unique=True)
    cases: list[tuple[Masker, list[str]]] = [
        (texts(KEY, unique), [chr(0x4E00 + number) + chr(0x5000 + number % 7) for number in range(3000)]),
        (masks.names(KEY, Shape(length=14, unique=True), "name"), [f"name {n}" for n in range(3000)]),
        (binaries.addresses(KEY, unique=True), [f"77.1.{n // 256}.{n % 256}" for n in range(10_000)]),
        (binaries.addresses(KEY, unique=True), [f"77.{n // 256}.{n % 256}.0/24" for n in range(3000)]),
        (binaries.addresses(KEY, unique=True), [f"2a00:{number:x}::/32" for number in range(1 << 14)]),
        (binaries.addresses(KEY, unique=True), [f"2a00:{n // 64:x}::{n % 64:x}/32" for n in range(1 << 12)]),
        (binaries.addresses(KEY, unique=True), [f"08:00:2b:01:02:{number:02x}" for number in range(256)]),
        (binaries.binary(KEY, unique=True), [f"\\x{number:04x}" for number in range(3000)]),
        (binaries.bits(KEY, unique=True), [f"{number:012b}" for number in range(3000)]),
    ]  # fmt: skip
    for masker, values in cases:
        masked = applied(masker, *values)
        assert len(set(masked)) == len(values)
        assert masked != values
    # nor a host and a network, as either stays what it is
    hosts = [f"77.1.{n // 255}.{1 + n % 255}/24" for n in range(5000)]
    assert not any(".0/24" in text for text in applied(binaries.addresses(KEY, unique=True), *hosts))
    with pytest.raises(UnreadableError, match="tell apart"):
        applied(texts(KEY, Shape(unique=True, length=4)), "城市")


def test_copies_of_zero_and_of_decimals_are_apart() -> None:
    strides = (0, 10**4, 2 * 10**4)
    whole = [applied(measures.keys(KEY, 10**9, stride), *map(str, range(90))) for stride in strides]
    cents = [f"{number / 100:.2f}" for number in range(90)]
    decimal = [applied(measures.decimal_keys(KEY, 2, 10**9, stride), *cents) for stride in strides]
    for copies in (whole, decimal):
        assert len({text for copy in copies for text in copy}) == 3 * 90
    with pytest.raises(UnreadableError, match="no room for a copy"):
        applied(texts(KEY, Shape(unique=True, length=4), copy=1), "AB12")


def test_long_values_take_a_time_in_proportion() -> None:
    # a square of the length would be hours
    assert len(applied(binaries.binary(KEY), "\\x" + "00ff51" * 300_000)[0]) == 2 + 1_800_000
    assert list(found("a" * 1_000_000 + " +1 (212) 555-0147")) == ["phone number"]


def test_keys_that_are_data_are_told_from_names() -> None:
    names = Names()
    for number in range(100):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        document = f'{{"title": "x", "friends": {{"Quillon{letters}": 1}}}}'
        assert list(names.read(document, "jsonb")) == ["x"]
    assert len(names.data()) == 100
    assert names.common() == {"title", "friends"}
    assert list(Names().read('"description"=>"x", "y"=>NULL', "hstore")) == ["x"]


def test_keys_that_are_data_are_masked_and_none_is_lost() -> None:
    def odd(_path: str, key: str) -> bool:
        return not structured.plain(key)

    unique = texts(KEY, Shape(unique=True))
    documents = structured.documents(lambda _path, kind: kind, {"string": TEXT, "number": TEXT}, unique, odd)
    (masked,) = applied(documents, json.dumps({str(number): "x" for number in range(100)}))
    assert len(json.loads(masked)) == 100
    stored = ", ".join(f'"{number}"=>"x"' for number in range(10))
    (masked,) = applied(structured.stores(TEXT, unique, odd), stored)
    assert len(set(structured.store_parts(masked)[0])) == 10
    # a rule may put a name in a number's place; what JSON has no form for halts
    named = structured.documents(lambda _path, _kind: "name", {"name": masks.constant("M. X.")}, unique, odd)
    assert applied(named, '{"age": 41}') == ['{"age": "M. X."}']
    with pytest.raises(UnreadableError, match="308 digits"):
        applied(documents, '{"a": 1e400}')


def test_names_of_documents_take_a_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehearse.dataset.masking.names._MOST", 50)
    monkeypatch.setattr("rehearse.dataset.masking.names._MOST_NAMES", 120)
    names = Names()
    for number in range(400):
        list(names.read(json.dumps({f"k{number}-{i}": {f"v{number}": 1} for i in range(3)}), "jsonb"))
    counts = names._counts
    assert len(counts) <= 50
    assert sum(map(len, counts.values())) <= 120
    assert len(names.data()) >= 50


def test_texts_of_the_schema_are_read_over_the_ends_of_lines() -> None:
    body = """CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$
    --
    begin -- it's Quillon
      /* see
         Featherby
      */
      return 'a
    Wrenfield
    b' || "Zanzibar Two";
    end $$"""
    told = [text.strip() for text in texts_in(body)]
    for words in ("see", "Featherby", "Wrenfield", "Zanzibar Two"):
        assert any(words in text for text in told), words
    assert any("Quillon" in text for text in told)
    assert not any("RETURNS" in text for text in told)
    assert list(texts_in("AS $$ # it's $$")) == ["AS $$ # it", "s $$"]  # a quote that never ends


def test_other_spellings_of_a_value_are_read() -> None:
    for text in (
        "UXVpbGxvbiBGZWF0aGVyYnk=",
        "x: 5175696c6c6f6e2046656174686572627979",
        "q=Quillon%20Featherby&r=1",
    ):
        assert any(plain.startswith("Quillon Featherb") for plain in spelled_out(text))
    assert list(spelled_out("nothing of the kind, 123456789012")) == []
    assert normal("Jose\u0301 ") == normal("JOSÉ")


def hostile(target: Target) -> None:
    """Names as keys, in a view far down in the schema, in rows from before a check, in an odd column."""
    functions = "".join(
        f"CREATE FUNCTION f{number}() RETURNS text LANGUAGE sql AS $$ SELECT 'nothing of note {number}' $$;"
        for number in range(60)
    )
    with connect(target, "rehearse") as connection:
        connection.execute(
            f"""
            CREATE TYPE who AS (name text, tags text[], during tstzrange);
            CREATE TABLE people (id int PRIMARY KEY, full_name text, "two
lines" text, state text, friends jsonb, who who[], times tstzmultirange, code text, rate numeric(8,2) UNIQUE);
            CREATE UNIQUE INDEX ON people ((code || '!'));
            INSERT INTO people SELECT i, 'Person ' || md5(i::text), 'Wrenfield', 'a',
                jsonb_build_object('known', jsonb_build_object('Quillon' || translate(i::text,
                    '0123456789', 'abcdefghij'), 1)),
                ARRAY[ROW('Featherby', '{{Zanzibar}}', '[2020-01-01,2020-02-01)')::who],
                '{{[2020-01-01,2020-02-01)}}', 'c' || i, i - 1
                FROM generate_series(1, 200) i;
            UPDATE people SET full_name = 'Quillon Featherby', state = 'Zanzibar' WHERE id = 1;
            ALTER TABLE people ADD CHECK (state IN ('a', 'b')) NOT VALID;
            {functions}
            CREATE VIEW v AS SELECT * FROM people WHERE full_name = 'Quillon Featherby';
            """
        )


def test_a_hostile_dump_halts_is_found_out_or_is_masked(database: Target, tmp_path: Path) -> None:
    hostile(database)
    words = " ".join(
        f"{name}={value}" for name, value in database.conninfo("t").items() if name != "password"
    )
    environment = {"PGPASSWORD": database.password.reveal() if database.password else ""}
    command = [str(BINDIR / "pg_dump"), "-Fc", "-f", str(tmp_path / "dump"), "-d", words]
    subprocess.run(command, check=True, env=environment)

    def masked(columns: dict[str, object], **leaks: str) -> None:
        rules = parse_rules({"columns": columns, "leaks": {"allow": leaks}}, "rules")
        with DatabaseSink(database) as sink:
            sink.discard()
            made = DumpSource.of(Dump.open(tmp_path / "dump", BINDIR), database)
            plan = plan_masks(made.schema, rules)
            plan.require_complete()
            keys = read_keys(made, plan)
            run_masking(Job(made, plan, MASTER, sink, rules.leaks, multiplied=multiplied(keys, plan, 2)))

    named = ["full_name", "two\nlines", "friends", "who", "times", "code"]
    columns: dict[str, object] = {"people.rate": "key", **{f"people.{name}": "auto" for name in named}}
    with pytest.raises(InputError, match=r"people\.state: no rule covers it"):
        masked(columns)
    columns["people.state"] = "auto"
    with pytest.raises(LeakError, match=r"people\.friends: source values of people\.friends in 4"):
        masked(columns, **{"the schema": "all of it is ours"})
    columns["people.friends:$.known{}"] = "text"
    with pytest.raises(LeakError, match=r"the schema: CREATE VIEW public\.v: source values of people\.full_"):
        masked(columns)
    masked(columns, **{"the schema": "all of it is ours"})
    with connect(database, "rehearse") as connection:
        rows = connection.execute("SELECT p::text FROM people p").fetchall()
    no_word(str(rows))
    assert len(rows) == 400


_REFUSED: list[tuple[dict[str, object], dict[str, str], str]] = [
    ({"t.*": {"mask": "keep", "reason": "all harmless"}}, {}, "a wildcard keeps it, and would keep what"),
    ({"t.name:$.x": "text"}, {}, r'"t.name:\$.x": a character varying\(8\) has no paths'),
    ({"t.name": {"mask": "key", "domain": "public.u.id"}}, {}, 'domain "public.u.id" is no column'),
    ({"t.name": {"mask": "key", "domain": "public.t.rate"}}, {}, "their masks do not meet; leave the domain"),
    ({"t.*": "auto"}, {"t.nmae": "public"}, 'the source has no column "t.nmae"'),
    ({"t.name": "hash"}, {}, "t.name is too short for a hash that no other value has"),
    ({"t.first_name": "auto"}, {}, "t.first_name is too short for a first_name that no other value has"),
    ({"t.rate": "key"}, {}, "which key does not make; keep, null and constant"),
]


def test_rules_that_would_leave_something_open_are_refused(database: Target) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute(
            "CREATE TABLE t (name varchar(8) UNIQUE, rate float8 UNIQUE, first_name varchar(6));"
            "CREATE UNIQUE INDEX ON t (lower(first_name))"
        )
        schema = introspect(connection)
    for columns, allow, message in _REFUSED:
        rules = parse_rules({"columns": columns, "leaks": {"allow": allow}}, "rules")
        with pytest.raises(InputError, match=message):
            plan_masks(schema, rules).require_complete()


def test_a_subset_follows_references_without_case_and_those_of_a_partition(database: Target) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute("""
            CREATE EXTENSION citext;
            CREATE TABLE users (email citext PRIMARY KEY);
            CREATE TABLE notes (kind text, author citext) PARTITION BY LIST (kind);
            CREATE TABLE notes_a PARTITION OF notes FOR VALUES IN ('a');
            INSERT INTO users SELECT 'User' || i FROM generate_series(1, 40) i;
            INSERT INTO notes SELECT 'a', upper('User' || i) FROM generate_series(1, 40) i;
            ALTER TABLE notes_a ADD FOREIGN KEY (author) REFERENCES users;
        """)
    kept = {"mask": "keep", "reason": "one kind"}
    rules = parse_rules({"columns": {"users.*": "auto", "notes.author": "auto", "notes.kind": kept}}, "rules")
    with read_snapshot(database) as snapshot:
        source = LiveSource.of(database, snapshot, BINDIR)
        plan = plan_masks(source.schema, rules)
        keys = read_keys(source, plan)
    users, notes = (next(r for r in keys.frames if r.name == name) for name in ("users", "notes"))
    part = next(rows for rows, _ in keys.streams[notes])
    for selection in (
        by_fraction(keys, 0.3, MASTER),
        by_root(keys, users, ["email"], [["USER7"], ["user9"]], children=True),
    ):
        taken = {
            name: set(keys.frames[name].filter(selection.flags[rows]).get_column(column))
            for name, rows, column in ((users, users, "email"), (notes, part, "author"))
        }
        assert set() < taken[notes] <= taken[users]
    assert taken[notes] == {"user7", "user9"}
    assert len({column.domain for column in plan.columns if column.column.name != "kind"}) == 1


def test_what_a_function_of_the_schema_raises_is_not_repeated(database: Target) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute("CREATE TABLE t (a text)")
    raising = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'Quillon'; END$$;"
    with DatabaseSink(database) as sink:
        sink._sections = SimpleNamespace(before="", after=f"{raising} SELECT f();")  # type: ignore[assignment]  # has what is read
        with pytest.raises(InputError, match="a function of the schema raised an error") as caught:
            sink.finish({})
    no_word(str(caught.value))


def test_a_schema_is_read_to_its_end_and_names_in_it_are_no_values() -> None:
    check = LeakCheck(Sample(), {})
    check.read_schema(
        "CREATE TABLE public.t (a text DEFAULT 'quillon@corp.test', b text CHECK (b ~ '@x.com'))"
    )
    check.read_schema("CREATE VIEW public.v AS SELECT 'noreply@example.com' AS a")
    (leak,) = check.report().leaks
    assert (leak.column, leak.what) == ("the schema", "CREATE TABLE public.t: e-mail address")
    with pytest.raises(InputError, match="CREATE TABLE AS"):
        schema_only("CREATE TABLE t AS (SELECT 'Maria' AS name);", "d.sql")


def test_rows_of_a_column_with_a_line_feed_in_its_name_are_rows(tmp_path: Path) -> None:
    body = """CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\nCOPY "t FROM\n$$;\n"""
    path = tmp_path / "dump.sql"
    path.write_text(f'{body}COPY public.t (id, "a\nb) c") FROM stdin;\n1\tQuillon\n\\.\n\n-- end\n')
    dump = Dump.open(path, tmp_path)
    assert [(rows.columns, b"".join(rows.blocks)) for rows in dump.copies()] == [
        (("id", "a\nb) c"), b"1\tQuillon\n")
    ]
    no_word(dump.sections().before + dump.sections().after)


def test_a_root_query_says_at_once_that_a_dump_cannot_answer_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="restore the dump, and name that database by --source DSN"):
        mask(str(tmp_path / "no.dump"), dry_run=True, root="SELECT id FROM people")
