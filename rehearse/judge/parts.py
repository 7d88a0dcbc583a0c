"""A small part of a table, changed in one transaction: how many rows that is in production, and how long they
stay locked. Whether it grows with the table is read from what was measured; where a statement found its rows
through an index nothing was, and its text may say that their number is fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehearse.judge.blocks import BATCH_ROWS
from rehearse.judge.facts import Facts
from rehearse.judge.projection import Cost, growth_of
from rehearse.judge.sqltext import NAME, at_where, bare, one_line
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation

# Fewer rows than this were picked one by one: they say nothing of how many there are in production.
_FEW_ROWS = 100
_LISTS = r"(?:IN\s*\(|=\s*ANY\s*\(\s*(?:ARRAY\s*\[|'\{))(?!\s*SELECT)(?P<items>[^()\]}]*)"
_RANGE = r"BETWEEN\s+(?P<n>\d+)\s+AND\s+(?P<to>\d+)"
_CHANGED = re.compile(
    rf"\b(?:UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?({NAME}|`\w+`)(?:\s+(?:AS\s+)?(?!SET\b|USING\b)(\w+))?",
    re.IGNORECASE,
)
_PARAMETER = r"(?:\bBETWEEN\b|<=?|=\s*ANY\s*\()\s*[$:%?]"
_PLACES = r"\bctid\s*(?:<=?|BETWEEN\b|(?:IN|=\s*ANY)\s*\((?!\s*(?:ARRAY\s*\(\s*)?SELECT))"


@dataclass(frozen=True, slots=True)
class Part:
    """What one transaction changed of a table: `rows` at production size, for how long they are locked there
    (None: production's rows are not known), and `sure`, whether it is known that they grow so.
    """

    rows: float
    seconds: float | None
    sure: bool

    def too_much(self, budget_s: float) -> bool:
        """Whether so many rows are locked for longer than the traffic may be kept waiting."""
        return self.rows > BATCH_ROWS and (self.seconds is None or self.seconds > budget_s)


def part_of(facts: Facts, table: Relation, changes: Sequence[tuple[Statement, int]]) -> Part | None:
    """What the statements of one transaction, each with the rows of `table` that it changed, come to at
    production size; None where that is within the budget, or too few rows to tell anything from.
    """
    known = facts.tables.find(table)
    if known is None or sum(rows for _, rows in changes) < _FEW_ROWS:
        return None
    growth = growth_of(known)
    pieces = [
        _piece(facts, facts.costs[statement.index], table, rows, growth)
        for statement, rows in changes
        if statement.index in facts.costs
    ]
    for sure in (True, False):
        counted = pieces if not sure else [piece for piece in pieces if piece.sure]
        part = _together(counted, sure=sure)
        if part.too_much(facts.budget_s):
            return part
    return None


def bound_of(facts: Facts, statement: Statement, table: Relation, rows: int) -> float | None:
    """How many rows of `table` the statement, which changed `rows`, may change by its text however large the
    table is; None where it does not say.
    """
    return _bound(statement, _key(facts, table), rows)


def _together(pieces: Sequence[Part], *, sure: bool) -> Part:
    seconds = [piece.seconds for piece in pieces]
    known = None if None in seconds else sum(each for each in seconds if each is not None)
    return Part(sum(piece.rows for piece in pieces), known, sure)


def _piece(facts: Facts, cost: Cost, table: Relation, rows: int, growth: float | None) -> Part:
    effects = cost.statement.effects
    reads_all = effects is not None and any(work.table == table for work in effects.scanned)
    bound = _bound(cost.statement, _key(facts, table), rows)
    measured = facts.scale is not None
    if bound is not None and not reads_all:
        return Part(bound, cost.busy_s * bound / rows, sure=True)
    if bound is not None or (measured and not reads_all and cost.grown is None):
        return Part(rows if bound is None else bound, cost.projected_s, sure=True)
    if growth is None:
        return Part(rows, None, sure=reads_all)
    seconds = cost.projected_s if reads_all or cost.grown else cost.busy_s * growth
    return Part(rows * growth, seconds, sure=reads_all or cost.grown is not None)


def _key(facts: Facts, table: Relation) -> str | None:
    """The column that is its primary key by itself."""
    known = facts.tables.find(table)
    return known.key[0] if known is not None and len(known.key) == 1 else None


def _bound(statement: Statement, key: str | None, rows: int) -> float | None:
    """How many rows its text lets it change at most, however large the table is; None where it does not say.

    A bound below the `rows` that it did change was misread, and is none.
    """
    text = one_line(statement.text)
    head, condition = at_where(text)
    bounds = [float(number) for number in re.findall(r"\bLIMIT\s+(\d+)", text, re.IGNORECASE)]
    if not _has_alternatives(condition):
        bounds += _bounds(condition, key, rows, _called(head))
    return min((bound for bound in bounds if bound >= rows), default=None)


def _called(head: str) -> frozenset[str]:
    """The names by which its condition may call the table that it changes; empty where that is not plain."""
    match = _CHANGED.search(head)
    return (
        frozenset(bare(name).strip("`").lower() for name in match.groups() if name) if match else frozenset()
    )


def _bounds(condition: str, key: str | None, rows: int, called: frozenset[str]) -> Iterator[float]:
    if re.search(_PLACES, condition, re.IGNORECASE):
        yield rows
    if key is None:
        return
    name = rf"(?<![\w$.\"`])(?:(?P<of>[\w\"`]+)\s*\.\s*)?[\"`]?{re.escape(key)}[\"`]?\s*"

    def all_of(pattern: str) -> Iterator[re.Match[str]]:
        for match in re.finditer(name + pattern, condition, re.IGNORECASE):
            if match["of"] is None or match["of"].strip('"`').lower() in called:
                yield match

    yield from (int(match["to"]) - int(match["n"]) + 1 for match in all_of(_RANGE))
    least = max((int(match["n"]) for match in all_of(r">=?\s*(?P<n>\d+)")), default=0)
    yield from (int(match["n"]) - least + 1 for match in all_of(r"<=?\s*(?P<n>\d+)"))
    yield from (match["items"].count(",") + 1 for match in all_of(_LISTS))
    yield from (rows for _ in all_of(_PARAMETER) if rows <= BATCH_ROWS)


def _has_alternatives(condition: str) -> bool:
    """Whether it has an OR that stands in no parentheses: then one side of it bounds nothing."""
    depth = 0
    for match in re.finditer(r"'(?:[^']|'')*'|[()]|\bOR\b", condition, re.IGNORECASE):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0].upper() == "OR":
            return True
    return False
