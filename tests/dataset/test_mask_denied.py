"""What nobody decided on, and what is missing, halts a run before anything is written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from rehearse.cli.data_mask import mask
from rehearse.dataset.masking.draft import draft_rules
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.rules import Rules, parse_rules
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import InputError, NotDisposableError
from rehearse.model.target import Target
from tests.dataset.planted import RULES, planned


def test_without_its_rule_a_column_halts_the_run_and_names_the_line(planted: Target) -> None:
    columns = {name: rule for name, rule in RULES["columns"].items() if name != "orders.*"}
    plan = planned(planted, parse_rules({"columns": columns}, "rules"))
    with pytest.raises(
        InputError, match=r'orders.amount: no rule covers it.*"public.orders.amount" = "number"'
    ):
        plan.require_complete()
    # keys and what they refer to need no rule of their own
    assert {halt.column for halt in plan.halts} == {"amount", "placed_at", "paid_at"}


def test_a_column_that_came_later_halts_whatever_wildcards_say(planted: Target) -> None:
    draft = planned(planted, parse_rules(RULES, "rules"))
    inventory: dict[str, list[str]] = {f"{r.relation.schema}.{r.relation.name}": [] for r in draft.columns}
    for column in draft.columns:
        if column.label != "people.active":
            inventory[f"{column.relation.schema}.{column.relation.name}"].append(column.column.name)
    plan = planned(planted, parse_rules({**RULES, "inventory": inventory}, "rules"))
    assert [str(halt) for halt in plan.halts] == [
        "people.active: it is not in the [inventory] that the rules were written for"
    ]


def test_a_draft_covers_every_column(planted: Target) -> None:
    with connect(planted, "rehearse") as connection:
        schema = introspect(connection)
    text = draft_rules(schema, plan_masks(schema, Rules("none")))
    plan = plan_masks(schema, parse_rules(tomllib.loads(text.replace('"..."', '"read"')), "draft"))
    # what rows are partitioned by is the one thing to decide on
    assert {halt.column for halt in plan.halts} <= {"at"}
    assert '"public.people.email" = "email"' in text
    assert "Featherby" not in text


def test_what_is_missing_is_asked_for_before_anything_is_written(
    planted: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"{name}={value}" for name, value in planted.conninfo("t").items() if name != "application_name"]
    rules = tmp_path / "mask.toml"
    rules.write_text("[columns]\n")
    monkeypatch.delenv("REHEARSE_MASK_KEY", raising=False)
    out, key = tmp_path / "out", tmp_path / "key"
    with pytest.raises(InputError, match="no masking key; set REHEARSE_MASK_KEY"):
        mask(" ".join(words), rules=rules, out=out)
    key.write_text("0123456789abcdef0123456789abcdef")
    with pytest.raises(InputError, match=r"add under \[columns\]: \"public\."):
        mask(" ".join(words), rules=rules, out=out, key_file=key)
    assert not out.exists()
    columns = "".join(f"{json.dumps(name)} = {toml(rule)}\n" for name, rule in RULES["columns"].items())
    rules.write_text(f"[columns]\n{columns}")
    with pytest.raises(NotDisposableError, match="named-by-user"):
        mask(" ".join(words), rules=rules, into=" ".join(words), key_file=key)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {json.dumps(text)}" for name, text in value.items()) + " }"
    return json.dumps(value)
