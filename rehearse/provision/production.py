"""Production's settings brought to a server of ours: asked of that server what of them it takes."""

from __future__ import annotations

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.server_facts import has_library, known_settings, refusals
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision.takeover import Here, Takeover, take_over

NOTHING = Takeover({}, {})


def examine(target: Target, spec: DatabaseSpec, memory_bytes: int) -> Takeover:
    """What of `spec.production` the server of `target`, which runs without it, can take over."""
    if spec.production is None:
        return NOTHING
    with connect(target, "rehearse") as connection:
        here = Here(known_settings(connection), memory_bytes, lambda name: has_library(connection, name))
        takeover = take_over(spec.production.values, here, own=[name for name, _ in spec.settings])
        return takeover.without(refusals(connection, takeover.taken))


def notes(takeover: Takeover, spec: DatabaseSpec) -> tuple[str, ...]:
    """What became of `spec.production`, for the record."""
    return () if spec.production is None else takeover.notes(spec.production.file)


def mend(spec: DatabaseSpec) -> str:
    """Where to look if the server does not start with its settings."""
    file = f", or in {spec.production.file}" if spec.production is not None else ""
    return f"mend it in [database.settings]{file}"
