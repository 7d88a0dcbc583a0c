"""Dumps as pg_dump writes them (plain, custom, directory, tar), and a live server's schema by pg_dump.

Rows are streamed: those of a custom dump come through a pipe from pg_restore, and never touch a disk.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg import conninfo as libpq_conninfo

from rehearse.engines.postgres.command import significant
from rehearse.engines.postgres.copy_stream import BLOCK_BYTES
from rehearse.engines.postgres.lexer import UnterminatedError, tokens
from rehearse.engines.postgres.split import SqlStatement, split
from rehearse.errors import EnvironmentFailure, InputError
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.target import Target

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_COPY = re.compile(rf"COPY (?:({_NAME})\.)?({_NAME})(?: \((.*)\))? FROM stdin;\r?\n", re.DOTALL)
_PART = re.compile(_NAME)
_ENCODING = re.compile(rb"SET client_encoding = '([^']+)'")
_END = b"\\.\n"

# Nothing of this says what the tables are; some of it holds passwords, rows, or words about people.
_LEFT_OUT = tuple(
    """
    COMMENT, SECURITY LABEL, GRANT, REVOKE, ALTER DEFAULT PRIVILEGES, CREATE PUBLICATION, ALTER PUBLICATION,
    CREATE SUBSCRIPTION, ALTER SUBSCRIPTION, CREATE SERVER, ALTER SERVER, CREATE USER, ALTER USER,
    CREATE FOREIGN DATA WRAPPER, ALTER FOREIGN DATA WRAPPER, CREATE FOREIGN TABLE, ALTER FOREIGN TABLE,
    CREATE EVENT TRIGGER, ALTER EVENT TRIGGER, CREATE DATABASE, ALTER DATABASE, CREATE ROLE, ALTER ROLE,
    CREATE TABLESPACE, ALTER LARGE, SELECT, REFRESH MATERIALIZED VIEW, BEGIN, START TRANSACTION, COMMIT, END,
    ANALYZE, VACUUM, RESET, COPY, CLUSTER
    """.replace("\n    ", " ")
    .strip()
    .split(", ")
)
_QUERIES = frozenset({"SELECT", "VALUES", "TABLE", "WITH", "EXECUTE"})


@dataclass(frozen=True, slots=True)
class Sections:
    """What a dump says about tables: `before` their rows, and `after` them (indexes, keys, triggers)."""

    before: str
    after: str


@dataclass(slots=True)
class CopyRows:
    """The rows of one table in a dump. `columns` None: all of the table's, in its order."""

    relation: Relation
    columns: tuple[str, ...] | None
    blocks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class _Place:
    relation: Relation
    columns: tuple[str, ...] | None
    start: int


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump on disk. `bindir` has pg_restore, for those that are not plain."""

    path: Path
    plain: bool
    bindir: Path

    @classmethod
    def open(cls, path: Path, bindir: Path) -> Dump:
        """InputError if there is no dump at `path`."""
        if path.is_dir():
            if not (path / "toc.dat").is_file():
                raise InputError(f"{path} is a folder without toc.dat", "name what pg_dump -Fd wrote")
            return cls(path, False, bindir)
        try:
            with path.open("rb") as file:
                head = file.read(512)
        except OSError as error:
            raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        return cls(path, not head.startswith((b"PGDMP", b"toc.dat")), bindir)

    def sections(self) -> Sections:
        """The schema alone, without comments, owners, rights, and anything that is not about tables."""
        if self.plain:
            before, after, _ = self._scan()
        else:
            before, after = (self._restored(section) for section in ("pre-data", "post-data"))
        return Sections(schema_only(before, str(self.path)), schema_only(after, str(self.path)))

    def copies(self) -> Iterator[CopyRows]:
        """Table after table, in the dump's order; each has to be read to its end."""
        if self.plain:
            yield from self._plain_copies()
            return
        with self._restore("--data-only") as stream:
            reader = _Reader(stream)
            while True:
                line = reader.line()
                if not line:
                    return
                _require_utf8(line, self.path)
                if line[:5] != b"COPY ":
                    continue
                match = _COPY.fullmatch(_text(reader.rest_of_name(line), self.path))
                if match is None:
                    raise InputError(f"{self.path}: rows that nobody can tell the table of", "make it again")
                relation, columns = _target_of(match)
                yield CopyRows(relation, columns, reader.rows())

    def _plain_copies(self) -> Iterator[CopyRows]:
        _, _, places = self._scan()
        for place in places:
            with self.path.open("rb") as file:
                file.seek(place.start)
                yield CopyRows(place.relation, place.columns, _Reader(file).rows())

    def _scan(self) -> tuple[str, str, list[_Place]]:
        """The text before the first rows, the text after them, and where rows are."""
        parts: list[list[str]] = [[], []]
        places: list[_Place] = []
        unchecked: list[str] = []
        with self.path.open("rb") as file:
            reader = _Reader(file)
            while raw := reader.line():
                _require_utf8(raw, self.path)
                if raw[:5] == b"COPY " and raw.count(b'"') % 2 and _complete("".join(unchecked)):
                    raw = reader.rest_of_name(raw)
                line = _text(raw, self.path)
                match = _COPY.fullmatch(line) if line.startswith("COPY ") else None
                # within a function's body it is but text
                if match is None or not _complete("".join(unchecked)):
                    unchecked.append(line)
                    continue
                parts[1 if places else 0] += unchecked
                unchecked = []
                places.append(_Place(*_target_of(match), reader.position))
                for _ in reader.rows():
                    pass
        parts[1 if places else 0] += unchecked
        return "".join(parts[0]), "".join(parts[1]), places

    def _restored(self, section: str) -> str:
        with self._restore(f"--section={section}") as stream:
            text = stream.read()
        _require_utf8(text, self.path)
        return text.decode()

    @contextmanager
    def _restore(self, what: str) -> Iterator[IO[bytes]]:
        words = [str(self.bindir / "pg_restore"), "-f", "-", "--no-owner", "--no-acl", "--no-comments"]
        with _piped([*words, "--no-statistics", what, str(self.path)], {}, self.path) as stream:
            yield stream


