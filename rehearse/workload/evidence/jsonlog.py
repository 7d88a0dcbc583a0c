"""A jsonlog: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rehearse.workload.evidence.entry import Item, LogEntry, Tally, Tear
from rehearse.workload.evidence.moments import moment_ns


def entries(file: str, lines: Iterator[tuple[int, str | None]], tally: Tally) -> Iterator[Item]:
    """The entries in `lines`."""
    for number, text in lines:
        if not text:
            if text is None:
                yield Tear()
            continue
        entry = _entry(file, number, text)
        if entry is None:
            tally.refuse(file, number, "is no object of a jsonlog")
            yield Tear()
        else:
            yield entry


def _entry(file: str, line: int, text: str) -> LogEntry | None:
    try:
        found = json.loads(text)
        return LogEntry(
            moment_ns(found["timestamp"]),
            str(found["session_id"]),
            str(found["error_severity"]),
            str(found.get("message", "")),
            str(found.get("detail", "")),
            str(found.get("dbname", "")),
            str(found.get("user", "")),
            str(found.get("application_name", "")),
            int(found["line_num"]),
            1,
            file,
            line,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
