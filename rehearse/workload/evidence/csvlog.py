"""A csvlog: records of 23 columns or more, whose quoted texts may go over several lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from rehearse.workload.evidence.entry import Item, LogEntry, Tally, Tear
from rehearse.workload.evidence.moments import moment_ns

_FEWEST = 23  # version 12; 13 has 24, 14 and later 26
_TIME, _USER, _DATABASE, _SESSION, _NUMBER, _LEVEL = 0, 1, 2, 5, 6, 11
_MESSAGE, _DETAIL, _APPLICATION = 13, 14, 22
_BEGINS = re.compile(
    r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,]+,(?:"(?:[^"]|"")*")?,(?:"(?:[^"]|"")*")?,\d+,'
)


def begins(text: str) -> bool:
    """Whether a line is the first of a record."""
    return _BEGINS.match(text) is not None


def entries(file: str, lines: Iterator[tuple[int, str | None]], tally: Tally) -> Iterator[Item]:
    """The entries in `lines`."""
    record: list[str] = []
    start, quotes = 0, 0
    for number, text in lines:
        if record and quotes % 2 and (text is None or begins(text)):
            # nobody writes a log's first columns into a statement: the record before was cut short
            tally.refuse(file, start, "the record is cut short")
            yield Tear()
            record, quotes = [], 0
        if text is None:
            yield Tear()
            continue
        if not record:
            start = number
        record.append(text)
        quotes += text.count('"')
        if quotes % 2 == 0:
            yield from _entry(file, start, "\n".join(record), tally)
            record, quotes = [], 0
    if record:
        tally.refuse(file, start, "the record is cut short")
        yield Tear()


def _entry(file: str, line: int, text: str, tally: Tally) -> Iterator[Item]:
    if not text:
        return
    try:
        row = next(csv.reader([text], strict=True))
        yield LogEntry(
            moment_ns(row[_TIME]),
            row[_SESSION],
            row[_LEVEL],
            row[_MESSAGE],
            row[_DETAIL],
            row[_DATABASE],
            row[_USER],
            row[_APPLICATION] if len(row) >= _FEWEST else _missing(),
            int(row[_NUMBER]),
            1,
            file,
            line,
        )
    except (csv.Error, ValueError, IndexError):
        tally.refuse(file, line, "is no record of a csvlog")
        yield Tear()


def _missing() -> str:
    raise IndexError("columns are missing")
