"""`rehearse clean`: what dead runs left on this machine, removed."""

from __future__ import annotations

from rehearse.errors import ProvisionError
from rehearse.provision.engine import engine_client, sweep_containers
from rehearse.provision.machine import bases
from rehearse.provision.sweep import sweep_directories


def clean() -> tuple[str, ...]:
    """Remove directories, servers and containers whose run is dead; what was removed, a line each.

    What a living run uses is left alone, and so is everything of other users.
    """
    removed = [line for base in bases() for line in sweep_directories(base)]
    try:
        with engine_client() as client:
            removed += sweep_containers(client)
    except ProvisionError:  # no engine, no containers
        pass
    return tuple(removed)
