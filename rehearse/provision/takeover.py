"""Another server's settings, production's for instance: what of them can hold here, and why the rest not.

Pure. The aim is a server that plans, logs and waits as production does, on a machine that is smaller and
has none of its files, its replicas and its certificates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rehearse.engines.postgres.server_facts import KnownSetting
from rehearse.provision.settings import MAX_CONNECTIONS

_UNKNOWN = "this version does not know them"
_EXTENSION = "they belong to extensions that are not loaded here"
_INTERNAL = "they are built into the server"
_FILES = "they name files or addresses that are not here"
_ARCHIVE = "there is nothing here to archive to, to replicate to or to recover from"
_LIBRARIES = "those libraries are not installed here"
_HARDWARE = "they need a kernel or hardware that may not be here"
_LOG = "the log is read by the rehearsal, and must hold no rows"
_SESSION = "they would end or hinder the rehearsal's own sessions; set them in the migration or for a role"
_SAFETY = "they are for repairs and tests"
_REPEATABLE = "a checkpoint or a vacuum would fall into one run and not into the next; --setting has them"
_CONNECTIONS = f"a rehearsal needs {MAX_CONNECTIONS} connections"

# By what is hindered if one is taken over as it is; the first that matches is the reason.
_BY_NAME: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(" | ".join(patterns), re.VERBOSE), reason)
    for reason, *patterns in (
        ("other files are not read; give one file with everything", r"include(_dir|_if_exists)?"),
        (
            _ARCHIVE,
            r"archive_.* | restore_command | hot_standby.* | synchron.*_standby.* | primary_.*",
            r"recovery_.* | sync_replication_slots",
        ),
        (
            _FILES,
            r"listen_addresses | port | unix_socket_.* | bonjour.* | krb_.* | gss_.*",
            r".*_command | .*_library | dynamic_library_path | extension_control_path",
            r"default_tablespace | temp_tablespaces | stats_temp_directory | timezone_abbreviations",
        ),
        (
            _HARDWARE,
            r"huge_page.* | shared_memory_type | dynamic_shared_memory_type | io_method | max_stack_depth",
        ),
        (_LIBRARIES, r"jit_provider | local_preload_libraries | session_preload_libraries"),
        (
            _SESSION,
            r"(statement | lock | transaction | idle_session | idle_in_transaction_session)_timeout",
            r"default_transaction_read_only | session_replication_role | event_triggers | row_security",
            r"allow_alter_system | client_connection_check_interval | restrict_nonsystem_relation_kind",
        ),
        (_REPEATABLE, r"autovacuum | max_wal_size | min_wal_size | checkpoint_timeout"),
        (_LOG, r"lc_messages"),
    )
)

_BY_CATEGORY: tuple[tuple[str, str], ...] = (
    ("File Locations", _FILES),
    ("Connections and Authentication / SSL", _FILES),
    ("Connections and Authentication / Authentication", _FILES),
    ("Write-Ahead Log / Archiv", _ARCHIVE),
    ("Write-Ahead Log / Recovery", _ARCHIVE),
    ("Replication / Standby", _ARCHIVE),
    ("Reporting and Logging", _LOG),
    ("Developer Options", _SAFETY),
    ("Error Handling", _SAFETY),
    ("Customized Options", _EXTENSION),
)

# What a session says of itself, in every export; it is no setting of the server.
_OF_A_SESSION = re.compile(
    r"application_name|client_encoding|client_min_messages|role|seed|session_authorization|is_superuser"
    r"|transaction_(isolation|read_only|deferrable)|in_hot_standby|cluster_name|.*_status|lc_(collate|ctype)|update_process_title"
)

# The largest share of the memory here that a setting may have; the planner's idea of a cache is no memory.
_SHARES = {
    "shared_buffers": 0.4,
    "maintenance_work_mem": 1 / 16,  # several index builds at once have it each
    "autovacuum_work_mem": 1 / 16,
    "work_mem": 1 / 64,  # as every client has
    "temp_buffers": 1 / 64,
    "wal_buffers": 1 / 64,
    "logical_decoding_work_mem": 1 / 16,
    "min_dynamic_shared_memory": 1 / 16,
}

_UNITS = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}
_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_QUANTITY = re.compile(r"(-?(?:\d+\.?\d*|\.\d+)) *([a-zA-Z]*)")
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
_MB = 1024**2

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Takeover:
    """`taken` are settings for this server; `same` were so already; `left` maps names to the reason."""

    taken: dict[str, str]
    left: dict[str, str]
    same: int = 0

    def without(self, refused: Mapping[str, str]) -> Takeover:
        """The same where the server itself refused some."""
        taken = {name: value for name, value in self.taken.items() if name not in refused}
        reasons = {name: f"the server refuses: {reason}" for name, reason in refused.items()}
        return Takeover(taken, self.left | reasons, self.same)

    def notes(self, file: str) -> tuple[str, ...]:
        """What a reader of the report has to know, one line a reason; never a value from the file."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left.items():
            by_reason.setdefault(reason, []).append(name)
        counted = f"{len(self.taken)} settings taken over from {file}"
        if self.same:
            counted += f", {self.same} were the same here"
        return (
            counted,
            *(f"not from {file}: {', '.join(names)}: {why}" for why, names in by_reason.items()),
        )


