"""Time-outs of single scripts: a header comment, and how a session comes to have them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rehearse.errors import SqlFileError

Timeouts = tuple[tuple[str, int], ...]
"""Server settings and their milliseconds, by name; 0 switches one off."""

NAMES = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
_HEADER = re.compile(r"\s*--\s*rehearse:(.*)")
_COMMENT = re.compile(r"\s*(--.*)?$")
_VALUE = re.compile(r"([0-9]+)(us|ms|s|min|h|)")
_MS = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6}


def timeouts_of(text: str, file: str) -> Timeouts:
    """What the comments at a script's head say: `-- rehearse: statement_timeout=2s lock_timeout=500ms`.

    Raises SqlFileError, naming the line.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            found |= _settings(header[1], file, number)
        elif _COMMENT.fullmatch(line) is None:
            break
    return tuple(sorted(found.items()))


def _settings(text: str, file: str, line: int) -> dict[str, int]:
    found = {}
    for word in text.replace(",", " ").split():
        name, _, amount = word.partition("=")
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
            raise SqlFileError(file, line, f"{name} is no setting of a script", mend)
        value = _VALUE.fullmatch(amount)
        if value is None:
            raise SqlFileError(file, line, f"{name} takes a time, not {amount!r}", f"write {name}=500ms")
        # as the server rounds, but never down to 0, which would be none at all
        exact = int(value[1]) * _MS[value[2]]
        found[name] = max(round(exact), 1) if exact else 0
    return found


def common(timeouts: Sequence[Timeouts]) -> Timeouts | None:
    """The time-outs of every script, None where they differ."""
    return timeouts[0] if len(set(timeouts)) == 1 else None


def with_timeouts(conninfo: str, timeouts: Timeouts) -> str:
    """A connection string whose sessions begin with these time-outs."""
    if not timeouts:
        return conninfo
    before = str(conninfo_to_dict(conninfo).get("options") or "")
    ours = " ".join(f"-c {name}={value}" for name, value in timeouts)
    return make_conninfo(conninfo, options=f"{before} {ours}".strip())


def command_for(timeouts: Timeouts, every: Iterable[Timeouts]) -> bytes:
    """SQL after which a session has these time-outs, and what it began with of others that `every` names."""
    given = dict(timeouts)
    names = sorted({name for one in every for name, _ in one})
    parts = (f"SET {name} = {given[name]}" if name in given else f"RESET {name}" for name in names)
    return "; ".join(parts).encode()
