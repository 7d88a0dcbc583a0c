"""Whether values that somebody chose agree with what constrains their column, before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rehearse.dataset.expressions import NotUnderstoodError, parse
from rehearse.dataset.facts import NOW, Facts, Says, alternatives, number
from rehearse.dataset.kinds import TEXTS, flattened
from rehearse.dataset.lattices import LATTICES, exact_raw
from rehearse.dataset.partitions import partition_facts
from rehearse.dataset.patterns import PatternError, from_regex
from rehearse.model.relation import quote_name
from rehearse.model.schema import Column, DataType, Schema, Table, TypeKind


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint by its name: a value has to agree with one of `ways`."""

    name: str
    ways: tuple[Facts, ...]

    def allows(self, text: str, type_: DataType) -> bool:
        """Whether the value that `text` spells is allowed, as far as that can be told here."""
        return any(_agrees(facts, text, type_) for facts in self.ways)


def rules_for(schema: Schema, table: Table, column: Column) -> list[Rule]:
    """Everything understood that constrains one column's values: its type, domains, checks, partitions."""
    return [
        *_of_type(column.type),
        *(rule for check in table.checks if (rule := _of_check(check.name, check.expression, column.name))),
        *_of_partitions(schema, table, column.name),
    ]


def _of_type(type_: DataType) -> Iterator[Rule]:
    while type_.kind is TypeKind.DOMAIN and type_.element is not None:
        for check in type_.checks:
            rule = _of_check(f"the domain {type_.sql}", check, "value")
            if rule is not None:
                yield rule
        type_ = type_.element
    if type_.kind is TypeKind.ENUM:
        yield Rule(f"the enum {type_.sql}", (Facts(one_of=type_.labels),))
    elif type_.name in TEXTS and type_.length is not None:
        yield Rule(f"its type {type_.sql}", (Facts(max_length=type_.length),))


def _of_check(name: str, expression: str, column: str) -> Rule | None:
    """The check as far as it speaks of the column; None where it is not understood."""
    try:
        found = alternatives(parse(expression))
    except NotUnderstoodError:
        return None
    ways = []
    for alternative in found:
        facts = Facts()
        for atom in alternative:
            if isinstance(atom, Says) and atom.column == column:
                facts = facts.also(atom.facts)
        ways.append(facts)
    return Rule(quote_name(name) if not name.startswith("the ") else name, tuple(ways))


def _of_partitions(schema: Schema, table: Table, column: str) -> Iterator[Rule]:
    if table.partition_key is None:
        return
    found = partition_facts(schema, table)
    if column in found.columns and not found.open_ended:
        yield Rule("the bounds of its partitions", (found.columns[column],))


def _agrees(facts: Facts, text: str, type_: DataType) -> bool:
    folded = text.lower() if facts.fold == "lower" else text.upper() if facts.fold else text
    # `x = lower(x)` asks for the case itself; `lower(x) = 'a'` does not
    case_free = facts.one_of is not None or facts.none_of or facts.regexes or facts.likes or facts.min_length
    fits = len(text) >= facts.min_length and (facts.max_length is None or len(text) <= facts.max_length)
    return (
        not facts.null
        and fits
        and (facts.one_of is None or _among(folded, facts.one_of, type_))
        and not _among(folded, facts.none_of, type_)
        and (folded == text or bool(case_free))
        and all(_matches(pattern, text) for pattern in facts.regexes)
        and _within(facts, text, type_)
    )


def _among(text: str, items: Iterable[str], type_: DataType) -> bool:
    value = _measure(text, type_)
    return any(text == item or (value is not None and _measure(item, type_) == value) for item in items)


def _matches(pattern: str, text: str) -> bool:
    """In either case: which one counts is for the server to tell, and so is what is not understood."""
    try:
        from_regex(pattern)  # of what it knows, both dialects mean the same
        return "[[:" in pattern or re.search(pattern, text, re.IGNORECASE) is not None
    except (PatternError, re.error):
        return True


def _within(facts: Facts, text: str, type_: DataType) -> bool:
    value = _measure(text, type_)
    if value is None:
        return True
    for bound in facts.bounds:
        limit = _measure(bound.text, type_) if bound.text != NOW else None
        if limit is None:
            continue
        holds = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}
        if not holds[bound.operator]:
            return False
    if not facts.intervals:
        return True
    pieces = [
        tuple(None if end is None else _measure(end, type_) for end in piece) for piece in facts.intervals
    ]
    return any((low is None or value >= low) and (high is None or value < high) for low, high in pieces)


def _measure(text: str, type_: DataType) -> float | None:
    """What a text of a number or moment comes to, in units that can be compared."""
    base, _ = flattened(type_)
    if base.name not in LATTICES:
        return None
    form = LATTICES[base.name].form
    value = number(text) if form in {"integer", "decimal"} else exact_raw(text, form, 0)
    return None if value is None else float(value)
