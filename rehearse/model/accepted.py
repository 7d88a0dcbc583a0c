"""Risks that the user accepts: what may be found and not stop a migration, why, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class AcceptSpec:
    """One risk that is accepted: findings of `rule` about a statement, a subject, or both.

    `statement` is the statement's text (white space and letter case do not count), a pattern with `*` and
    `?`, a regular expression between slashes, or its number from 1 on; `subject` a name, or such a pattern.
    Empty: any. It holds through the day `until`. `place` says where it was written, for messages.
    """

    rule: str
    reason: str
    until: date
    statement: str = ""
    subject: str = ""
    by: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """That a finding, or a gate, was accepted: `severity` is what it would have been."""

    reason: str
    until: date
    by: str
    severity: str

    def __str__(self) -> str:
        who = f" by {self.by}" if self.by else ""
        return f"accepted{who} until {self.until.isoformat()} (a {self.severity} otherwise): {self.reason}"
