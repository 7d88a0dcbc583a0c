from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from rehearse.engines.postgres.frames import framed, prepared, simple
from rehearse.model.workload import Pool, ScriptSource
from rehearse.workload.bulk import Blocks, Row, vectorise
from rehearse.workload.commands import Set, Sql
from rehearse.workload.pools import Pools, share_of
from rehearse.workload.script import Script, parse_script
from rehearse.workload.variables import default_variables

VARIABLES = default_variables(42, [("rows", 1000)])
ORDERS = Pool(
    "sample", "orders", {"id": [b"%d" % n for n in range(50)], "name": [b"n%d" % n for n in range(50)]}
)
ORDERS.columns["name"][7] = None
FRESH = Pool("fresh", "orders", {"id": [b"%d" % n for n in range(1000, 1100)]})


def script(text: str) -> Script:
    return parse_script(ScriptSource("app", text))


def rows(text: str, count: int, *pools: Pool, literal: bool = False) -> list[Row | None]:
    rng = np.random.default_rng(3)
    blocks = Blocks(script(text), VARIABLES, Pools(pools, rng), rng, literal=literal)
    return list(islice(blocks.rows(), count))


def is_vectorised(text: str) -> bool:
    steps = [command for command in script(text).commands if isinstance(command, (Set, Sql))]
    return vectorise(steps, VARIABLES, np.random.default_rng(1)) is not None


@pytest.mark.parametrize(
    ("text", "vectorised"),
    [
        ("\\set a random(1, 100 * :scale)\nselect :a;", True),
        ("\\set a 5\n\\set b :a * :rows - random_zipfian(1, :rows, 1.1)\nselect :b;", True),
        ("\\set a sample(orders.id)\nselect :a;", True),
        ("\\set a 9223372036854775807 + random(0, 1)\nselect :a;", False),  # may overflow: row by row
        ("\\set a random(1, random(1, 9))\nselect :a;", False),
        ("\\set a hash(random(1, 9))\nselect :a;", False),
        ("\\set a sample(orders.id)\n\\set b :a + 1\nselect :b;", False),
    ],
)
def test_what_numpy_may_draw(text: str, vectorised: bool) -> None:
    assert is_vectorised(text) is vectorised


@pytest.mark.parametrize("hashed", [False, True])  # drawn by numpy, and evaluated row by row
def test_every_statement_gets_its_own_parameters(hashed: bool) -> None:
    more = "\\set c abs(hash(:a)) % 7\n" if hashed else "\\set c random(0, 6)\n"
    text = (
        f"\\set a random(10, 20)\n\\set b :a * 2\n{more}begin;\nselect :b, :a, :b;\nselect :c, :rows;\nend;"
    )
    drawn = rows(text, 300)
    assert is_vectorised(text) is not hashed
    assert len({str(row) for row in drawn}) > 10
    for row in drawn:
        assert row is not None
        begin, first, second, end = row
        assert begin is None
        assert end is None
        assert isinstance(first, list)
        assert isinstance(second, list)
        b, a, again = (int(value or b"") for value in first)
        assert 10 <= a <= 20
        assert b == again == 2 * a
        assert 0 <= int(second[0] or b"") <= 6
        assert second[1] == b"1000"


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("literal", [False, True])
def test_in_envelopes_go_the_same_values(literal: bool, hashed: bool) -> None:
    more = "\\set c abs(hash(:a)) % 7\n" if hashed else "\\set c 0 - random(0, 6)\n"
    app = script(
        f"\\set a random(10, 20)\n{more}\\set n sample(orders.name)\nselect 1;\nselect :a, :c, :n, :rows;"
    )
    rng = np.random.default_rng
    plain = Blocks(app, VARIABLES, Pools([ORDERS], rng(1)), rng(2), literal=literal).rows()
    envelopes = [simple(), simple()] if literal else [prepared(b"b", 0), prepared(b"s", 4)]
    framed_rows = Blocks(app, VARIABLES, Pools([ORDERS], rng(1)), rng(2), literal=literal).rows(envelopes)
    for row, messages in islice(zip(plain, framed_rows, strict=False), 100):
        assert row is not None
        assert messages is not None
        for load, message, envelope in zip(row, messages, envelopes, strict=True):
            body = load if isinstance(load, bytes) else b"".join(map(framed, load or ()))
            assert [message] == envelope.sealed([body])


def test_a_variable_set_twice_is_what_it_is_at_each_statement() -> None:
    assert rows("\\set a 1\nselect :a;\n\\set a :a + 1\nselect :a;", 2) == [([b"1"], [b"2"])] * 2


def test_draws_of_one_kind_from_one_table_are_one_row() -> None:
    drawn = rows("\\set a sample(orders.id)\n\\set b sample(orders.name)\nselect :a, :b;", 500, ORDERS)
    pairs = {tuple(row[0] or ()) for row in drawn if row}
    assert pairs == {(b"%d" % n, None if n == 7 else b"n%d" % n) for n in range(50)}


def test_fresh_rows_come_once_each_and_then_there_are_none() -> None:
    drawn = rows("\\set a fresh(orders.id)\nselect :a;", 150, FRESH)
    given = [row[0][0] for row in drawn if row and isinstance(row[0], list)]
    assert sorted(value or b"" for value in given) == sorted(value or b"" for value in FRESH.columns["id"])
    assert drawn[100:] == [None] * 50


def test_processes_share_fresh_rows_without_overlap() -> None:
    parts = [share_of([ORDERS, FRESH], part, 3) for part in range(3)]
    assert all(sample == ORDERS for sample, _ in parts)
    given = [value or b"" for _, fresh in parts for value in fresh.columns["id"]]
    assert sorted(given) == sorted(value or b"" for value in FRESH.columns["id"])


def test_an_empty_pool_gives_nothing_to_send() -> None:
    assert rows("\\set a sample(t.a)\nselect :a;", 3, Pool("sample", "t", {"a": []})) == [None] * 3


def test_literals_are_safe_to_paste() -> None:
    pool = Pool("sample", "t", {"a": [b"it's 100%", None]})
    text = "\\set d 0 - 5\n\\set a sample(t.a)\nselect 7 -:d, '%', :a;"
    assert set(rows(text, 50, pool, literal=True)) == {
        (b"select 7 - -5, '%', 'it''s 100%'",),
        (b"select 7 - -5, '%', NULL",),
    }


def test_what_has_no_value_now_and_then_is_skipped_then() -> None:
    drawn = rows("\\set a 6 / random(0, 1)\nselect :a;", 100)
    assert {str(row) for row in drawn} == {"None", "([b'6'],)"}
