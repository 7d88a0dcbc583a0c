"""Which engines can be rehearsed on, and which can only be provided."""

from __future__ import annotations

from rehearse.errors import InputError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName
from rehearse.provision.table import engine_of


def require_rehearsable(spec: DatabaseSpec) -> None:
    """InputError, before anything is started, for an engine that cannot be measured yet."""
    named = engine_of(spec.provision)
    engine = named if spec.engine is EngineName.POSTGRES else spec.engine
    if engine is not EngineName.POSTGRES:
        raise InputError(
            f"a migration cannot be rehearsed on {engine.value} yet, only on postgres",
            f"`rehearse up --provision ...` provides a server of {engine.value} to try things on by hand",
        )
