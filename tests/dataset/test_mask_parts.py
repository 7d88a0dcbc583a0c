"""The pure parts of masking: permutations, COPY's text format, patterns, rules, dumps taken apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.dataset.masking import binaries, masks, measures, structured
from rehearse.dataset.masking.block import decoded, encoded, read_block, write_block
from rehearse.dataset.masking.leaks import atoms
from rehearse.dataset.masking.letters import texts
from rehearse.dataset.masking.markup import markup
from rehearse.dataset.masking.masks import Masker, Shape
from rehearse.dataset.masking.moments import moments
from rehearse.dataset.masking.patterns import defused, found, phone_check
from rehearse.dataset.masking.prf import MaskKey, Prf
from rehearse.dataset.masking.rules import parse_rules
from rehearse.dataset.masking.sink import read_manifest
from rehearse.engines.postgres.dump import Dump, schema_only
from rehearse.errors import InputError, ScenarioError
from rehearse.model.target import Secret
from rehearse.scenario.load import load_scenario

KEY = MaskKey(Secret("a key that is long enough for anybody")).derive("a domain")
TEXT = texts(KEY, Shape())


def applied(mask: Masker, *values: str | None) -> list[str | None]:
    return mask(pl.Series(values, dtype=pl.String)).to_list()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000))
def test_a_permutation_hits_every_place_once(size: int) -> None:
    places = np.arange(size, dtype=np.uint64)
    moved = Prf(KEY).permuted(places, np.full(size, size, dtype=np.uint64))
    assert sorted(moved.tolist()) == places.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), unique=True, max_size=200))
def test_keys_keep_sign_and_digits_and_never_meet(numbers: list[int]) -> None:
    moved = [int(text or 0) for text in applied(measures.keys(KEY, 2**31 - 1), *map(str, numbers))]
    assert len(set(moved)) == len(numbers)
    assert [len(str(number)) for number in moved] == [len(str(number)) for number in numbers]
    assert all(abs(number) < 2**31 for number in moved)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=20))
def test_texts_are_hashed_as_one_by_one(values: list[str]) -> None:
    together = Prf(KEY).texts(pl.Series(values, dtype=pl.String))
    for value, words in zip(values, together, strict=True):
        raw = value.encode()
        message = len(raw).to_bytes(8, "little") + raw
        message += bytes(-len(message) % 16)
        # the last block of CBC encryption is the CBC-MAC
        chain = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).encryptor().update(message)
        assert words.tobytes() == chain[-16:]


_VALUES = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(_VALUES, min_size=n, max_size=n), min_size=1)))
def test_a_block_is_read_and_written_as_it_was(rows: list[list[str | None]]) -> None:
    names = [str(place) for place in range(len(rows[0]))]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    block = write_block(frame.with_columns(encoded(series) for series in frame.get_columns()))
    read = read_block(block, names)
    assert read.with_columns(decoded(series) for series in read.get_columns()).equals(frame)
    assert write_block(read) == block


@settings(max_examples=25, deadline=None)
@given(st.lists(st.from_regex(r"[A-C]{1,2}-?[0-9]{1,2}", fullmatch=True), unique=True, max_size=60))
def test_short_unique_codes_keep_their_form_and_never_meet(codes: list[str]) -> None:
    masked = applied(texts(KEY, Shape(unique=True)), *codes)
    assert len(set(masked)) == len(codes)
    assert [len(text or "") for text in masked] == [len(code) for code in codes]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.datetimes().map(lambda moment: moment.replace(microsecond=0)), max_size=40))
def test_time_is_bent_within_bounds_and_in_order(given: list[object]) -> None:
    before = sorted(f"{moment:%Y-%m-%d %H:%M:%S}".rjust(19, "0") for moment in given)
    bent = applied(moments(KEY, 30, days_only=False, shift=False), *before)
    assert bent == sorted(bent, key=str)
    both = zip(before, bent, strict=True)
    apart = [abs(np.datetime64(a) - np.datetime64(b)) for a, b in both if b and "0002" < a < "9998"]
    assert all(gap <= np.timedelta64(30, "D") for gap in apart)


def test_the_rarer_types_keep_their_form_and_lose_their_content() -> None:
    text, number = TEXT, measures.numbers(KEY, 0.2, Shape(), whole=False)
    cases: list[tuple[Masker, str]] = [
        (structured.arrays(text), '{secret,"two words",NULL,"qu\\"ote"}'),
        (structured.composites([text, number, text]), '("secret ""one""",12.5,)'),
        (markup(text), '<a b="secret">words<c/></a>'),
        (
            structured.stores(text, text, lambda _path, key: not structured.plain(key)),
            '"plain"=>"secret", "other"=>NULL',
        ),
        (structured.lexemes(text), "'secret':1A 'words':2"),
        (binaries.binary(KEY), "\\x736563726574"),
        (binaries.bits(KEY), "1011001110110011"),
    ]
    for mask, value in cases:
        (masked,) = applied(mask, value)
        assert masked is not None
        assert len(masked.replace('"', "")) == len(value.replace('"', "")), value
        assert "secret" not in masked
        assert masked != value
        assert applied(mask, value) == [masked]
    assert applied(structured.shapes(number), "(1.5,-2.25)")[0] != "(1.5,-2.25)"
    ranges = structured.ranges(moments(KEY, 30, days_only=True, shift=True))
    assert applied(ranges, "empty", "[2020-01-01,)")[0] == "empty"
    assert str(applied(binaries.addresses(KEY), "192.168.7.9")[0]).startswith("10.")
    with pytest.raises(masks.UnreadableError):
        applied(structured.composites([text]), "(a,b)")


