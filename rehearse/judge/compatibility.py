"""What the table of application by schema says, apart from what the traffic has shown already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehearse.judge.facts import Facts
from rehearse.model.compatibility import Misfitting, SchemaVersion
from rehearse.model.record import TrialKind
from rehearse.model.workload import Version

# Locks, time-outs, deadlocks and the server's own troubles say nothing of an application and a schema.
_CLASSES = ("0A", "22", "23", "38", "39", "42", "44", "P0")


@dataclass(frozen=True, slots=True)
class Clash:
    """Statements of one script that a schema refuses with one SQLSTATE, and that the other schema takes."""

    script: str
    sqlstate: str
    refused: tuple[Misfitting, ...]


def clashes(facts: Facts, application: Version, schema: SchemaVersion) -> Iterator[Clash]:
    """Those of one cell, but for what failed under traffic in the same way and has been said."""
    trial = facts.record.trial(TrialKind.COMPATIBILITY)
    found = trial.compatibility if trial else None
    cell = found.cell(application, schema) if found else None
    seen = {(refusal.script, refusal.kind) for refusal in facts.refusals if refusal.excess > 0}
    grouped: dict[tuple[str, str], list[Misfitting]] = defaultdict(list)
    for each in cell.refused if cell else ():
        key = (each.script, each.sqlstate)
        if each.sqlstate.startswith(_CLASSES) and not each.elsewhere:
            if schema is SchemaVersion.NEW and key in seen:
                continue
            grouped[key].append(each)
    return (Clash(script, state, tuple(refused)) for (script, state), refused in grouped.items())


def texts(facts: Facts, script: str, refused: Sequence[Misfitting]) -> Iterator[str]:
    """The statements that are refused, as they are sent."""
    found = next((s for s in facts.record.scripts if s.name == script), None)
    for each in refused:
        if found is not None and 0 <= each.index < len(found.statements):
            yield found.statements[each.index]
