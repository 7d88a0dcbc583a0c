"""What a log has to say, one entry at a time, and a tally of what in it could not be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

_MOST_LISTED = 1000


class LogEntry(NamedTuple):
    """One message of the server. `at_ns` counts from the epoch; `number` is its place within the session's
    messages, None where the log does not say. `text` stands at `file:line`.
    """

    at_ns: int
    session: str
    level: str  # LOG, ERROR, FATAL, ...
    message: str
    detail: str
    database: str
    user: str
    application: str
    number: int | None
    parts: int  # how many of the session's numbers it took (a DETAIL has one of its own on stderr)
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Tear:
    """Something was lost here; `session` None: nobody knows whose."""

    session: str | None = None


Item: TypeAlias = "LogEntry | Tear"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A place in a log that could not be used. `reason` never quotes what stands there."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(slots=True)
class Tally:
    """What was left out. `refusals` lists the first thousand places, `refused` counts them all; `left_out`
    counts transactions and statements by the reason they were left out for.
    """

    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def refuse(self, file: str, line: int, reason: str) -> None:
        """One place."""
        self.refused += 1
        if len(self.refusals) < _MOST_LISTED:
            self.refusals.append(Refusal(file, line, reason))

    def note(self, text: str) -> None:
        """Something a reader should know, once."""
        if text not in self.notes:
            self.notes.append(text)