def test_personal_data_are_recognised_by_pattern_and_checksum() -> None:
    for text, name in {
        "write to a.b@corp.test now": "e-mail address",
        "GB82 WEST 1234 5698 7654 32": "bank account (IBAN)",
        "4111 1111 1111 1111": "payment card",
        "ssn 078-05-1120": "social security number",
        "+1 (212) 555-0147": "phone number",
    }.items():
        assert list(found(text)) == [name]
        assert not list(found(defused(text)))
        assert not list(found(defused(text, injective=True)))
        assert len(defused(text)) == len(text)
    for text in (
        "a@example.com",
        "4111 1111 1111 1112",
        "2024-01-02 03:04:05.123456",
        "978-05-1120",
        "12345",
    ):
        assert not list(found(text))
    (phone,) = applied(texts(KEY, Shape(), phone=True), "+1 (212) 555-0147")
    digits = "".join(char for char in str(phone) if char.isdigit())
    assert digits[-2:] == phone_check(digits[:-2])


def test_equal_values_stay_equal_and_case_may_not_matter() -> None:
    fold = texts(KEY, Shape(fold=True))
    lower, upper, other = applied(fold, "somebody", "SOMEBODY", "somebodx")
    assert str(lower).upper() == upper
    assert lower != other
    mails = masks.emails(KEY, Shape(fold=True))
    assert len(set(applied(mails, "A@b.test", "a@B.test"))) == 1
    assert "maria smith" in set(atoms('{"x": "Maria Smith"}'))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"columns": {"a.b": "emial"}}, r"there is no mask 'emial'; did you mean email\?"),
        ({"columns": {"a.b": "keep"}}, "keep needs a reason"),
        ({"columns": {"a.b": {"mask": "number", "within": "lots"}}}, "within is neither"),
        ({"columns": {"a.b": {"mask": "date", "withn": "3d"}}}, "did you mean within"),
        ({"column": {}}, "did you mean columns"),
    ],
)
def test_rules_are_read_strictly(document: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rules(document, "mask.toml")


def test_a_key_never_prints_and_is_not_short() -> None:
    key = MaskKey(Secret("not to be seen by anybody"))
    assert "seen" not in f"{key!r}{key}{vars(type(key))}"
    with pytest.raises(InputError, match="shorter than 16 bytes"):
        MaskKey(Secret("short"))


def test_statements_that_bring_rows_halt_and_words_about_people_go() -> None:
    with pytest.raises(InputError, match=r"d.sql:2: INSERT may bring in rows that nobody masks"):
        schema_only("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);", "d.sql")
    with pytest.raises(InputError, match="CREATE TABLE AS"):
        schema_only("CREATE TABLE t AS SELECT 'Maria' AS name;", "d.sql")
    text = "COMMENT ON TABLE t IS 'of Maria'; SELECT setval('s', 12); GRANT ALL ON t TO maria;"
    text += "ALTER TABLE t ADD b int;"
    assert schema_only(text, "d.sql") == "ALTER TABLE t ADD b int;\n"


def test_a_plain_dump_is_taken_apart_where_its_rows_are(tmp_path: Path) -> None:
    lookalike = "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\nCOPY t (a) FROM stdin;\n$$;\n"
    rows_of = 'COPY public."T t" (a, "b c") FROM stdin;\n1\tx\\n\n\\.x\t2\n\\.\n'
    text = f"{lookalike}{rows_of}CREATE INDEX i ON t (a);\n"
    path = tmp_path / "dump.sql"
    path.write_text(text)
    dump = Dump.open(path, tmp_path)
    read = [(rows.relation.name, rows.columns, b"".join(rows.blocks)) for rows in dump.copies()]
    assert read == [("T t", ("a", "b c"), b"1\tx\\n\n\\.x\t2\n")]
    assert "COPY t (a)" in dump.sections().before
    assert dump.sections().after == "CREATE INDEX i ON t (a);\n"
    path.write_text(text[: text.index("\\.\nCREATE")])
    with pytest.raises(InputError, match="ends in the middle of a table"):
        dump.sections()


def test_a_scenario_takes_a_snapshot_with_the_schema_in_it(tmp_path: Path) -> None:
    (tmp_path / "masked").mkdir()
    (tmp_path / "masked" / "manifest.json").write_text("{}")
    for name in ("masked/schema.sql", "other.sql", "up.sql"):
        (tmp_path / name).write_text("CREATE TABLE t (a int);")

    def scenario(schema: str) -> Path:
        path = tmp_path / "s.toml"
        path.write_text(f'[dataset]\nschema = "{schema}"\nsnapshot = "masked"\n[migration]\nup = "up.sql"\n')
        return path

    assert load_scenario(scenario("masked/schema.sql")).dataset.snapshot == str(tmp_path / "masked")
    with pytest.raises(ScenarioError, match=r'has a schema of its own.*schema = "masked/schema.sql"'):
        load_scenario(scenario("other.sql"))
    with pytest.raises(InputError, match="is no masked snapshot"):
        read_manifest(tmp_path / "masked")
