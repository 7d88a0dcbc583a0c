"""Rows out of a server by COPY: all of them, in order; a source that goes away is no end of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import copy_out
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import DatasetError, ServerLostError
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.provision import Server

WIDE = Relation("public", "wide")
ROWS = 100_000


@pytest.fixture(scope="module")
def wide(server: Server) -> Iterator[Target]:
    """40 MB, more than is ever under way between a server and its client."""
    create_database(server.target, "copy_source")
    target = server.target.on("copy_source")
    with connect(target, "test") as opened:
        opened.execute("CREATE TABLE wide (id integer, text text); CREATE TABLE none (id integer)")
        opened.execute(f"INSERT INTO wide SELECT i, repeat('x', 400) FROM generate_series(1, {ROWS}) i")
    yield target
    drop_database(server.target, "copy_source")


def test_all_rows_come_in_their_order_and_the_connection_goes_on(wide: Target) -> None:
    with connect(wide, "test") as opened:
        blocks = list(copy_out(opened, WIDE, ["text", "id"]))
        assert len(blocks) > 5
        assert all(block.endswith(b"\n") for block in blocks)
        assert [int(line.split(b"\t")[1]) for block in blocks for line in block.splitlines()] == list(
            range(1, ROWS + 1)
        )
        assert list(copy_out(opened, Relation("public", "none"), ["id"])) == []
        with pytest.raises(DatasetError, match=r'public\.gone" does not exist'):
            list(copy_out(opened, Relation("public", "gone"), ["id"]))
        assert opened.execute("SELECT 1").fetchone() == (1,)


def test_a_session_that_is_terminated_among_its_rows_is_an_error(wide: Target) -> None:
    with connect(wide, "test") as opened, connect(wide, "test") as other:
        blocks = copy_out(opened, WIDE, ["text"])
        next(blocks)
        other.execute("SELECT pg_terminate_backend(%s)", [opened.info.backend_pid])
        with pytest.raises(ServerLostError, match=r"went away at (public\.)?wide"):
            list(blocks)


def test_rows_that_are_not_read_to_their_end_end_the_connection(wide: Target) -> None:
    with connect(wide, "test") as opened:
        blocks = copy_out(opened, WIDE, ["text"])
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]  # a generator, which ends as its taker does
        assert opened.closed
    # nor does it matter which of the two ends first
    with connect(wide, "test") as opened:
        blocks = copy_out(opened, WIDE, ["text"])
        next(blocks)
        opened.close()
        blocks.close()  # type: ignore[attr-defined]  # as above
