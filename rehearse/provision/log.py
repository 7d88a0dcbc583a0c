"""A PostgreSQL server's log, read for the reason that it ended. Pure; never the text of anyone's rows."""

from __future__ import annotations

import re

# strongest first: a session that was refused also says FATAL, and is no reason to end
_CRASH = re.compile(
    r"PANIC: |terminated by signal|No space left on device|Out of memory|out of shared memory"
)
_REFUSAL = re.compile(
    r"FATAL: (?! *(the database system is|terminating|sorry, too|password auth|role |database |no pg_hba))"
    r"|(initdb|pg_basebackup): error: |Error: "
)
_SETTING = re.compile(r"invalid value for parameter|unrecognized configuration parameter|requires a .* value")
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] (?:\S+ )??(?=[A-Z]+:)")
_LONGEST = 300  # characters


def crash(text: str) -> str:
    """The last line that tells of a crash, without time and pid; empty if none does."""
    return _last(text, _CRASH)


def bad_setting(text: str) -> str:
    """The line that says which setting the server would not start with; empty if none does."""
    return _last(text, _SETTING)


def reason(text: str) -> str:
    """The line that says best why the server ended or would not start; empty if none does."""
    return crash(text) or _last(text, _REFUSAL)


def _last(text: str, pattern: re.Pattern[str]) -> str:
    telling = [line for line in text.splitlines() if pattern.search(line)]
    if not telling:
        return ""
    line = re.sub(r"\s+", " ", _PREFIX.sub("", telling[-1])).strip()
    return line[:_LONGEST]
