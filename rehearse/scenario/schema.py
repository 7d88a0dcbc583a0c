"""The JSON Schema of a scenario file, generated from the models that check it, for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rehearse.model.gates import METRIC_KINDS
from rehearse.scenario.document import ScenarioDocument

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, object]:
    """The schema, with every gate metric listed so that an editor can complete its name."""
    schema: dict[str, object] = ScenarioDocument.model_json_schema(by_alias=True)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    properties["gates"] |= {
        "properties": {
            kind.name: {"type": "string", "description": f"{kind.meaning} ({kind.unit.value})"}
            for kind in METRIC_KINDS.values()
        }
    }
    properties["abort"] |= {
        "properties": {
            kind.name: {"type": "string", "description": f"{kind.live} ({kind.unit.value})"}
            for kind in METRIC_KINDS.values()
            if kind.live
        }
    }
    return {"$schema": _DIALECT, **schema, "title": "Rehearse scenario"}


def write_json_schema(path: Path) -> None:
    """Write the schema to `path`, as it stands in the documentation."""
    path.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_json_schema(Path(sys.argv[1]))
