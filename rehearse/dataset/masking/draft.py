"""Rules for every column of a schema, to be read and corrected by a person."""

from __future__ import annotations

import json

from rehearse.dataset.masking.columns import MaskPlan, line_for
from rehearse.dataset.masking.rules import KEEP
from rehearse.model.schema import Schema, TableKind


def draft_rules(schema: Schema, plan: MaskPlan) -> str:
    """TOML: a line a column and the inventory of all; what needs none, or a person's word, is a comment."""
    lines = [
        "# What becomes of each column. A column that stands neither here nor in the inventory below halts",
        "# the run. Read every line: a name or a type may say less than you know.",
        "[columns]",
    ]
    halts = {(halt.relation, halt.column): halt for halt in plan.halts}
    decided = {(column.relation, column.column.name): column for column in plan.columns}
    tables = [t for t in schema.tables if t.kind in {TableKind.TABLE, TableKind.PARTITIONED}]
    for table in tables:
        for column in table.columns:
            place = (table.relation, column.name)
            if place in halts:
                halt = halts[place]
                lines.append(f"# {halt.line}  # {halt.why}" if halt.open else halt.line)
            elif place in decided and not column.generated:
                plan_ = decided[place]
                mask = None if plan_.mask == KEEP else plan_.mask
                lines.append(f"# {line_for(*place, mask)}  # {plan_.reason}")
    lines += ["", "[inventory]"]
    for table in tables:
        name = json.dumps(f"{table.relation.schema}.{table.relation.name}", ensure_ascii=False)
        columns = [column.name for column in table.columns]
        lines.append(f"{name} = {json.dumps(columns, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
