"""A MySQL or MariaDB server's log, read for the reason that it ended. Pure; never anyone's rows."""

from __future__ import annotations

import re

_CRASH = re.compile(
    r"got signal \d+|Assertion failure|No space left on device|[Dd]isk is full|Out of memory"
    r"|[Cc]annot allocate memory|\bOS errno 28\b"
)
_ERROR = re.compile(r"\[ERROR\]|^(mysqld|mariadbd|FATAL|Fatal)\b.*")
# what is said after the reason: that it gives up
_AFTERMATH = re.compile(
    r"\] (Aborting|Shutdown|Plugin initialization aborted|Failed to initialize|Unknown/unsupported storage)"
    r"|Data Dictionary initialization failed|Plugin '.*' (init function returned|registration as)"
)
_SETTING = re.compile(
    r"unknown (variable|option)|[Uu]nknown (suffix|system variable|locale)"
    r"|option .* (invalid|requires|without)"
    r"|Error while setting value|option '.*' cannot|Unknown option|ambiguous option|wrong value|Wrong value"
    r"|[Ii]nvalid value .* for|Unable to set|conflicting option|Illegal or unknown default time zone"
)
_BIRTH = re.compile(r"starting as process|[Ss]tarting MariaDB|initializing of server in progress")
_PREFIX = re.compile(
    r"^(\d{4}-\d\d-\d\d[T ][\d:.]+Z? +\d+ +)?(\[(ERROR|Warning|System|Note)\] *)?(\[[\w-]+\] *)*"
)
_LONGEST = 300  # characters


def crash(text: str) -> str:
    """The last line that tells of a crash, without time and thread; empty if none does."""
    return _last(text, _CRASH)


def bad_setting(text: str) -> str:
    """The line that says which setting the server would not start with; empty if none does."""
    lines = [line for line in text.splitlines() if _ERROR.search(line) and _SETTING.search(line)]
    return _plain(lines[-1]) if lines else ""


def reason(text: str) -> str:
    """The line that says best why the server ended or would not start; empty if none does."""
    life = _BIRTH.split(text)[-1]
    lines = [line for line in life.splitlines() if _ERROR.search(line)]
    # the first is the cause; those after it say what it led to
    telling = [line for line in lines if not _AFTERMATH.search(line)] or lines
    return crash(life) or (_plain(telling[0]) if telling else "")


def _last(text: str, pattern: re.Pattern[str]) -> str:
    telling = [line for line in text.splitlines() if pattern.search(line)]
    return _plain(telling[-1]) if telling else ""


def _plain(line: str) -> str:
    return re.sub(r"\s+", " ", _PREFIX.sub("", line)).strip()[:_LONGEST]
