"""A trace: every statement of a log with its values, session and time, in order of time. Production data.

Text, one JSON document a line. The first is a header; every other is
`[offset_ns, session, transaction, is_last, text, name, parameters]`: nanoseconds from the first statement,
numbers of session and transaction, whether it is the session's last transaction, the text sent, the name of
the prepared statement, and the parameters as text (null: simple protocol).
"""

from __future__ import annotations

import heapq
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from rehearse.errors import InputError
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.logged import LoggedTransaction

_FORMAT = "rehearse-trace"
_VERSION = 1
_IN_MEMORY = 200_000
_COPY = re.compile(r"\s*COPY\b.*\b(?:STDIN|STDOUT)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What a trace holds."""

    statements: int
    transactions: int
    sessions: int
    seconds: float


class Event(NamedTuple):
    """One statement to be sent again."""

    offset_ns: int
    session: int
    transaction: int
    is_last: bool
    text: str
    name: str
    parameters: list[str | None] | None


@dataclass(slots=True)
class _Track:
    """A session while its trace is written."""

    number: int
    last_transaction: int = 0
    last_ns: int = 0


def write_trace(path: Path, transactions: Iterable[LoggedTransaction], tally: Tally) -> TraceFacts:
    """Write `path`, which must not exist, for its owner's eyes only (mode 0600).

    Sorts by time in pieces on disk, so that a long log needs little memory.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise InputError(f"{path} is there already", "name a new folder with --out") from None
    with open(descriptor, "w", encoding="utf-8") as out, ExitStack() as pieces:  # noqa: PTH123 - a descriptor
        tracks: dict[str, _Track] = {}
        spool = _Spool(path.parent, pieces)
        count = 0
        for transaction in transactions:
            if _is_playable(transaction, tally):
                count += 1
                _add(spool, tracks, transaction, count)
        seconds = (spool.last_ns - spool.first_ns) / 1e9 if spool.count else 0.0
        facts = TraceFacts(spool.count, count, len(tracks), seconds)
        header = {"format": _FORMAT, "version": _VERSION, "contains": "production data"}
        out.write(json.dumps(header | {name: getattr(facts, name) for name in facts.__slots__}) + "\n")
        ends = {track.number: track.last_transaction for track in tracks.values()}
        for at_ns, _, line in spool.lines():
            session, number, *rest = json.loads(line)
            event = [at_ns - spool.first_ns, session, number, ends[session] == number, *rest]
            out.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
    return facts


def _is_playable(transaction: LoggedTransaction, tally: Tally) -> bool:
    for statement in transaction.statements:
        if not statement.whole:
            tally.left_out["transactions with parameters whose values were not logged"] += 1
            return False
        if _COPY.match(statement.text):
            tally.left_out["transactions with COPY, whose rows are not in the log"] += 1
            return False
    return True


def _add(spool: _Spool, tracks: dict[str, _Track], transaction: LoggedTransaction, number: int) -> None:
    track = tracks.setdefault(transaction.session, _Track(len(tracks)))
    track.last_transaction = number
    for statement in transaction.statements:
        # the log rounds its times: within a session the order is what counts
        track.last_ns = max(track.last_ns, statement.at_ns)
        item = [track.number, number, statement.text, statement.name, statement.parameters]
        spool.add(track.last_ns, json.dumps(item, ensure_ascii=False))


class _Spool:
    """Sorts lines by time and order of coming, in pieces in unnamed files."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._rows: list[tuple[int, int, str]] = []
        self._pieces: list[IO[str]] = []
        self.count = 0
        self.first_ns, self.last_ns = 2**63, 0

    def add(self, at_ns: int, line: str) -> None:
        """One line."""
        self.first_ns, self.last_ns = min(self.first_ns, at_ns), max(self.last_ns, at_ns)
        self._rows.append((at_ns, self.count, line))
        self.count += 1
        if len(self._rows) >= _IN_MEMORY:
            unnamed = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self._folder)  # noqa: SIM115 - the stack closes it
            piece = self._stack.enter_context(unnamed)
            piece.writelines(f"{at} {place} {text}\n" for at, place, text in sorted(self._rows))
            self._pieces.append(piece)
            self._rows = []

    def lines(self) -> Iterator[tuple[int, int, str]]:
        """All of them in order."""
        return heapq.merge(sorted(self._rows), *map(_rows_of, self._pieces))


def _rows_of(piece: IO[str]) -> Iterator[tuple[int, int, str]]:
    piece.seek(0)
    for line in piece:
        at_ns, place, text = line.rstrip("\n").split(" ", 2)
        yield int(at_ns), int(place), text


def read_trace(path: Path) -> tuple[TraceFacts, Iterator[Event]]:
    """The header, and the events as they are read. Raises InputError where it is no trace; later, where it
    is cut short.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            header = json.loads(stream.readline() or "{}")
        if header.get("format") != _FORMAT or header.get("version") != _VERSION:
            raise ValueError
        facts = TraceFacts(**{name: header[name] for name in TraceFacts.__slots__})
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError):
        raise InputError(
            f"{path} is no trace of version {_VERSION}", "rehearse workload from-log --replay writes one"
        ) from None
    return facts, _events(path, facts.statements)


def _events(path: Path, expected: int) -> Iterator[Event]:
    count = 0
    with path.open(encoding="utf-8") as stream:
        stream.readline()
        for line in stream:
            try:
                yield Event(*json.loads(line))
            except (ValueError, TypeError):
                raise InputError(f"{path}:{count + 2}: is no event of a trace") from None
            count += 1
    if count != expected:
        raise InputError(f"{path} is cut short: {count} of {expected} statements")
