"""What the table of application by schema says, apart from what the traffic has shown already."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.sqltext import NAME, bare, one_line
from rehearse.model.compatibility import NO_ROWS, Misfitting, SchemaVersion
from rehearse.model.migration import Statement
from rehearse.model.record import TrialKind
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import Version

# Locks, time-outs, deadlocks and the server's own troubles say nothing of an application and a schema.
_CLASSES = ("02", "0A", "22", "23", "38", "39", "42", "44", "P0")
_DIVERTS = re.compile(
    r"\b(?:CREATE|ENABLE|FORCE)\b.*?\b(?:RULE|TRIGGER|POLICY|ROW\s+LEVEL\s+SECURITY|VIEW)\b",
    re.IGNORECASE | re.DOTALL,
)
# What comes after the row is written, and a function that nothing but such triggers call, divert no row.
_AFTERWARDS = re.compile(
    rf"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s+{NAME}\s+AFTER\b[^;]*", re.IGNORECASE
)
_CALLS = re.compile(rf"\bEXECUTE\s+(?:FUNCTION|PROCEDURE)\s+({NAME})", re.IGNORECASE)
_TRIGGER_FUNCTION = re.compile(
    rf"\bCREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+({NAME})\s*\(\s*\)\s*RETURNS\s+TRIGGER\b", re.IGNORECASE
)
_DETACHES = re.compile(r"\bDETACH\s+PARTITION\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clash:
    """Statements of one script that a schema refuses with one SQLSTATE, and that the other schema takes; with
    NO_ROWS, which change rows on the old schema alone.
    """

    script: str
    sqlstate: str
    refused: tuple[Misfitting, ...]

    @property
    def vanishes(self) -> bool:
        """Whether nothing is refused: rows are silently not written."""
        return self.sqlstate == NO_ROWS


def clashes(facts: Facts, application: Version, schema: SchemaVersion) -> Iterator[Clash]:
    """Those of one cell, but for what failed under traffic in the same way and has been said."""
    trial = facts.record.trial(TrialKind.COMPATIBILITY)
    found = trial.compatibility if trial else None
    cell = found.cell(application, schema) if found else None
    told = (each for each in facts.refusals if each.excess > 0 and not (each.recovered or each.unseen))
    seen = {(refusal.script, refusal.kind) for refusal in told}
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


def _diverting(facts: Facts) -> list[Statement]:
    """The statements that made something, or switched it on, that can keep a row from being written."""
    made = [(s, one_line(s.text)) for s in facts.statements if facts.committed(s)]
    afterwards = {
        bare(call)
        for _, text in made
        for trigger in _AFTERWARDS.findall(text)
        for call in _CALLS.findall(trigger)
    }
    before = {bare(call) for _, text in made for call in _CALLS.findall(_AFTERWARDS.sub(" ", text))}
    found = []
    for statement, text in made:
        function = _TRIGGER_FUNCTION.search(text)
        if function is not None and bare(function[1]) in afterwards - before:
            continue
        if _DIVERTS.search(_AFTERWARDS.sub(" ", text)):
            found.append(statement)
    return found


def vanished(facts: Facts, clash: Clash, rule: str, whose: str) -> Finding:
    """Statements that change no row any more, and tell nobody.

    A failure where given values are lost, or where the migration made something that diverts writes; else
    rows that are looked for may be gone or changed by right, which nobody but the author can tell. A
    partition that is detached takes its rows along, which is what it is detached for: a warning.
    """
    diverting = _diverting(facts)
    culprit = diverting[-1] if diverting else None
    sure = culprit is not None or any(each.lost for each in clash.refused)
    detached = any(facts.committed(s) and _DETACHES.search(s.text) for s in facts.statements)
    unsure = Severity.WARNING if detached else Severity.UNMEASURED
    return Finding(
        rule=rule,
        severity=Severity.FAILURE if sure else unsure,
        message=(
            f"writes of {whose} {clash.script} vanish on the migrated schema: no error, and no row"
            + (f", since {wording.place(culprit)}" if culprit else "")
            if sure
            else f"{whose} {clash.script} finds no row to change on the migrated schema, with values with "
            "which it finds some on the old one: whether that is meant is not known"
        ),
        statement=culprit.index if culprit else None,
        subject=clash.script,
        observed=Quantity(float(len(clash.refused)), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=(
            *(f"what has no effect: {wording.excerpt(t)}" for t in texts(facts, clash.script, clash.refused)),
            *sorted({f"command tag: {each.message}" for each in clash.refused}),
        ),
        advice=(
            "Take the rule, trigger or policy that swallows the rows out of the migration, or let it raise "
            "an error; where an application must not write any more, deploy one that does not first."
            if sure
            else "Give a [workload] script whose rows the migration leaves alone, or first deploy an "
            "application that can do with finding none."
        ),
    )
