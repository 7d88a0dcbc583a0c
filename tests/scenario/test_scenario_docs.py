"""The reference and the JSON Schema say what the code does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from rehearse.model.gates import DEFAULT_GATES, METRIC_KINDS
from rehearse.model.record import Phase
from rehearse.scenario.document import ScenarioDocument
from rehearse.scenario.gates import parse_abort, parse_gate
from rehearse.scenario.metrics_table import with_table
from rehearse.scenario.problems import document_keys
from rehearse.scenario.schema import json_schema

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "scenario.md").read_text(encoding="utf-8")
GATES = (DOCS / "gates.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)
REQUIRED = {"dataset": {"schema": "a.sql"}, "migration": {"up": "b.sql"}}


@pytest.mark.parametrize("example", [*EXAMPLES, *re.findall(r"```toml\n(.*?)```", GATES, re.DOTALL)])
def test_the_examples_are_scenarios(example: str) -> None:
    document = ScenarioDocument.model_validate(REQUIRED | tomllib.loads(example))
    for metric, condition in document.gates.items():
        if condition != "off":
            parse_gate(metric, condition)
    for metric, condition in document.abort.items():
        parse_abort(metric, condition)


def test_every_key_has_its_row() -> None:
    tables = {"database", "dataset", "workload", "migration", "production"}
    rows = re.findall(r"^\| `([a-z_.]+)` \|", REFERENCE, re.MULTILINE)
    keys = {key for key, _ in document_keys()} - tables

    assert keys <= set(rows)
    assert {row for row in rows if "." in row} - set(METRIC_KINDS) <= keys


def test_every_metric_and_phase_is_listed() -> None:
    for name in (*METRIC_KINDS, *(phase.value for phase in Phase)):
        assert f"`{name}`" in GATES
    assert with_table(GATES) == GATES, "run: python -m rehearse.scenario.metrics_table docs/gates.md"


def test_the_default_gates_are_shown_as_they_are() -> None:
    shown = tomllib.loads(EXAMPLES[-1])["gates"]
    assert shown == dict(DEFAULT_GATES)


def test_the_json_schema_in_the_documentation_is_current() -> None:
    current = json.loads((DOCS / "scenario.schema.json").read_text(encoding="utf-8"))
    assert current == json_schema(), "run: python -m rehearse.scenario.schema docs/scenario.schema.json"


def test_the_json_schema_knows_every_key() -> None:
    text = json.dumps(json_schema())
    for key, _ in document_keys():
        assert f'"{key.rpartition(".")[2]}": {{' in text
    assert '"additionalProperties": false' in text
