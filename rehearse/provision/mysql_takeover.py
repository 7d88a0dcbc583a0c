"""Another MySQL or MariaDB server's settings: what of them can hold here, and why the rest not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearse.provision.mysql_names import OTHER, why_left
from rehearse.provision.mysql_settings import canonical
from rehearse.provision.settings import MAX_CONNECTIONS
from rehearse.provision.takeover import Pairs, Takeover

_UNKNOWN = "this version does not know them"
_CONNECTIONS = f"a rehearsal needs {MAX_CONNECTIONS} connections"

# The largest share of the memory here that a setting may have.
_SHARES = {
    "innodb_buffer_pool_size": 0.5,
    "key_buffer_size": 1 / 16,
    "aria_pagecache_buffer_size": 1 / 16,
    "query_cache_size": 1 / 16,
    "innodb_log_buffer_size": 1 / 16,
    "innodb_ddl_buffer_size": 1 / 16,
    "temptable_max_ram": 1 / 16,
    "temptable_max_mmap": 1 / 16,
    "innodb_sort_buffer_size": 1 / 64,
    "sort_buffer_size": 1 / 64,  # as every client has
    "join_buffer_size": 1 / 64,
    "read_buffer_size": 1 / 64,
    "read_rnd_buffer_size": 1 / 64,
    "tmp_table_size": 1 / 64,
    "max_heap_table_size": 1 / 64,
    "bulk_insert_buffer_size": 1 / 64,
    "myisam_sort_buffer_size": 1 / 64,
}
# The disk that a log may take before anything is loaded.
_MOST_LOG = {"innodb_redo_log_capacity": 4 * 1024**3, "innodb_log_file_size": 4 * 1024**3}

# Variables that are called otherwise among a server's flags.
_OPTIONS = {"time_zone": "default_time_zone", "tx_isolation": "transaction_isolation"}

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5, "e": 1024**6}
_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?) *([kmgtpe]?)b?", re.IGNORECASE)
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
_MB = 1024**2


@dataclass(frozen=True, slots=True)
class Here:
    """The server as it is without those settings: every variable that it knows, and its memory."""

    known: Mapping[str, str]
    memory_bytes: int


def take_over(settings: Pairs, here: Here, *, own: Iterable[str] = ()) -> Takeover:
    """What of another server's `settings` can hold here. Those in `own` the user has set for this one."""
    taken: dict[str, str] = {}
    left: dict[str, str] = {}
    same = 0
    decided = {canonical(name) for name in own}
    for name, value in ((canonical(name), value) for name, value in settings):
        if name in decided:
            continue
        present = here.known.get(name)
        if present is not None and _alike(value, present):
            same += 1
            continue
        reason = why_left(name)
        if present is None and reason in ("", OTHER):
            reason = _UNKNOWN
        if reason:
            left[name] = reason
            continue
        fitted, lost = _fitted(name, value, here)
        if fitted:
            taken[name] = fitted
        if lost:
            left[name] = lost
    return Takeover(taken, left, same)


def in_force(takeover: Takeover, known: Mapping[str, str]) -> Takeover:
    """What of it a server that was started with it has, by its variables."""
    otherwise = {
        name: f"the server made it {known.get(name, '')!r}"
        for name, value in takeover.taken.items()
        if not _alike(value, known.get(name, ""))
    }
    taken = {name: value for name, value in takeover.taken.items() if name not in otherwise}
    return Takeover(taken, takeover.left | otherwise, takeover.same)


def option(name: str) -> str:
    """By what name a variable is set when a server is started."""
    return _OPTIONS.get(name, name)


def _fitted(name: str, value: str, here: Here) -> tuple[str, str]:
    """The value to set here, and what was lost on the way (either may be empty)."""
    size = _amount(value)
    if name == "max_connections" and size is not None and size < MAX_CONNECTIONS:
        return "", _CONNECTIONS
    if name in _MOST_LOG and size is not None and size > _MOST_LOG[name]:
        most = f"{_MOST_LOG[name] // _MB}M"
        return most, f"more of the disk than a rehearsal takes for a log; set to {most}"
    share = _SHARES.get(name)
    if size is None or share is None or size <= here.memory_bytes * share:
        return value, ""
    what = f"more than {share:.1%} of the {here.memory_bytes // _MB} MB of memory here"
    if name == "innodb_buffer_pool_size":  # what we chose leaves room for the client
        present = (_amount(here.known.get(name, "")) or 0) // _MB
        return "", f"{what}; it stays {present:.0f}M"
    fits = max(int(here.memory_bytes * share) // _MB, 1) * _MB
    return str(fits), f"{what}; set to {fits // _MB}M"


def _alike(value: str, present: str) -> bool:
    here, there = present.strip().lower(), value.strip().lower()
    if here == there or (here in _ON and there in _ON) or (here in _OFF and there in _OFF):
        return True
    if "," in here and sorted(here.split(",")) == sorted(there.split(",")):
        return True
    mine, theirs = _amount(here), _amount(there)
    return mine is not None and mine == theirs


def _amount(value: str) -> float | None:
    """A number, in bytes where it has a suffix; None if it is none."""
    match = _QUANTITY.fullmatch(value.strip())
    return None if match is None else float(match[1]) * _UNITS[match[2].lower()]
