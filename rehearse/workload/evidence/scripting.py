"""Groups of transactions as scripts in pgbench's language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rehearse.errors import SqlFileError
from rehearse.model.schema import Schema
from rehearse.model.workload import ScriptSource
from rehearse.workload.evidence.check import Checker
from rehearse.workload.evidence.mix import Group, Step
from rehearse.workload.evidence.places import places_of
from rehearse.workload.evidence.sources import Place, Source, fresh_tables, places, source_of
from rehearse.workload.evidence.values import Kind
from rehearse.workload.infer_names import comment, plain_word
from rehearse.workload.script import parse_script

_LONG = 100
_CLAUSE = re.compile(
    r" (?=(?:FROM|WHERE|SET|VALUES|GROUP BY|ORDER BY|LIMIT|RETURNING|(?:LEFT |INNER )?JOIN)\b)"
)
_RESERVED = frozenset({"scale", "client_id", "random_seed", "default_seed"})
_INT4 = 2**31
_WORTH_NOTING_S = 0.001


@dataclass(frozen=True, slots=True)
class Draft:
    """A script and how often its transaction was seen; `starts_ns`: when each began, where that is known."""

    name: str
    text: str
    count: int
    statements: int
    starts_ns: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """A group that no script can be made of."""

    name: str
    count: int
    reason: str


def script_of(group: Group, origin: str, schema: Schema | None, checker: Checker | None) -> Draft | Unusable:
    """A script for `group`; `origin` is its first comment. With a checker, one that the schema allows."""
    types = [checker.types(step.shape.typed_text) for step in group.steps] if checker else []
    found = places(group, schema, types)
    new = list(fresh_tables(group, found))
    kept, notes = _one_insert_each(group, new)
    fresh = frozenset(str(table.relation) for _, table in new)
    if any(_has_several_rows(step) for step, _ in new):
        reason = "it inserts several new rows at once, and fresh() draws one a transaction"
        return Unusable(_name(kept), group.count, reason)
    body = _Body(group, kept, found, fresh)
    lines = [
        comment(origin),
        *map(comment, (*notes, *body.notes, *_pauses(group))),
        *body.sets,
        *body.statements,
    ]
    name = _name(kept)
    text = "".join(lines)
    reason = _reason(name, text, checker)
    if reason:
        return Unusable(name, group.count, reason)
    statements = sum(step.control is None for step in kept)
    return Draft(name, text, group.count, statements, group.starts_ns)


def _reason(name: str, text: str, checker: Checker | None) -> str:
    """Why the script cannot be used; empty if it can."""
    try:
        script = parse_script(ScriptSource(name, text))
    except SqlFileError as error:
        return f"no script can say it: {error.what.partition(': ')[2]}"
    if checker is None:
        return ""
    for statement in script.sql:
        if statement.control is None and (refusal := checker.refusal(statement.text)):
            return f"the schema does not allow it: {refusal}"
    return ""


def _one_insert_each(group: Group, new: Sequence[tuple[Step, object]]) -> tuple[list[Step], list[str]]:
    """Without all INSERTs of new rows into one table but the first: a transaction draws one row of each."""
    taken: set[object] = set()
    dropped: list[Step] = []
    for step, table in new:
        if table in taken:
            dropped.append(step)
        taken.add(table)
    kept = [step for step in group.steps if not any(step is one for one in dropped)]
    if not dropped:
        return kept, []
    return kept, [f"Left out: {len(dropped)} more INSERTs of new rows; fresh() draws one a transaction."]


def _has_several_rows(step: Step) -> bool:
    columns = [one.column for one in places_of(step.shape).columns if one is not None and one.inserted]
    return len(columns) > len(set(columns))


def _pauses(group: Group) -> list[str]:
    seconds = group.think_ns / max(group.count, 1) / 1e9
    if seconds < _WORTH_NOTING_S:
        return []
    return [
        f"The client paused {seconds * 1e3:.1f} ms in it on average, locks held: add \\sleep to do the like."
    ]


class _Body:
    """The lines of a script: what is set, and what is sent."""

    def __init__(
        self, group: Group, kept: Sequence[Step], found: Sequence[Place], fresh: frozenset[str]
    ) -> None:
        self.notes: list[str] = []
        self.sets: list[str] = []
        self._taken: set[str] = set(_RESERVED)
        numbers = {step.first + offset for step in kept for offset in range(len(step.shape.slots))}
        written = self._written(group, [place for place in found if place.number in numbers], fresh)
        self.statements = [_statement(step, written) for step in kept]
        if group.implicit:
            self.statements = ["BEGIN;\n", *self.statements, "COMMIT;\n"]

    def _written(self, group: Group, found: Sequence[Place], fresh: frozenset[str]) -> Mapping[int, str]:
        """What stands in the place of each slot."""
        alike: dict[tuple[int, str], list[Place]] = {}
        for place in found:
            type_sql = place.column.type.name if place.column else ""
            alike.setdefault((group.partition[place.number], ""), []).append(place)
            if (
                type_sql
                and len({p.column.type.name for p in alike[group.partition[place.number], ""] if p.column})
                > 1
            ):
                alike[group.partition[place.number], ""].pop()
                alike.setdefault((group.partition[place.number], type_sql), []).append(place)
        written: dict[int, str] = {}
        for members in alike.values():
            for part in _parts(members):
                self._write(part, source_of(part, fresh), written)
        return written

    def _write(self, members: Sequence[Place], source: Source, written: dict[int, str]) -> None:
        if not source.expression:
            literal = source.literal
            for place in members:
                cast = f"::{place.slot.cast}" if place.slot.cast else ""
                written[place.number] = literal + cast
            if source.note:
                self._note(_label(members[0]), source.note)
            return
        name = self._variable(members)
        self.sets.append(f"\\set {name} {source.expression}\n")
        for place in members:
            written[place.number] = f":{name}{_cast(place, source)}"

    def _note(self, label: str, note: str) -> None:
        text = f"{label}: {note}"
        if text not in self.notes:
            self.notes.append(text)

    def _variable(self, members: Sequence[Place]) -> str:
        named = next((place.reference.column for place in members if place.reference), "value")
        base = name = plain_word(named)
        if name[0].isdigit():
            base = name = f"v{name}"
        number = 2
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name


def _parts(members: Sequence[Place]) -> Iterable[Sequence[Place]]:
    """Slots that are one value. Where it never changed, being equal says nothing unless the columns have one
    name: a page size of 20 is no status of 20.
    """
    if any(place.seen.varied for place in members) or not members[0].seen.count:
        return [members]
    parts: dict[object, list[Place]] = {}
    for place in members:
        name = place.reference.column if place.reference else place.number
        parts.setdefault(name, []).append(place)
    return parts.values()


def _label(place: Place) -> str:
    return place.reference.column if place.reference else f"value {place.number + 1}"


def _cast(place: Place, source: Source) -> str:
    """The type that the server gave a bare number, where the place does not say it."""
    if place.slot.cast:
        return f"::{place.slot.cast}"
    if source.typed or not place.slot.number or place.reference is not None:
        return ""
    if place.seen.kind is not Kind.INTEGER:
        return "::numeric"
    small = max(abs(place.seen.low), abs(place.seen.high)) < _INT4
    return "::integer" if small else "::bigint"


def _statement(step: Step, written: Mapping[int, str]) -> str:
    values = [written[step.first + offset] for offset in range(len(step.shape.slots))]
    text = step.shape.render(values)
    if len(text) > _LONG:
        text = _CLAUSE.sub("\n  ", text)
    return f"{text};\n"


def _name(steps: Sequence[Step]) -> str:
    """`update_accounts_and_4_more`, for its first statement that writes, or else its first."""
    inner = [step for step in steps if step.control is None]
    writing = [step for step in inner if step.command not in {"SELECT", "VALUES", "TABLE"}]
    chosen = (writing or inner)[0]
    tables = places_of(chosen.shape).tables
    name = "_".join([chosen.command.lower(), *(plain_word(table.name) for table in tables[:2])])
    return name if len(inner) == 1 else f"{name}_and_{len(inner) - 1}_more"