def live_sections(target: Target, snapshot: str, bindir: Path) -> Sections:
    """The schema of a database as a snapshot sees it, by pg_dump."""
    words = {key: value for key, value in target.conninfo("rehearse mask").items() if key != "password"}
    secret = {"PGPASSWORD": target.password.reveal()} if target.password else {}
    command = [str(bindir / "pg_dump"), "--schema-only", "--no-comments", "--no-owner", "--no-privileges"]
    command += ["--no-security-labels", "--no-publications", "--no-subscriptions", "--encoding=UTF8"]
    command += [f"--snapshot={snapshot}"] if snapshot else []
    texts = []
    for section in ("pre-data", "post-data"):
        address = f"--dbname={libpq_conninfo.make_conninfo('', **words)}"
        with _piped([*command, f"--section={section}", address], secret, "the source") as stream:
            texts.append(schema_only(stream.read().decode(), "the source's schema"))
    return Sections(*texts)


def schema_only(text: str, file: str) -> str:
    """The statements of `text` that make tables and what belongs to them.

    Raises InputError, naming file and line, for a statement that could bring rows in by another way than
    COPY: those rows would not be masked.
    """
    kept = []
    for statement in split(SqlFile(file, text)):
        if statement.command == "SET":
            if "client_encoding" not in statement.text:
                kept.append(statement.text)
        elif statement.command.startswith(("CREATE ", "ALTER ")) and not statement.command.startswith(
            _LEFT_OUT
        ):
            _require_no_rows(statement)
            if " OWNER TO " not in statement.text:
                kept.append(statement.text)
        elif statement.command.startswith("SELECT") and "set_config('search_path'" in statement.text:
            kept.append(statement.text)
        elif not statement.command.startswith((*_LEFT_OUT, "DROP ")):
            raise InputError(
                f"{file}:{statement.line}: {statement.command or 'a statement'} may bring in rows that "
                "nobody masks",
                "make the dump by pg_dump without --inserts",
            )
    return "".join(f"{text};\n" for text in kept)


