"""What must not repeat among the rows of a table: unique keys, and ranges kept apart by EXCLUDE."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

_EXCLUDED = re.compile(
    r"EXCLUDE USING \w+ \((?P<items>.*?)\)(?: WHERE \(.*\))?(?: DEFERRABLE.*)?\Z", re.DOTALL
)
_OVERLAPS = re.compile(r'(?P<column>"(?:[^"]|"")+"|\w+) WITHOUT OVERLAPS\)')
_NAME = r"\w+|\"(?:[^\"]|\"\")+\""
_RANGE_CALL = re.compile(rf"\w*range\((?P<low>{_NAME}), (?P<high>{_NAME})(?:, '[^']*'(?:::text)?)?\)")


@dataclass(frozen=True, slots=True)
class KeyNeed:
    """Columns whose values may not repeat together; `later`: once the migration has run."""

    name: str
    columns: tuple[str, ...]
    predicate: str | None = None
    later: bool = False


@dataclass(frozen=True, slots=True)
class Apart:
    """Ranges from `low` to `high` of different rows may not overlap."""

    low: str
    high: str


def told_apart(columns: Collection[str], keys: Iterable[KeyNeed]) -> bool:
    """Whether one of the keys lies within these columns: then no two rows agree on them anyway."""
    return any(set(key.columns) <= set(columns) for key in keys if key.predicate is None)


def exclusion(definition: str) -> Iterator[KeyNeed | Apart]:
    """What keeps the rows of an EXCLUDE constraint apart; nothing where it is not understood."""
    for match in _OVERLAPS.finditer(definition):
        yield KeyNeed("WITHOUT OVERLAPS", (_bare(match.group("column")),))
    clause = _EXCLUDED.match(definition)
    if clause is None:
        return
    items = [item.rpartition(" WITH ") for item in re.split(r",\s*(?![^()]*\))", clause.group("items"))]
    for left, _, operator in items:
        call = _RANGE_CALL.search(left)
        if operator == "&&" and call:
            yield Apart(_bare(call.group("low")), _bare(call.group("high")))
            return
        if operator == "&&" and re.fullmatch(r'"(?:[^"]|"")+"|\w+', left):
            yield KeyNeed("EXCLUDE", (_bare(left),))  # exact ranges do not overlap
            return
    if all(operator == "=" for _, _, operator in items):
        yield KeyNeed("EXCLUDE", tuple(_bare(left) for left, _, _ in items))


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
