"""Whether runs were made in like environments, so that their durations can be set side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rehearse.model.record import Environment, RunRecord
from rehearse.report.format import size

_NOT_SET = "default"
# Sized from the memory, which is named itself.
_DERIVED = ("shared_buffers", "effective_cache_size", "maintenance_work_mem")
_MEMORY_STEP = 64 * 1024**2  # what one machine says of itself differs by less from boot to boot


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which environments differ: its value for each run, in their order."""

    what: str
    values: tuple[str, ...]

    def sentence(self, names: Sequence[str]) -> str:
        """For people: `cpus: 1 (small), 2 (large)`."""
        return f"{self.what}: " + ", ".join(
            f"{value} ({name})" for value, name in zip(self.values, names, strict=True)
        )


def differences(records: Sequence[RunRecord]) -> tuple[Difference, ...]:
    """What differs between the environments of `records`; nothing means that they are like."""
    environments = [record.environment for record in records]
    known = [environment for environment in environments if environment is not None]
    if len(known) < len(environments):
        values = tuple("unknown" if environment is None else "known" for environment in environments)
        return (Difference("environment", values),)
    found = _differing([_facts(environment) for environment in known])
    memory = any(difference.what == "memory" for difference in found)
    settings = _differing([_settings(environment, derived=not memory) for environment in known])
    return (*found, *settings)


def _facts(environment: Environment) -> dict[str, str]:
    limits = {f"container {name}": value for name, value in environment.limits}
    limits.pop("container cpus", None)
    limits.pop("container memory", None)
    processors = dict(environment.limits).get("cpus", "all")
    return {
        "provisioner": environment.provisioner,
        "server version": environment.server_version,
        "cpus": str(environment.cpus) if processors == "all" else processors,
        "memory": size(_MEMORY_STEP * round(environment.memory_bytes / _MEMORY_STEP)),
        "platform": environment.platform,
        **limits,
    }


def _settings(environment: Environment, *, derived: bool) -> dict[str, str]:
    return {
        f"setting {name}": value for name, value in environment.settings if derived or name not in _DERIVED
    }


def _differing(facts: Sequence[Mapping[str, str]]) -> tuple[Difference, ...]:
    names = dict.fromkeys(name for each in facts for name in each)
    found = (Difference(name, tuple(each.get(name, _NOT_SET) for each in facts)) for name in names)
    return tuple(difference for difference in found if len(set(difference.values)) > 1)
