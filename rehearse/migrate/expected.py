"""What a session of a migration tool is to be answered, message by message, and what we ask in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rehearse.engines.postgres.command import Control
from rehearse.engines.postgres.lexer import words
from rehearse.engines.postgres.split import SqlStatement
from rehearse.migrate.course import Work

# Within a query of several statements the server keeps its answers until it has a reason to send them: a
# warning is one. Behind the end of a transaction only what takes no snapshot leaves the next BEGIN as it is.
_NUDGE = "SELECT pg_catalog.pg_cancel_backend(0)"
_NUDGE_OUTSIDE = "ROLLBACK"


@dataclass(slots=True)
class Expected:
    """The answer to one message, or to one statement of a query: the kinds that end it. `ours`: the tool does
    not see it, nor the warning that a `nudge` is for.
    """

    ends: bytes
    work: Work | None = None
    ours: bool = False
    nudge: bool = False
    sync: bool = False
    rows: list[bytes] = field(default_factory=list)


def nudge(work: Work) -> str | None:
    """What makes the server send the answer to `work` before it goes on, None where nothing is in place."""
    if work.probed:
        return _NUDGE
    ends = work.source.control in (Control.COMMIT, Control.ROLLBACK)
    return _NUDGE_OUTSIDE if ends and "CHAIN" not in words(work.source.text) else None


def unread(text: bytes | Sequence[int]) -> SqlStatement:
    """A statement that is not taken apart."""
    shown = bytes(text).decode("utf-8", "replace").strip()
    words = shown.split()
    return SqlStatement(shown, 1, words[0].upper() if words else "")
