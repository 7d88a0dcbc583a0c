"""The rehearsal database's address for a migration tool: a port of ours, behind which every session goes on
to the server, under our name and with our password. The tool gets a password for this one run.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import psycopg
from psycopg.pq.abc import PGconn

from rehearse.engines.postgres.catalog import Catalog
from rehearse.engines.postgres.connect import conninfo
from rehearse.engines.postgres.frames import is_open_to_us
from rehearse.engines.postgres.messages import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    PROTOCOL,
    SSL_REQUEST,
    Messages,
    older_protocol,
    parameters_of,
    password_request,
    refusal,
    welcome,
)
from rehearse.errors import ServerLostError
from rehearse.migrate.course import Course
from rehearse.migrate.ledger import Ledger
from rehearse.migrate.relayed import HungUpError, Relayed
from rehearse.migrate.toolbook import ToolBook
from rehearse.migrate.witness import Witness
from rehearse.model.target import Secret, Target

HOST = "127.0.0.1"
_HELLO_S = 30.0
_LONGEST_HELLO = 10_000
_GOODBYE_S = 15.0
_HEAD = struct.Struct("!II")
_TOLD = (
    *("server_version", "server_encoding", "client_encoding", "application_name", "DateStyle", "TimeZone"),
    *("default_transaction_read_only", "in_hot_standby", "is_superuser", "session_authorization"),
    *("IntervalStyle", "integer_datetimes", "standard_conforming_strings", "scram_iterations", "search_path"),
)
_OURS = frozenset({"user", "database", "application_name", "client_encoding", "options", "replication"})
_OF_THE_PROTOCOL = "_pq_."


class Relay:
    """Listens from the beginning of the context to its end, which ends every session. `base` and `rows` are
    the database before the migration.
    """

    def __init__(
        self, target: Target, book: ToolBook, application_name: str, base: Catalog, rows: Mapping[int, int]
    ) -> None:
        self._target = target
        self._book = book
        self._application_name = application_name
        self._base, self._rows = base, rows
        self.password = Secret(secrets.token_urlsafe(24))
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._keys: dict[tuple[int, int], PGconn] = {}
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.defect: Exception | None = None
        self.left_open = False  # a session could not be ended: what it did is not written down
        self.closed_door: str | None = None  # why no session could be opened on the server

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up who accepts
        self._listener.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(2 * _GOODBYE_S)
        self.left_open = any(thread.is_alive() for thread in self._threads)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, name="relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._clients.add(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with closing(client):
                client.settimeout(_HELLO_S)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                hello = self._hello(client)
                if hello is not None:
                    self._session(client, hello)
        except (OSError, psycopg.Error, ServerLostError):
            return  # it hung up while it was let in, or we did, or the server
        except Exception as error:  # a defect of ours, told by whoever started us
            self.defect = error
        finally:
            with self._lock:
                self._clients.discard(client)

    def _hello(self, client: socket.socket) -> dict[str, str] | None:
        """What the tool wants of its session; None where it wants none, or not with our password."""
        while True:
            length, code = _HEAD.unpack(_exactly(client, _HEAD.size))
            if not _HEAD.size <= length <= _LONGEST_HELLO:
                return None  # no client of PostgreSQL
            body = _exactly(client, length - _HEAD.size)
            if code in (SSL_REQUEST, GSS_REQUEST):
                client.sendall(b"N")
            elif code == CANCEL_REQUEST:
                if len(body) == _HEAD.size:
                    self._cancel(*_HEAD.unpack(body))
                return None
            else:
                break
        if code >> 16 != PROTOCOL >> 16:
            client.sendall(refusal("0A000", "only version 3 of the protocol is spoken here"))
            return None
        if code != PROTOCOL:
            client.sendall(older_protocol())
        wanted = parameters_of(body)
        client.sendall(password_request())
        given = _one_message(client).rstrip(b"\0")
        refused = self._refused(wanted, given)
        if refused:
            client.sendall(refusal(*refused))
            return None
        return wanted

    def _refused(self, wanted: Mapping[str, str], password: bytes) -> tuple[str, str] | None:
        if not hmac.compare_digest(password, self.password.reveal().encode()):
            return "28P01", "this is a rehearsal: its password is in PGPASSWORD and DATABASE_URL"
        if "replication" in wanted:
            return "0A000", "there is no replication through a rehearsal's address"
        user, database = wanted.get("user", ""), wanted.get("database") or wanted.get("user", "")
        if user != self._target.user:
            return "28000", f"this is a rehearsal: its user is in PGUSER, and not {user!r}"
        if database != self._target.dbname:
            return "3D000", f"this is a rehearsal: its database is in PGDATABASE, and not {database!r}"
        return None

    def _session(self, client: socket.socket, wanted: Mapping[str, str]) -> None:
        with ExitStack() as stack:
            try:
                connection = psycopg.connect(
                    conninfo(self._as(wanted), self._application_name), autocommit=True
                )
            except psycopg.Error as error:
                self.closed_door = f"the server refused its session ({type(error).__name__})"
                client.sendall(refusal("08006", self.closed_door))
                return
            stack.callback(connection.close)
            pgconn = connection.pgconn
            if not is_open_to_us(pgconn):
                self.closed_door = "the server takes only encrypted sessions"
                client.sendall(refusal("08P01", self.closed_door))
                return
            server = stack.enter_context(socket.socket(fileno=os.dup(pgconn.socket)))
            key = pgconn.backend_pid, secrets.randbits(31)
            with self._lock:
                self._keys[key] = pgconn
            stack.callback(self._forget, key)
            witness = stack.enter_context(Witness(self._target))
            ledger = Ledger(self._base, self._rows)
            course = Course(self._book, witness, ledger, pgconn.backend_pid, pgconn.server_version)
            self._book.joined(pgconn.backend_pid)
            settings = _settings(pgconn)
            client.sendall(welcome(settings, *key))
            client.settimeout(None)
            client.setblocking(False)
            server.setblocking(False)
            try:
                Relayed(client, server, course, settings).run()
            except HungUpError as end:
                if not end.by_server:
                    _say_goodbye(server, pgconn)
                course.lost(by_server=end.by_server)
            except (psycopg.Error, ServerLostError):  # of the witness: what it was to tell is not known
                course.lost(by_server=False)
                raise

    def _as(self, wanted: Mapping[str, str]) -> Target:
        """Our way to the server, with the session's settings as the tool wants them."""
        settings = {
            name: value
            for name, value in wanted.items()
            if name not in _OURS and not name.startswith(_OF_THE_PROTOCOL)
        }
        given = [wanted["options"]] if wanted.get("options") else []
        own = dict(self._target.options)
        given = [*([own["options"]] if own.get("options") else []), *given]
        given += [f"-c {name}={_escaped(value)}" for name, value in settings.items()]
        own |= {"sslmode": "disable", "gssencmode": "disable"}
        if wanted.get("client_encoding"):
            own["client_encoding"] = wanted["client_encoding"].strip("'")
        if given:
            own["options"] = " ".join(given)
        return replace(self._target, options=tuple(own.items()))

    def _cancel(self, pid: int, key: int) -> None:
        with self._lock:
            pgconn = self._keys.get((pid, key))
        if pgconn is not None:
            with suppress(psycopg.Error):
                pgconn.get_cancel().cancel()

    def _forget(self, key: tuple[int, int]) -> None:
        with self._lock:
            self._keys.pop(key, None)


def _settings(pgconn: PGconn) -> dict[str, str]:
    found = {name: pgconn.parameter_status(name.encode()) for name in _TOLD}
    return {name: value.decode() for name, value in found.items() if value is not None}


def _say_goodbye(server: socket.socket, pgconn: PGconn) -> None:
    """Ends the session in the middle of whatever it does, and waits until the server has undone that."""
    with suppress(psycopg.Error):
        pgconn.get_cancel().cancel()
    with suppress(OSError):
        server.settimeout(_GOODBYE_S)
        server.sendall(b"X\0\0\0\4")
        server.shutdown(socket.SHUT_WR)  # where it waits for the rest of a message
        while server.recv(1 << 16):
            pass


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _one_message(client: socket.socket) -> bytes:
    """The body of the password message: nothing else may come before we have answered it."""
    messages = Messages()
    while True:
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError
        for message in messages.feed(piece):
            return message.body
