"""Settings of a MySQL or MariaDB server for a rehearsal: production's habits, sized to this machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rehearse.model.target import EngineName
from rehearse.provision.settings import MAX_CONNECTIONS

_MB = 1024**2
_GB = 1024**3

EVENTS_NOTE = "the event scheduler is off, so that the same input gives the same verdict"

# A version that does not know one of these starts all the same, as `loose_` says.
_LOOSE = {
    # flushes that a full log forces would fall into one run's migration and not into the next one's
    EngineName.MYSQL: {"innodb_redo_log_capacity": "1G", "mysqlx": "OFF"},
    EngineName.MARIADB: {"innodb_log_file_size": "512M"},
}


def settings_for(
    engine: EngineName, memory_bytes: int, overrides: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Settings by name for a machine with that much memory; `overrides`, the user's own, come last.

    Durability (innodb_flush_log_at_trx_commit, sync_binlog, innodb_doublewrite) and the binary log are left
    as shipped.
    """
    buffers = max(128 * _MB, min(memory_bytes // 4, 2 * _GB))
    own = {canonical(name): value for name, value in overrides}
    settings = {
        "innodb_buffer_pool_size": f"{buffers // _MB}M",
        "max_connections": str(MAX_CONNECTIONS),
        # what an earlier server had in memory is no part of the input
        "innodb_buffer_pool_dump_at_shutdown": "OFF",
        "innodb_buffer_pool_load_at_startup": "OFF",
        "event_scheduler": "OFF",
        "default_time_zone": "+00:00",
        "skip_name_resolve": "ON",
    }
    loose = {f"loose_{name}": value for name, value in _LOOSE[engine].items() if name not in own}
    return settings | loose | own


def notes_for(settings: Mapping[str, str]) -> tuple[str, ...]:
    """What a reader of the report has to know about these settings."""
    off = settings.get("event_scheduler", "OFF").upper() in ("OFF", "0", "DISABLED")
    return (EVENTS_NOTE,) if off else ()


def arguments(settings: Mapping[str, str]) -> list[str]:
    """The same as flags of the server."""
    return [f"--{name}={value}" for name, value in settings.items()]


def canonical(name: str) -> str:
    """A setting's one spelling: option files and flags take dashes, capitals and `loose_` as well."""
    return name.strip().lower().replace("-", "_").removeprefix("loose_")
