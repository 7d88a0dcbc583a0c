"""What a tool has printed: which of its last lines are kept, and which of them says why it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

LINES_SHOWN = 12
# what SQLAlchemy appends, and the marks under a quoted line
_APPENDED = re.compile(r"\s*(?:\(Background on this error|\[SQL:|\[parameters|[\^~\s]+$)")
_STATEMENT = re.compile(r"\s*\[SQL:")
_NAMES_AN_ERROR = re.compile(
    r"\s*(?:Caused by: )?(?:[\w.$]*(?:Error|Exception)\b|(?:ERROR|FATAL|FAILED|PANIC)\b|error:)"
)
# what Node prints behind an error: where it came from, and the fields of the object
_FRAME = re.compile(r"\s+at \S")
_OPENS = re.compile(r"[{\[(]\s*$")
_CLOSES = re.compile(r"\s*[}\])]+[,;]?\s*$")
# what moves a terminal's cursor and colours its text, and the line that was there before
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_OVERWRITTEN = re.compile(r"\r|\x1b\[[0-2]?[JK]|\x1b\[\d*G")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(line: str) -> str:
    """What a line looks like in the end, where a tool writes over it again and again."""
    pieces = [_ESCAPE.sub("", piece) for piece in _OVERWRITTEN.split(line)]
    last = next((piece for piece in reversed(pieces) if piece.strip()), "")
    return _CONTROL.sub("", last).rstrip()


def without_dump(lines: Sequence[str]) -> list[str]:
    """`lines` less the stack and the object that Node prints behind an error. The object may hold values of
    rows. What has nothing else is left as it is.
    """
    kept = list(lines)
    depth = 0
    while kept and (depth or _FRAME.match(kept[-1]) or _CLOSES.match(kept[-1])):
        line = kept.pop()
        depth += bool(_CLOSES.match(line)) - bool(_OPENS.search(line))
        if not depth and _OPENS.search(line) and not _FRAME.match(line):
            kept.append(_OPENS.sub("", line).rstrip())
            break
    return kept if any(line.strip() for line in kept) and depth == 0 else list(lines)


def excerpt(lines: Sequence[str]) -> tuple[str, ...]:
    """The last of `lines`, as many as are shown."""
    return tuple(without_dump(lines)[-LINES_SHOWN:])


def telling_line(output: Sequence[str]) -> str:
    """The last line that names an error among those at the end, else the last that says anything; empty
    where there is none.
    """
    lines = without_dump(output)
    appended = bool(lines) and (bool(_APPENDED.match(lines[-1])) or len(lines) < len(output))
    statements = [place for place, line in enumerate(lines) if _STATEMENT.match(line)]
    if appended and statements and statements[-1] > 0:
        lines = lines[: statements[-1]]  # a statement of several lines goes on after it
    said = [line.strip() for line in lines if not _APPENDED.match(line)]
    if appended:
        said = [line for line in said if _NAMES_AN_ERROR.match(line)] or said
    return said[-1] if said else ""


def repeats(output: Sequence[str], message: str) -> bool:
    """Whether one of the lines has the server's `message`, whatever it quotes there."""
    first = message.partition("\n")[0]
    words = [re.escape(part) for part in re.split(r'"[^"]*"', first)]
    said = re.compile(".*".join(words))
    return any(part.strip() for part in words) and any(said.search(line) for line in output)
