"""What a scenario names is held against the schema at once, before a row is made."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from rehearse.acts.names import check_names
from rehearse.errors import ScenarioError
from rehearse.model.accepted import AcceptSpec
from rehearse.model.generation import ChildrenSpec, ColumnSpec, TableSpec
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.scenario import AdversarySpec, DatasetSpec, MigrationSpec, RowCounts, Scenario
from rehearse.model.schema import Column, DataType, Index, Schema, Table, UniqueKey
from rehearse.model.workload import ScriptSource
from rehearse.scenario.gates import parse_gate

INT = DataType("integer", "int4")


def _table(schema: str, name: str, *columns: str) -> Table:
    made = tuple(Column(column, number, INT) for number, column in enumerate(columns, 1))
    indexes = (Index(f"{name}_by_id", ("id",), ""),)
    keys = (UniqueKey(f"{name}_pkey", ("id",), primary=True),)
    return Table(Relation(schema, name), hash(name), made, keys=keys, indexes=indexes)


SCHEMA = Schema(
    (
        _table("app", "invoices", "id", "state"),
        _table("app", "payments", "id", "invoice_id"),
        _table("a", "notes", "id"),
        _table("b", "notes", "id"),
    )
)
RIGHT = Scenario(
    "s",
    DatasetSpec(
        SqlFile("schema.sql", ""),
        RowCounts(5, (("app.invoices", 9), ("payments", 9))),
        columns=(ColumnSpec("app.invoices.state"), ColumnSpec('app."payments".id')),
        tables=(TableSpec("app.payments", (ChildrenSpec("app.invoices"),)),),
    ),
    MigrationSpec(
        (SqlFile("up.sql", "CREATE TABLE app.invoicez (id int)"),),
        expendable=("invoices.state", "app.payments"),
    ),
    production=RowCounts(None, (("b.notes", 5),)),
    adversaries=(AdversarySpec("snapshot", "payments", 1.0),),
)


def _risk(subject: str) -> AcceptSpec:
    return AcceptSpec(
        "rewrite-under-lock", "why", date(2030, 1, 1), subject=subject, place="accept[0].subject"
    )


def test_what_is_there_passes() -> None:
    check_names(RIGHT, SCHEMA)
    gates = (
        parse_gate("stall.max{script=read_app_invoices_by_pk}", "<= 1s"),
        parse_gate("stall.max{script=read_app_payments_with_app_invoices_2}", "<= 1s"),
    )
    check_names(replace(RIGHT, gates=gates), SCHEMA)
    may_be = (
        "",
        "*",
        "app.inv*",
        "app.invoices",
        "invoices.stat",
        "invoices_by_id",
        "app.invoicez",
        "rollback",
    )
    check_names(replace(RIGHT, accepted=tuple(map(_risk, may_be))), SCHEMA)


WRONG = (
    replace(RIGHT, production=RowCounts(None, (("app.invoice", 5),))),
    replace(RIGHT, production=RowCounts(None, (("notes", 5),))),
    replace(RIGHT, adversaries=(AdversarySpec("snapshot", "app.invoces", 1.0),)),
    replace(RIGHT, dataset=replace(RIGHT.dataset, columns=(ColumnSpec("app.invoices.stat"),))),
    replace(RIGHT, dataset=replace(RIGHT.dataset, columns=(ColumnSpec("invoices"),))),
    replace(RIGHT, dataset=replace(RIGHT.dataset, tables=(TableSpec("app.paymets"),))),
    replace(RIGHT, accepted=(_risk("app.invoises.state"),)),
    replace(
        RIGHT,
        workload=replace(
            RIGHT.workload, scripts=(ScriptSource("s", "\\set a sample(invoices.stat)\nSELECT :a;", 1),)
        ),
    ),
)
SAID = (
    "name a table that the schema does not have: app.invoice; did you mean app.invoices?",
    "notes is a table in each of the schemas a, b; name the schema",
    r"an adversary \(snapshot\) is to stand on app.invoces: .*; did you mean app.invoices?",
    "app.invoices has no column stat; did you mean state?",
    "invoices names no table; write table.column",
    "does not have: app.paymets; did you mean app.payments?",
    r"accept\[0\].subject is about app.invoises.state, .*; did you mean app.invoices.state?",
    "a script draws from invoices.stat, .*; did you mean state?",
)


@pytest.mark.parametrize(("scenario", "said"), [*zip(WRONG, SAID, strict=True)])
def test_one_name_that_is_not_there(scenario: Scenario, said: str) -> None:
    with pytest.raises(ScenarioError, match=said.replace("?", r"\?")):
        check_names(scenario, SCHEMA)


def test_all_of_them_are_said_at_once() -> None:
    several = replace(
        RIGHT,
        production=RowCounts(None, (("app.invoice", 5), ("app.payment", 5))),
        adversaries=(AdversarySpec("snapshot", "app.invoces", 1.0),),
    )
    with pytest.raises(ScenarioError) as raised:
        check_names(several, SCHEMA)
    assert str(raised.value).startswith("3 names are not in the schema: (1) ")
    for name in ("app.invoice;", "app.payment;", "app.invoces:"):
        assert name in str(raised.value)
