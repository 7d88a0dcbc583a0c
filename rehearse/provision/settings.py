"""Server settings for a rehearsal: production's habits, sized to this machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MB = 1024**2
_GB = 1024**3

MAX_CONNECTIONS = 200

AUTOVACUUM_NOTE = (
    "autovacuum is off, so that the same input gives the same verdict; invite it with an adversary"
)


def settings_for(
    memory_bytes: int, *, preload: Iterable[str] = (), overrides: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Settings by name for a machine with that much memory; `overrides`, the user's own, come last.

    Durability (fsync, full_page_writes, synchronous_commit, wal_level) is left as shipped.
    """
    buffers = _between(64 * _MB, memory_bytes // 4, 2 * _GB)
    settings = {
        "shared_buffers": _megabytes(buffers),
        "effective_cache_size": _megabytes(max(memory_bytes * 3 // 5, buffers)),
        "maintenance_work_mem": _megabytes(_between(64 * _MB, memory_bytes // 16, 512 * _MB)),
        "max_connections": str(MAX_CONNECTIONS),
        # a checkpoint forced by volume would fall into one run's migration and not into the next one's
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "track_io_timing": "on",
        "autovacuum": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # the log is for reasons a server died, not for anyone's rows
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
    modules = ",".join(preload)
    if modules:
        settings["shared_preload_libraries"] = modules
    return settings | dict(overrides)


def notes_for(settings: Mapping[str, str]) -> tuple[str, ...]:
    """What a reader of the report has to know about these settings."""
    off = settings.get("autovacuum", "on").lower() in ("off", "false", "no", "0")
    return (AUTOVACUUM_NOTE,) if off else ()


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes // _MB}MB"
