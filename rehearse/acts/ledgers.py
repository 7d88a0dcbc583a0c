"""Which tables of a rehearsal are the ledgers of migration tools (`model/ledgers.py` knows their looks).

They get no generated rows and no traffic, and what the tool notes in them is no change of the user's data.
Whatever is in doubt is no ledger: a table of the application's that was taken for one would escape the judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rehearse.model.ledgers import ledgers_among
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.schema import Schema


def find_ledgers(schema: Schema, scenario: Scenario, loaded: Mapping[Relation, int]) -> frozenset[Relation]:
    """The ledgers among the tables of `schema`, of which those in `loaded` have rows already.

    A table that a script of the scenario names, that refers to another or is referred to, or that is said
    to be large, is none.
    """
    by_tool = any(step.tool is not None for step in (*scenario.migration.up, *scenario.migration.down))
    counts = (loaded, named_rows(schema, scenario.dataset.rows), _in_production(schema, scenario))
    said = " ".join(_texts(scenario))
    alike = ledgers_among(schema, counts, by_tool=by_tool)
    return frozenset(relation for relation in alike if not _names(said, relation.name))


def named_rows(schema: Schema, counts: RowCounts) -> dict[Relation, int]:
    """The rows that somebody gave to tables by name."""
    return {table.relation: rows for name, rows in counts.tables if (table := schema.find(name)) is not None}


def without(schema: Schema, relations: frozenset[Relation]) -> Schema:
    """`schema` less the tables `relations`."""
    tables = tuple(table for table in schema.tables if table.relation not in relations)
    return Schema(tables, schema.extensions)


def _in_production(schema: Schema, scenario: Scenario) -> dict[Relation, int]:
    profile = scenario.dataset.profile
    counted = {} if profile is None else {table.relation: table.rows for table in profile.tables}
    return counted | named_rows(schema, scenario.production)


def _texts(scenario: Scenario) -> Iterable[str]:
    """All that somebody wrote as traffic."""
    workload = scenario.workload
    scripts = workload.scripts + (workload.after.scripts if workload.after is not None else ())
    yield from (script.text for script in scripts)
    yield from (name for name, _ in workload.hot)
    yield from (adversary.table for adversary in scenario.adversaries)


def _names(text: str, name: str) -> bool:
    return bool(re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE))
