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
    assert [(str(halt.relation), halt.column) for halt in plan.halts] == [("events", "at")]
    assert '\n# "public.events.at" = { mask = "keep", reason = "..." }  # rows are partitioned by it' in text
    assert '"public.people.email" = "email"' in text
    assert "Featherby" not in text


def test_what_rows_are_partitioned_by_is_not_masked_unless_every_value_has_a_partition(
    database: Target,
) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute("""
            CREATE TABLE audit (at timestamptz, region text) PARTITION BY RANGE (at);
            CREATE TABLE audit_1 PARTITION OF audit FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')
                PARTITION BY LIST (region);
            CREATE TABLE audit_eu PARTITION OF audit_1 FOR VALUES IN ('eu');
            CREATE TABLE caught (at date) PARTITION BY RANGE (at);
            CREATE TABLE caught_1 PARTITION OF caught FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
            CREATE TABLE caught_rest PARTITION OF caught DEFAULT;
            CREATE TABLE whole (at date) PARTITION BY RANGE (at);
            CREATE TABLE whole_1 PARTITION OF whole FOR VALUES FROM (MINVALUE) TO ('2021-01-01');
            CREATE TABLE whole_2 PARTITION OF whole FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
            CREATE TABLE whole_3 PARTITION OF whole FOR VALUES FROM ('2022-01-01') TO (MAXVALUE);
            CREATE TABLE holed (at date) PARTITION BY RANGE (at);
            CREATE TABLE holed_1 PARTITION OF holed FOR VALUES FROM (MINVALUE) TO ('2021-01-01');
            CREATE TABLE holed_3 PARTITION OF holed FOR VALUES FROM ('2022-01-01') TO (MAXVALUE);
        """)
        schema = introspect(connection)

    def masked(columns: dict[str, object]) -> set[str]:
        plan = plan_masks(schema, parse_rules({"columns": columns}, "rules"))
        return {f"{halt.relation}.{halt.column}" for halt in plan.halts if halt.open}

    unfit = {"audit.at", "audit.region", "audit_1.region", "holed.at"}
    # neither what a wildcard suggests nor what a draft would say
    assert masked({}) - {"audit_1.at"} == masked({"*": "auto"}) - {"audit_1.at"} == unfit
    for column, mask_ in (("audit.at", "date"), ("audit.region", "text"), ("holed.at", "date")):
        mend = rf'"public\.{column}" = {{ mask = "keep", reason = "\.\.\." }}'
        with pytest.raises(InputError, match=rf"{column}: rows are partitioned by it.*{mask_} makes.*{mend}"):
            masked({column: mask_})
    fitting: dict[str, object] = {"caught.at": "date", "whole.at": "date"}
    fitting["audit.at"] = {"mask": "constant", "value": "2020-05-05"}
    assert "audit.at" not in masked(fitting)


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
