"""Batches that a tool or a script sends one by one: statements of one shape, each committed by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rehearse.judge import wording
from rehearse.judge.blocks import BATCH_ROWS
from rehearse.judge.facts import Facts
from rehearse.judge.parts import bound_of
from rehearse.judge.sqltext import one_line
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

Shapes = Mapping[str, frozenset[int]]

_VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_SERIES = re.compile(r"\?(?:\s*,\s*\?)+")
_PARAMETER = re.compile(r"\$\d|%\(|%s|\?|(?<!:):[A-Za-z_]")
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def shape_of(statement: Statement) -> str:
    """The statement without its values: batches differ in nothing else."""
    return _SERIES.sub("?", _VALUES.sub("?", one_line(statement.text)))


def transactions_by_shape(facts: Facts) -> Shapes:
    """In which transactions statements of each shape ran."""
    found: dict[str, set[int]] = {}
    for statement in facts.statements:
        found.setdefault(shape_of(statement), set()).add(statement.transaction)
    return {shape: frozenset(transactions) for shape, transactions in found.items()}


def is_batch(facts: Facts, table: Relation, parts: Sequence[tuple[Statement, int]], shapes: Shapes) -> bool:
    """Whether what a transaction changed of `table` is one of several batches that are no larger in
    production, however great a part of the rehearsed table each of them is.
    """
    bounds = [bound_of(facts, statement, table, rows) for statement, rows in parts]
    known = [bound for bound in bounds if bound is not None]
    repeated = all(len(shapes[shape_of(s)]) >= _fewest(s) for s, _ in parts)
    return repeated and len(known) == len(bounds) and sum(known) <= BATCH_ROWS


def _fewest(statement: Statement) -> int:
    """How many make a series. Of parameters nobody knows the values: two may be the halves of a table."""
    return 3 if _PARAMETER.search(statement.text) else 2


def one_of_each_shape(facts: Facts, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The gravest of those that statements of one shape gave about one table; it counts the others."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    by_index = {statement.index: statement for statement in facts.statements}
    for finding in findings:
        statement = None if finding.statement is None else by_index[finding.statement]
        shape = "" if statement is None else shape_of(statement)
        alike.setdefault((finding.subject, shape), []).append(finding)
    for group in alike.values():
        gravest = min(group, key=_gravity)
        if len(group) == 1:
            yield gravest
            continue
        others = wording.count(len(group) - 1, "other transaction")
        line = f"the same was found of {others}, whose statement differs in its values alone"
        yield replace(gravest, evidence=(line, *gravest.evidence))


def _gravity(finding: Finding) -> tuple[int, float]:
    return _RANK[finding.severity], -(finding.observed.value if finding.observed else 0.0)
