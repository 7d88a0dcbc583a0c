"""COPY's two forms: what goes in as binary is what would have gone in as text."""

from __future__ import annotations

from typing import Any, LiteralString, TypeAlias

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.dataset.binary import HEADER, TRAILER, NotBinaryError, encodable, pieces
from rehearse.dataset.copying import TableCopy
from rehearse.dataset.generate import NULL_MARK, Cell, Counted, Generator
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.values import Lattice
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import DataType

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

EVERYTHING: LiteralString = """
CREATE TYPE mood AS ENUM ('fine', 'größer', 'it''s');
CREATE DOMAIN short_text AS varchar(12);
CREATE DOMAIN share AS numeric(6, 3) CHECK (VALUE BETWEEN -5 AND 5);
CREATE TABLE parents (id uuid PRIMARY KEY, born date);
CREATE TABLE everything (
    id bigint PRIMARY KEY, parent uuid REFERENCES parents, small smallint, whole integer, object oid,
    free numeric, priced numeric(12, 2), hundreds numeric(20, 0), fine numeric(18, 9), part share,
    double double precision, single real, day date, at timestamp, zoned timestamptz(3),
    clock time, span interval,
    ok boolean, feeling mood, name varchar(40) NOT NULL, padded char(9), word short_text, identifier name,
    note text, document json, indexed jsonb NOT NULL, raw bytea, code text UNIQUE,
    opened date, closed date CHECK (closed >= opened)
);
CREATE TABLE expected (LIKE everything);
"""
RELATION = Relation("public", "everything")
TEXT = DataType("text", "text")
NUMERIC = DataType("numeric", "numeric")
INT2 = DataType("smallint", "int2")


def recipe(connection: Connection, rows: int) -> tuple[Generator, tuple[DataType, ...]]:
    schema = introspect(connection)
    counts = RowCounts(rows, (("expected", 0),))
    plan = plan_dataset(schema, None, counts, touched=frozenset(), loaded={}, seed=5)
    table = schema.table(RELATION)
    return Generator(plan), tuple(table.column(c.name).type for c in plan.tables[RELATION].columns)


def test_both_forms_make_the_same_rows(connection: Connection) -> None:
    rows = 3_000
    connection.execute(EVERYTHING)
    connection.execute("ALTER TABLE everything DISABLE TRIGGER ALL")
    generator, types = recipe(connection, rows)
    assert encodable(types)
    seen: list[int] = []
    copied = TableCopy(generator, RELATION, types, 600, lambda _, count: seen.append(count))
    for job in copied.jobs(rows):
        job(connection)
    assert seen == [rows]  # in binary: nothing was taken back
    columns = ", ".join(f'"{column.name}"' for column in generator.plan.tables[RELATION].columns)
    command = f"COPY expected ({columns}) FROM STDIN (FORMAT csv, NULL '{NULL_MARK}')"
    with connection.cursor().copy(command.encode()) as copy:
        copy.write(generator.csv(RELATION, 0, rows))
    for one, other in (("everything", "expected"), ("expected", "everything")):
        # as text: 1.0 and 1.00 are equal numbers, but not the same to a reader
        query = "SELECT t::text FROM {} t EXCEPT ALL SELECT t::text FROM {} t LIMIT 1"
        assert connection.execute(query.format(one, other).encode()).fetchall() == []


def test_table_with_a_type_that_has_no_binary_form_goes_as_text(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE everything (id int, tags text[], address inet); CREATE TABLE expected ()"
    )
    generator, types = recipe(connection, 10)
    assert not encodable(types)
    for job in TableCopy(generator, RELATION, types, 60, lambda *_: None).jobs(10):
        job(connection)
    assert connection.execute("SELECT count(*) FROM everything").fetchone() == (10,)


def test_slice_that_turns_out_not_to_be_binary_is_sent_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("CREATE TABLE everything (id int PRIMARY KEY, n smallint); CREATE TABLE expected ()")
    generator, types = recipe(connection, 900)
    whole = Generator.cells

    def cells(self: Generator, relation: Relation, start: int, stop: int) -> list[Cell]:
        made = whole(self, relation, start, stop)
        return made if start < 500 else [made[0], Cell(pl.Series([0.5] * (stop - start)))]

    monkeypatch.setattr(Generator, "cells", cells)
    monkeypatch.setattr("rehearse.dataset.copying._CHUNK_BYTES", 0)
    seen: list[int] = []
    for job in TableCopy(generator, RELATION, types, 60, lambda _, count: seen.append(count)).jobs(900):
        job(connection)
    assert connection.execute("SELECT count(*), count(DISTINCT id) FROM everything").fetchone() == (900, 900)
    assert seen == [250, 250, -500, 250, 250, 250, 150]


def written(made: Counted | pl.Series, type_: DataType, rows: int) -> bytes:
    return b"".join(pieces([Cell(made)], [type_], rows))


@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1, max_size=5), st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_numeric_digits_mean_the_number(raw: list[int], scale: int) -> None:
    lattice = Lattice("decimal", ((-(10**15), 10**15),), scale=scale)
    sent = written(Counted(lattice, np.array(raw)), NUMERIC, len(raw))
    step = len(sent) // len(raw)
    for place, expected in enumerate(raw):
        words = np.frombuffer(sent[place * step : (place + 1) * step], dtype=">i2")[3:]
        count, weight, sign, shown = (int(word) for word in words[:4])
        digits = [int(digit) for digit in words[4:]]
        assert len(digits) == count
        assert all(0 <= digit < 10_000 for digit in digits)
        # the value times 10**scale, in whole numbers: the last digit's place is a power of 10**4
        size = sum(digit * 10_000**power for power, digit in enumerate(reversed(digits)))
        exponent = scale + 4 * (weight - count + 1)
        assert (
            size * 10**exponent == abs(expected) if exponent >= 0 else size == abs(expected) * 10**-exponent
        )
        assert (sign == 0x4000) == (expected < 0)
        assert shown <= scale


@given(st.lists(st.text(max_size=300) | st.none(), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_texts_are_framed_by_their_bytes(texts: list[str | None]) -> None:
    sent = written(pl.Series(texts, dtype=pl.String), TEXT, len(texts))
    expected = b""
    for text in texts:
        field = None if text is None else text.encode()
        length = -1 if field is None else len(field)
        expected += b"\0\1" + length.to_bytes(4, "big", signed=True) + (field or b"")
    assert sent == expected


def test_number_beyond_its_type_is_left_to_the_server() -> None:
    with pytest.raises(NotBinaryError):
        written(Counted(Lattice("integer", ((0, 1 << 20),)), np.array([1 << 15])), INT2, 1)
    with pytest.raises(NotBinaryError):
        written(pl.Series(["soon"]), DataType("date", "date"), 1)


def test_frame_is_what_the_server_expects(connection: Connection) -> None:
    connection.execute("CREATE TABLE words (word text)")
    with connection.cursor().copy("COPY words FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER + written(pl.Series(["a", "ß"]), TEXT, 2) + TRAILER)
    assert connection.execute("SELECT word FROM words").fetchall() == [("a",), ("ß",)]
