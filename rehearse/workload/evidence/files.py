"""Log files, plain or gzipped, rotated: opened, told apart, put in order of time, read entry by entry."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

from rehearse.errors import InputError
from rehearse.workload.evidence import csvlog, jsonlog, prefix, stderrlog
from rehearse.workload.evidence.entry import Item, LogEntry, Tally

_LONGEST_LINE = 1 << 24
_GZIP = b"\x1f\x8b"
_GLANCE = 50

Lines: TypeAlias = Iterator[tuple[int, str | None]]
Reader: TypeAlias = Callable[[str, Lines, Tally], Iterator[Item]]


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file, how to read it, and the time of its first entry."""

    path: Path
    read: Reader
    first_ns: int


def read_logs(paths: Sequence[Path], log_line_prefix: str, tally: Tally) -> Iterator[Item]:
    """Every entry of `paths`, file after file in order of their first entries; what is not whole is refused
    in `tally` and leaves a Tear. Raises InputError where a file cannot be read or has no entry at all.
    """
    pattern = prefix.pattern_of(log_line_prefix)
    files = [_look(path, lambda *at: stderrlog.entries(pattern, *at)) for path in paths]
    last_ns, before = 0, ""
    for file in sorted(files, key=lambda file: file.first_ns):
        if file.first_ns < last_ns:
            tally.note(f"{file.path.name} overlaps {before} in time: is it the same log twice?")
        for item in file.read(str(file.path), _lines(file.path, tally), tally):
            if isinstance(item, LogEntry):
                last_ns, before = max(last_ns, item.at_ns), file.path.name
            yield item


def _look(path: Path, read_stderr: Reader) -> LogFile:
    glance = [text for _, text in zip(range(_GLANCE), _glanced(path), strict=False)]
    votes: dict[Reader, int] = {
        jsonlog.entries: sum(text.startswith('{"') for text in glance),
        csvlog.entries: sum(csvlog.begins(text) for text in glance),
    }
    read: Reader = max(votes, key=lambda reader: votes[reader])
    if not votes[read]:
        read = read_stderr
    ignored = Tally()
    entries = read(str(path), _lines(path, ignored), ignored)
    first = next((entry for entry in entries if isinstance(entry, LogEntry)), None)
    if first is None:
        raise InputError(
            f"{path}: no line of it is an entry of a PostgreSQL log",
            "for a log on stderr give the server's own prefix with --log-line-prefix",
        )
    return LogFile(path, read, first.at_ns)


def _glanced(path: Path) -> Iterator[str]:
    return (text for _, text in _lines(path, Tally()) if text)


def _lines(path: Path, tally: Tally) -> Lines:
    """Lines with their numbers, without their ends; None for one that cannot be used, which is refused."""
    number = 0
    try:
        with _opened(path) as stream:
            while raw := stream.readline(_LONGEST_LINE):
                number += 1
                yield number, _text(path, number, raw, tally)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        tally.refuse(str(path), number + 1, "the compressed data is damaged or ends here")
        yield number + 1, None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _text(path: Path, number: int, raw: bytes, tally: Tally) -> str | None:
    if not raw.endswith(b"\n"):
        what = "a line of more than 16 MiB" if len(raw) == _LONGEST_LINE else "the line ends with the file"
        tally.refuse(str(path), number, what)
        return None
    try:
        text = raw.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        tally.refuse(str(path), number, "not text in UTF-8")
        return None
    if "\0" in text:
        tally.refuse(str(path), number, "not text: it has a zero byte")
        return None
    return text


def _opened(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as stream:
            magic = stream.read(2)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return cast(IO[bytes], gzip.open(path)) if magic == _GZIP else path.open("rb")
