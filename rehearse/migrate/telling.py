"""Which of the lines that a failed tool has printed says why it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

# what SQLAlchemy appends, and the marks under a quoted line
_APPENDED = re.compile(r"\s*(?:\(Background on this error|\[SQL:|\[parameters|[\^~\s]+$)")
_STATEMENT = re.compile(r"\s*\[SQL:")
_NAMES_AN_ERROR = re.compile(
    r"\s*(?:Caused by: )?(?:[\w.$]*(?:Error|Exception)\b|(?:ERROR|FATAL|FAILED|PANIC)\b)"
)


def telling_line(output: Sequence[str]) -> str:
    """The last line that names an error among those at the end, else the last that says anything; empty
    where there is none.
    """
    lines = list(output)
    appended = bool(lines) and bool(_APPENDED.match(lines[-1]))
    statements = [place for place, line in enumerate(lines) if _STATEMENT.match(line)]
    if appended and statements and statements[-1] > 0:
        lines = lines[: statements[-1]]  # a statement of several lines goes on after it
    said = [line.strip() for line in lines if not _APPENDED.match(line)]
    if appended:
        said = [line for line in said if _NAMES_AN_ERROR.match(line)] or said
    return said[-1] if said else ""
