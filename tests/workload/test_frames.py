from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq

from rehearse.engines.postgres import frames, wire
from rehearse.engines.postgres.connect import conninfo
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.frames import Answer, WireError
from rehearse.model.target import Target
from rehearse.provision import Server

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

VALUES: list[bytes | None] = [b"7", None, b"", b"x" * 300, "ü'\\".encode()]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


BOUND, DONE, READY = message(b"2", b""), message(b"C", b"SELECT 1\0"), message(b"Z", b"I")
ROW = message(b"T", b"\0\1n\0" + bytes(18)) + message(b"D", b"\0\1\0\0\0\1C")
REFUSED = message(b"E", b"SERROR\0C40001\0Mcould not serialize\0Rf\0\0")
SAID = message(b"N", b"SNOTICE\0C00000\0Mhello\0\0") + message(b"S", b"TimeZone\0UTC\0")


class Ear:
    """A server that lets anybody in, and notes what they say."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._heard = b""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        peer, _ = self._listener.accept()
        with peer:
            (size,) = struct.unpack("!i", peer.recv(4))
            while size > 4:
                size -= len(peer.recv(size - 4))
            peer.sendall(message(b"R", struct.pack("!i", 0)) + READY)
            while data := peer.recv(65536):
                self._heard += data

    def hear(self, speak: Callable[[PGconn], None]) -> bytes:
        words = f"host=127.0.0.1 port={self.port} user=u dbname=d sslmode=disable gssencmode=disable"
        pg = pq.PGconn.connect_start(words.encode())  # the blocking way would not let the ear listen
        for wait in wire.connecting(pg):
            directions = ([pg.socket], []) if wait == wire.READ else ([], [pg.socket])
            select.select(*directions, [], 60)
        speak(pg)
        while pg.flush():
            select.select((), (pg.socket,), ())
        pg.finish()
        self._thread.join(60)
        self._listener.close()
        return self._heard.removesuffix(message(b"X", b""))


def body(values: Sequence[bytes | None]) -> bytes:
    return b"".join(map(frames.framed, values))


@pytest.mark.parametrize("values", [VALUES, []])
def test_what_is_framed_is_byte_for_byte_what_libpq_sends(values: list[bytes | None]) -> None:
    count = len(values)
    assert frames.prepared(b"r0_1", count).sealed([body(values)]) == [
        Ear().hear(lambda pg: pg.send_query_prepared(b"r0_1", values or None))
    ]
    assert frames.extended(b"select $1", count).sealed([body(values)]) == [
        Ear().hear(lambda pg: pg.send_query_params(b"select $1", values or None))
    ]
    assert frames.simple().sealed([b"select 1"]) == [Ear().hear(lambda pg: pg.send_query(b"select 1"))]


def fed(*pieces: bytes) -> Answer:
    answer = Answer()
    for piece in pieces:
        answer.feed(piece)
    return answer


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_an_answer_is_the_same_however_it_comes_in_pieces(data: st.DataObject) -> None:
    parts = data.draw(st.sampled_from([
        (BOUND, ROW, DONE, READY),
        (SAID, BOUND, DONE, SAID, READY),
        (BOUND, ROW, REFUSED, READY),
        (BOUND, DONE, REFUSED, READY),
        (BOUND, message(b"I", b""), READY),
    ]))  # fmt: skip
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    edges = [0, *cuts, len(whole)]
    answer = fed(*(whole[a:b] for a, b in pairwise(edges)))
    assert answer.status == ord("I")
    assert (answer.failure is not None) == (REFUSED in parts)
    assert answer.ending == (DONE + READY if parts[-2:] == (DONE, READY) else b"")
    assert not fed(whole[:-1]).status


@pytest.mark.parametrize(
    "bytes_",
    [message(b"G", b"\0\0\0"), message(b"H", b"\0\0\0"), b"\x17\3\3\0\x50", b"2\0\0\0\0", b"Z\0\0\0\0"],
)
def test_what_no_script_can_be_answered_is_out_of_step(bytes_: bytes) -> None:
    with pytest.raises(WireError):
        fed(bytes_)


@pytest.fixture(scope="module")
def own_database(server: Server) -> Iterator[Target]:
    """One for all tests here: making one takes longer than most of them."""
    create_database(server.target, "frames")
    yield server.target.on("frames")
    drop_database(server.target, "frames")


@pytest.fixture
def pg(own_database: Target) -> Iterator[PGconn]:
    connection = pq.PGconn.connect(conninfo(own_database, "rehearse").encode())
    for text in (
        b"drop table if exists t",
        b"create table t (id int primary key, parent int references t deferrable initially deferred)",
        b"insert into t select i from generate_series(1, 3) i",
    ):
        assert connection.exec_(text).status == pq.ExecStatus.COMMAND_OK
    yield connection
    connection.finish()


def ask(pg: PGconn, text: bytes, values: list[bytes | None]) -> tuple[Answer, bytes]:
    """By the socket."""
    (question,) = frames.extended(text, len(values)).sealed([body(values)])
    assert os.write(pg.socket, question) == len(question)
    answer, heard, deadline = Answer(), b"", time.monotonic() + 60
    while not answer.status:
        assert select.select((pg.socket,), (), (), deadline - time.monotonic())[0]
        data = os.read(pg.socket, 100)
        heard += data
        answer.feed(data)
    return answer, heard


@pytest.mark.parametrize(
    ("text", "values", "sqlstate"),
    [
        (b"select * from t where id = $1", [b"2"], None),
        (b"select repeat('x', 3000), n from generate_series(1, 30) n", [], None),
        (b"update t set parent = $1 where id = 1", [b"2"], None),
        (b"", [], None),
        (b"do $$ begin raise notice 'C%', repeat('y', 200); end $$", [], None),
        (b"select 1 / (id - 3) from t", [], "22012"),
        (b"select nonsense from t", [], "42703"),
        (b"insert into t values (1)", [], "23505"),
        (b"insert into t values (9, 99)", [], "23503"),  # refused at the commit, after CommandComplete
        (b"select $1::int", [b"x"], "22P02"),
    ],
)
def test_an_answer_says_what_libpq_says(
    pg: PGconn, text: bytes, values: list[bytes | None], sqlstate: str | None
) -> None:
    answer, heard = ask(pg, text, values)
    theirs = pg.exec_params(text, values)  # libpq has not noticed anything, and goes on
    assert answer.failure == wire.failed([theirs])
    assert (answer.failure.sqlstate if answer.failure else None) == sqlstate
    assert answer.status == ord("I")
    if sqlstate is None and text:
        assert heard.endswith(answer.ending)
        assert answer.ending.startswith(b"C")
        assert (pg.exec_params(b"begin", []).status, pg.transaction_status) == (
            pq.ExecStatus.COMMAND_OK,
            pq.TransactionStatus.INTRANS,
        )
        assert not ask(pg, text, values)[1].endswith(answer.ending)  # now in a transaction
    else:
        assert answer.ending == b""


def test_a_stale_plan_is_known_as_such(pg: PGconn) -> None:
    pg.prepare(b"p", b"select * from t")
    pg.exec_(b"alter table t add more int")
    os.write(pg.socket, frames.prepared(b"p", 0).sealed([b""])[0])
    answer = Answer()
    while not answer.status:
        assert select.select((pg.socket,), (), (), 60)[0]
        answer.feed(os.read(pg.socket, 4096))
    assert answer.failure is not None
    assert (answer.failure.sqlstate, answer.failure.stale_plan) == ("0A000", True)


def test_only_where_nobody_encrypts(own_database: Target) -> None:
    plain = pq.PGconn.connect(conninfo(own_database, "rehearse").encode())
    assert frames.is_open_to_us(plain)
    plain.finish()
    perhaps = replace(own_database, options=(*own_database.options, ("gssencmode", "prefer")))
    unknown = pq.PGconn.connect(conninfo(perhaps, "rehearse").encode())
    assert unknown.status == pq.ConnStatus.OK
    assert not frames.is_open_to_us(unknown)
    unknown.finish()