@dataclass(frozen=True, slots=True)
class Here:
    """The server as it is without those settings: what it knows, its memory, and which libraries it has."""

    known: Mapping[str, KnownSetting]
    memory_bytes: int
    has_library: Callable[[str], bool]


def take_over(settings: Pairs, here: Here, *, own: Iterable[str] = ()) -> Takeover:
    """What of another server's `settings` can hold here. Those in `own` the user has set for this one."""
    taken: dict[str, str] = {}
    left: dict[str, str] = {}
    same = 0
    decided = {name.lower() for name in own}
    for name, value in settings:
        known = here.known.get(name)
        if name in decided or _OF_A_SESSION.fullmatch(name):
            continue
        if known is not None and _alike(value, known):
            same += 1
            continue
        reason = _reason(name, known)
        if reason:
            left[name] = reason
            continue
        assert known is not None
        here_value, reason = _fitted(name, value, known, here)
        if here_value:
            taken[name] = here_value
        if reason:
            left[name] = reason
    return Takeover(taken, left, same)


def _reason(name: str, known: KnownSetting | None) -> str:
    """Why it cannot be taken over whatever its value is; empty if it can."""
    for pattern, reason in _BY_NAME:
        if pattern.fullmatch(name):
            return reason
    if known is None:
        return _EXTENSION if "." in name else _UNKNOWN
    if known.internal:
        return _INTERNAL
    return next((reason for category, reason in _BY_CATEGORY if known.category.startswith(category)), "")


def _fitted(name: str, value: str, known: KnownSetting, here: Here) -> tuple[str, str]:
    """The value to set here, and what was lost on the way (either may be empty)."""
    if name == "shared_preload_libraries":
        return _libraries(value, known, here)
    if name == "max_connections" and value.isdecimal() and int(value) < MAX_CONNECTIONS:
        return "", _CONNECTIONS
    share = _SHARES.get(name)
    size = _amount(value, known.unit)
    if share is None or size is None or size <= here.memory_bytes * share:
        return value, ""
    present = _amount(known.value, known.unit) or 0.0
    fits = max(int(here.memory_bytes * share) // _MB, 1)
    what = f"more than {share:.1%} of the {here.memory_bytes // _MB} MB of memory here"
    if name == "shared_buffers":  # what we chose leaves room for the client
        return "", f"{what}; it stays {int(present) // _MB}MB"
    return f"{fits}MB", f"{what}; set to {fits}MB"


def _libraries(value: str, known: KnownSetting, here: Here) -> tuple[str, str]:
    wanted = [word.strip().strip('"') for word in value.split(",") if word.strip()]
    present = [word for word in known.value.split(",") if word]
    found = [word for word in wanted if here.has_library(word)]
    missing = [word for word in wanted if word not in found]
    chosen = ",".join(dict.fromkeys([*found, *present]))
    return (
        chosen if chosen != known.value else "",
        f"{_LIBRARIES}: {', '.join(missing)}" if missing else "",
    )


def _alike(value: str, known: KnownSetting) -> bool:
    if value == known.value:
        return True
    if known.text:
        return value.strip().lower() == known.value.strip().lower()
    here, there = known.value.lower(), value.strip().lower()
    if (here in _ON and there in _ON and here != "1") or (here in _OFF and there in _OFF and here != "0"):
        return True
    mine, theirs = _amount(known.value, known.unit), _amount(value, known.unit)
    return here == there or (mine is not None and mine == theirs)


def _amount(value: str, unit: str) -> float | None:
    """Bytes or milliseconds, or the bare number where it has no unit; None if it is no number."""
    match = _QUANTITY.fullmatch(value.strip())
    if match is None:
        return None
    number = float(match[1])
    if number < 0:
        return number
    factor = _factor(match[2] or unit)
    return None if factor is None else number * factor


def _factor(unit: str) -> float | None:
    if not unit:
        return 1.0
    match = re.fullmatch(r"(\d*)([a-zA-Z]+)", unit)
    if match is None:
        return None
    word = match[2].lower()
    factor = _UNITS.get(word) or _TIMES.get(word)
    return None if factor is None else int(match[1] or 1) * factor