def _require_no_rows(statement: SqlStatement) -> None:
    if statement.command != "CREATE TABLE":
        return
    depth, before = 0, ""
    for token in significant(list(tokens(statement.text))):
        depth += token.nesting
        if before in {"AS", "AS ("} and token.upper in _QUERIES:
            raise InputError(
                f"{statement.file}:{statement.line}: CREATE TABLE AS makes rows that nobody masks",
                "take the rows out",
            )
        opened = before in {"AS", "AS ("} and token.text == "("
        before = "AS (" if opened else token.upper if depth == 0 else ""


def _complete(text: str) -> bool:
    """Whether no quote or comment is open at the end."""
    try:
        for _ in tokens(text):
            pass
    except UnterminatedError:
        return False
    return True


def _target_of(match: re.Match[str]) -> tuple[Relation, tuple[str, ...] | None]:
    columns = None if match[3] is None else tuple(_plain(name) for name in _PART.findall(match[3]))
    return Relation(_plain(match[1] or "public"), _plain(match[2])), columns


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _require_utf8(text: bytes, path: Path) -> None:
    match = _ENCODING.search(text)
    if match and match[1].upper().replace(b"-", b"") not in {b"UTF8", b"SQL_ASCII"}:
        raise InputError(f"{path} is in the encoding {match[1].decode()}", "dump it by --encoding=UTF8")


def _text(raw: bytes, path: Path) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", "name a dump, or make one by --encoding=UTF8") from None


class _Reader:
    """Lines and blocks of rows out of a byte stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = b""
        self._at = 0  # what of it was handed out
        self._before = stream.tell() if stream.seekable() else 0

    @property
    def position(self) -> int:
        """Where in the stream the next byte stands."""
        return self._before + self._at

    def line(self) -> bytes:
        """The next line with its end; empty at the end of the stream."""
        while (end := self._held.find(b"\n", self._at)) < 0:
            if not self._fill():
                end = len(self._held) - 1
                break
        return self._take(end + 1)

    def rest_of_name(self, line: bytes) -> bytes:
        """`line`, and those after it that a quoted name in it goes on in."""
        while line.count(b'"') % 2 and (more := self.line()):
            line += more
        return line

    def rows(self) -> Iterator[bytes]:
        """Blocks of whole rows up to the end of the COPY. InputError if the stream ends before."""
        while True:
            if self._held.startswith(_END, self._at):
                self._take(self._at + len(_END))
                return
            end = self._held.find(b"\n" + _END, self._at)
            if end >= 0:
                yield self._take(end + 1)
                continue
            # the last lines may be the beginning of the end
            whole = self._held.rfind(b"\n", self._at, max(len(self._held) - len(_END), self._at)) + 1
            if whole > self._at and len(self._held) - self._at >= BLOCK_BYTES:
                yield self._take(whole)
            elif not self._fill():
                raise InputError("the dump ends in the middle of a table", "make it again")

    def _take(self, end: int) -> bytes:
        taken = self._held[self._at : end]
        self._at = end
        return taken

    def _fill(self) -> bool:
        more = self._stream.read(BLOCK_BYTES)
        self._before += self._at
        self._held, self._at = self._held[self._at :] + more, 0
        return bool(more)


@contextmanager
def _piped(command: Sequence[str], secrets: dict[str, str], what: object) -> Iterator[IO[bytes]]:
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGPASSFILE": os.devnull} | secrets
    try:
        process = subprocess.Popen(  # noqa: S603 - pg_dump and pg_restore of the installation
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise EnvironmentFailure(f"{command[0]} does not run: {error.strerror}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process.stdout
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
        words = process.stderr.read().decode("utf-8", "replace")
        process.stderr.close()
    if process.wait() != 0:
        first = next((line for line in words.splitlines() if "error:" in line), "it failed")
        raise InputError(f"{Path(command[0]).name}: {what}: {first.partition('error: ')[2] or first}")
