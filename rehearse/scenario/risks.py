"""How far a migration may go before it is broken off, and what it may do because someone answers for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rehearse.errors import ScenarioError
from rehearse.model.accepted import AcceptSpec
from rehearse.model.gates import Gate, MetricRef
from rehearse.scenario.document import AcceptTable
from rehearse.scenario.gates import parse_abort, parse_abort_expression
from rehearse.scenario.lines import Loc
from rehearse.scenario.places import Places


def aborts_of(table: Mapping[str, str], expressions: Sequence[str], places: Places) -> tuple[Gate, ...]:
    """The gates that break off: those of the file, and over them the `expressions` of flags."""
    gates: dict[MetricRef, Gate] = {}
    for metric, condition in table.items():
        try:
            gate = parse_abort(metric, condition)
        except ScenarioError as error:
            raise places.error(("abort", metric), error.what, error.mend) from None
        gates[gate.metric] = gate
    for text in expressions:
        try:
            gate = parse_abort_expression(text)
        except ScenarioError as error:
            raise ScenarioError(f"`--abort`: {error.what}", error.mend) from None
        gates[gate.metric] = gate
    return tuple(gates.values())


def accepted_of(tables: Sequence[AcceptTable], places: Places) -> tuple[AcceptSpec, ...]:
    """The risks that are accepted; whether there are such rules is for the judge to say."""
    return tuple(_accepted(place, table, places) for place, table in enumerate(tables))


def _accepted(place: int, table: AcceptTable, places: Places) -> AcceptSpec:
    loc: Loc = ("accept", place)
    if table.statement is None and table.subject is None:
        mend = 'say of which `statement`, or about which `subject`; "*" is any'
        raise places.error(loc, "{} would accept whatever the rule finds", mend)
    for key, pattern in (("statement", table.statement or ""), ("subject", table.subject or "")):
        if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
            try:
                re.compile(pattern[1:-1])
            except re.error as error:
                raise places.error((*loc, key), f"{{}} is not a regular expression: {error}") from None
    return AcceptSpec(
        rule=table.rule,
        reason=table.reason,
        until=table.until,
        statement=table.statement or "",
        subject=table.subject or "",
        by=table.by or "",
        place=places.where((*loc, "rule")),
    )
