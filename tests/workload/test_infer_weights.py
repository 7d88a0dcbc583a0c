"""An inferred workload with the part of writes and the hot tables that the user wants."""

from __future__ import annotations

import pytest

from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema, Table
from rehearse.model.workload import ScriptSource
from rehearse.workload.infer_weights import is_read, weighted
from rehearse.workload.script import parse_script

SOURCES = (
    ScriptSource("read_a", "SELECT 1 FROM a;", 60),
    ScriptSource("read_b", "SELECT 1 FROM b;", 20),
    ScriptSource("update_a", "BEGIN;\nUPDATE a SET x = 1;\nEND;", 15),
    ScriptSource("insert_b", "INSERT INTO b VALUES (1);", 5),
)
SCHEMA = Schema(tuple(Table(Relation("public", name), oid, ()) for oid, name in enumerate("ab")))


def shares(sources: tuple[ScriptSource, ...]) -> dict[str, float]:
    whole = sum(source.weight for source in sources)
    return {source.name: source.weight / whole for source in sources}


@pytest.mark.parametrize("writes", [0.05, 0.5, 0.9])
def test_writes_have_the_part_that_is_asked_for_and_keep_their_proportions(writes: float) -> None:
    found = shares(weighted(SOURCES, SCHEMA, writes, {}))
    assert found["update_a"] + found["insert_b"] == pytest.approx(writes, abs=0.002)
    assert found["update_a"] / found["insert_b"] == pytest.approx(3, rel=0.1)
    assert found["read_a"] / found["read_b"] == pytest.approx(3, rel=0.1)


def test_none_and_all() -> None:
    assert weighted(SOURCES, SCHEMA, None, {}) == SOURCES
    assert set(shares(weighted(SOURCES, SCHEMA, 0.0, {}))) == {"read_a", "read_b"}
    assert set(shares(weighted(SOURCES, SCHEMA, 1.0, {}))) == {"update_a", "insert_b"}


def test_a_hot_table_has_more_of_the_reads_and_of_the_writes() -> None:
    found = shares(weighted(SOURCES, SCHEMA, 0.2, {"b": 9}))
    assert found["read_b"] / found["read_a"] == pytest.approx(3, rel=0.1)
    assert found["insert_b"] / found["update_a"] == pytest.approx(3, rel=0.1)


def test_what_cannot_be_is_told() -> None:
    reads = tuple(source for source in SOURCES if is_read(parse_script(source)))
    assert len(reads) == 2
    with pytest.raises(InputError, match="no script that writes"):
        weighted(reads, SCHEMA, 0.2, {})
    with pytest.raises(InputError, match="no such table"):
        weighted(SOURCES, SCHEMA, None, {"c": 2})
