"""What a container may use, taken from the settings that start with `container.`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearse.errors import InputError

_PREFIX = "container."
_SHARED_MEMORY_BYTES = 1024**3  # parallel queries and index builds need more than the usual 64 MB
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmgt]?)i?b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one container; None: none but the engine's own."""

    cpus: float | None = None
    memory_bytes: int | None = None
    shared_memory_bytes: int = _SHARED_MEMORY_BYTES

    def describe(self) -> str:
        """The same for the record."""
        cpus = f"{self.cpus:g} CPUs" if self.cpus else "no CPU limit"
        memory = f"{self.memory_bytes >> 20} MB memory" if self.memory_bytes else "no memory limit"
        return f"container: {cpus}, {memory}, {self.shared_memory_bytes >> 20} MB shared memory"


def take_limits(
    settings: tuple[tuple[str, str], ...],
) -> tuple[Limits, tuple[tuple[str, str], ...]]:
    """Limits, and the settings that are the server's own. InputError for an unknown or unreadable one.

    `container.cpus = "1.5"`, `container.memory = "2GB"`, `container.shm = "512MB"`.
    """
    words = {name.removeprefix(_PREFIX): value for name, value in settings if name.startswith(_PREFIX)}
    unknown = words.keys() - {"cpus", "memory", "shm"}
    if unknown:
        raise InputError(
            f"no such limit: {_PREFIX}{min(unknown)}", "there are container.cpus, .memory and .shm"
        )
    limits = Limits(
        cpus=_number("cpus", words["cpus"]) if "cpus" in words else None,
        memory_bytes=_size("memory", words["memory"]) if "memory" in words else None,
        shared_memory_bytes=_size("shm", words["shm"]) if "shm" in words else _SHARED_MEMORY_BYTES,
    )
    return limits, tuple((name, value) for name, value in settings if not name.startswith(_PREFIX))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 4096:
        raise InputError(f"{_PREFIX}{name}: not a number of processors: {text!r}", 'for instance "1.5"')
    return value


def _size(name: str, text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{_PREFIX}{name}: not a size: {text!r}", 'for instance "2GB"')
    return int(float(match[1]) * _UNITS[match[2].lower()])
