"""What a container may use, as its engine is told and as the record says it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.model.scenario import ContainerSpec

_SHARED_MEMORY_BYTES = 1024**3  # parallel queries and index builds need more than the usual 64 MB
_MB = 1024**2


def resources(spec: ContainerSpec) -> dict[str, int]:
    """Keywords for docker-py's `containers.run`."""
    words = {"shm_size": _shared_memory(spec)}
    if spec.cpus:
        words["nano_cpus"] = int(spec.cpus * 1e9)
    if spec.memory_bytes:
        words |= {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes}
    return words


def memory_mounts(spec: ContainerSpec, volumes: Iterable[str]) -> dict[str, str]:
    """Where files are kept in memory, with mount options; `volumes` are where the image keeps its data."""
    return dict.fromkeys(volumes, "rw,mode=1777") if spec.tmpfs else {}


def as_recorded(spec: ContainerSpec) -> tuple[tuple[str, str], ...]:
    """The limits by name, for the record and for comparing one environment with another."""
    return (
        ("cpus", f"{spec.cpus:g}" if spec.cpus else "all"),
        ("memory", f"{spec.memory_bytes // _MB}MB" if spec.memory_bytes else "all"),
        ("shm_size", f"{_shared_memory(spec) // _MB}MB"),
        ("storage", "tmpfs" if spec.tmpfs else "volume"),
    )


def described(spec: ContainerSpec) -> tuple[str, ...]:
    """The same as notes for people."""
    cpus = f"{spec.cpus:g} CPUs" if spec.cpus else "no CPU limit"
    memory = f"{spec.memory_bytes // _MB} MB memory" if spec.memory_bytes else "no memory limit"
    limits = f"container: {cpus}, {memory}, {_shared_memory(spec) // _MB} MB shared memory"
    return (limits, "its files are in memory, which no production's are") if spec.tmpfs else (limits,)


def _shared_memory(spec: ContainerSpec) -> int:
    return _SHARED_MEMORY_BYTES if spec.shm_size_bytes is None else spec.shm_size_bytes
