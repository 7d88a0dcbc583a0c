"""A column whose type the migration changes: values that both types can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rehearse.dataset.facts import Bound, Facts
from rehearse.dataset.kinds import TEXTS, flattened
from rehearse.dataset.lattices import INTEGERS, LATTICES
from rehearse.model.schema import DataType, TypeKind

_NUMBERS = INTEGERS | {"numeric", "float4", "float8", "money", "oid"}


@dataclass(frozen=True, slots=True)
class Retyped:
    """The type to make values of, further facts about them, and the precaution in words (may be empty)."""

    type: DataType
    facts: Facts
    words: str


def retyped(before: DataType, after: DataType) -> Retyped:
    """Values for a column that is `before` now and will be `after`."""
    old, old_facts = flattened(before)
    new, new_facts = flattened(after)
    if old.name in TEXTS:
        return _from_text(before, old, old_facts, after, new, new_facts)
    if old.name in _NUMBERS and new.name in _NUMBERS:
        return _numbers(before, old, new, new_facts)
    if old.name in INTEGERS and new.name in TEXTS and new.length is not None:
        facts = Facts(bounds=(Bound("<", str(10**new.length)),))
        return Retyped(before, facts, f"stays short enough for {after.sql}, which the migration makes of it")
    if old.kind is TypeKind.ENUM and new.kind is TypeKind.ENUM:
        common = tuple(label for label in old.labels if label in new.labels)
        words = f"has only labels that {after.sql} has, which the migration makes of it"
        return (
            Retyped(before, Facts(one_of=common), words) if len(common) < len(old.labels) else _same(before)
        )
    if flattened(before)[0] == new and new_facts != old_facts:
        return Retyped(
            before, new_facts, f"satisfies the checks of {after.sql}, which the migration makes of it"
        )
    return _same(before)


def _same(before: DataType) -> Retyped:
    return Retyped(before, Facts(), "")


def _from_text(
    before: DataType, old: DataType, old_facts: Facts, after: DataType, new: DataType, new_facts: Facts
) -> Retyped:
    if new.name not in TEXTS:
        room = Facts(max_length=old.length)
        return Retyped(
            after,
            old_facts.also(new_facts).also(room if new.kind is TypeKind.ENUM else Facts()),
            f"holds text forms of {after.sql} because the migration changes its type to that",
        )
    limit = new.length or (63 if new.name == "name" else None)
    facts = new_facts.also(Facts(max_length=limit))
    if limit is not None and (old.length is None or limit < old.length):
        words = f"is at most {limit} characters long because the migration makes it {after.sql}"
        return Retyped(before, facts, words)
    return Retyped(before, facts, "")


def _numbers(before: DataType, old: DataType, new: DataType, new_facts: Facts) -> Retyped:
    facts, words = new_facts, ""
    if new.name in INTEGERS:
        _, low, high = LATTICES[new.name]
        facts = facts.also(Facts(bounds=(Bound(">=", str(low)), Bound("<=", str(high)))))
        if not _within(old, new):
            words = f"stays within the range of {new.sql}, which the migration makes of it"
    if new.name == "numeric" and new.precision is not None:
        scale = new.scale or 0
        whole = new.precision - scale
        facts = facts.also(Facts(bounds=(Bound("<", str(10**whole)), Bound(">", str(-(10**whole))))))
        words = f"stays within {new.sql}, which the migration makes of it"
        if old.name == "numeric" and (old.scale is None or old.scale > scale) and before == old:
            precision = new.precision if old.precision is None else min(new.precision, old.precision)
            return Retyped(replace(old, precision=precision, scale=scale), facts, words)
    return Retyped(before, facts, words)


def _within(old: DataType, new: DataType) -> bool:
    """Whether every value of the old integer type fits the new one."""
    if old.name not in INTEGERS:
        return False
    (_, low, high), (_, new_low, new_high) = LATTICES[old.name], LATTICES[new.name]
    return new_low <= low and high <= new_high
