"""What the inferred workload holds, on schemas made by hand and by chance."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.model.relation import Relation
from rehearse.model.schema import (
    Column,
    DataType,
    ForeignKey,
    Identity,
    Index,
    Schema,
    Table,
    TableKind,
    TypeKind,
    UniqueKey,
)
from rehearse.model.workload import ScriptSource
from rehearse.workload.infer import apportion, infer_workload
from rehearse.workload.infer_names import quoted, variables
from rehearse.workload.script import parse_script

BIGINT = DataType("bigint", "int8")
TEXT = DataType("text", "text")
JSON = DataType("jsonb", "jsonb")
INTS = DataType("integer[]", "_int4", TypeKind.ARRAY, element=DataType("integer", "int4"))

CUSTOMERS = Relation("public", "customers")
ORDERS = Relation("public", "orders")


def column(name: str, number: int, type_: DataType = TEXT, **more: object) -> Column:
    return replace(Column(name, number, type_, not_null=True), **more)  # type: ignore[arg-type] # a test's shorthand


def index(name: str, *columns: str | None, extra: str = "", **more: object) -> Index:
    definition = f"CREATE INDEX {name} ON t USING btree ({', '.join(str(c) for c in columns)}){extra}"
    return replace(Index(name, columns, definition), **more)  # type: ignore[arg-type] # a test's shorthand


CUSTOMERS_TABLE = Table(
    CUSTOMERS,
    1,
    (column("id", 1, BIGINT, identity=Identity.ALWAYS), column("email", 2), column("name", 3)),
    keys=(UniqueKey("customers_pkey", ("id",), primary=True), UniqueKey("customers_email_key", ("email",))),
    indexes=(
        index("customers_pkey", "id", unique=True),
        index("customers_email_key", "email", unique=True),
    ),
)
ORDERS_TABLE = Table(
    ORDERS,
    2,
    (
        column("id", 1, BIGINT, identity=Identity.BY_DEFAULT),
        column("customer_id", 2, BIGINT),
        column("status", 3),
        column("placed_at", 4, DataType("timestamp with time zone", "timestamptz")),
        column("note", 5, not_null=False),
        column("total", 6, BIGINT, generated=True),
        column("document", 7, JSON),
    ),
    keys=(UniqueKey("orders_pkey", ("id",), primary=True),),
    foreign_keys=(ForeignKey("orders_customer_id_fkey", ("customer_id",), CUSTOMERS, ("id",)),),
    indexes=(
        index("orders_pkey", "id", unique=True),
        index("orders_customer_id_idx", "customer_id", "placed_at"),
        index("orders_document_idx", "document", method="gin"),
    ),
)
SHOP = Schema((CUSTOMERS_TABLE, ORDERS_TABLE))
ROWS = {CUSTOMERS: 100, ORDERS: 1000}
ALL = frozenset(ROWS)


def infer(
    schema: Schema = SHOP,
    touched: frozenset[Relation] = frozenset({ORDERS}),
    rows: dict[Relation, int] = ROWS,
    generated: frozenset[Relation] = ALL,
) -> dict[str, ScriptSource]:
    scripts = infer_workload(schema, touched, rows, generated=generated)
    assert len({script.name for script in scripts}) == len(scripts)
    return {script.name: script for script in scripts}


def statement(script: ScriptSource) -> str:
    lines = [line for line in script.text.splitlines() if not line.startswith(("--", "\\set"))]
    return " ".join(lines)


def only(table: Table, rows: int = 10) -> dict[str, ScriptSource]:
    relation = table.relation
    return infer(Schema((table,)), frozenset({relation}), {relation: rows}, frozenset({relation}))


def test_a_hot_table_is_read_joined_updated_and_inserted_into() -> None:
    scripts = infer()

    assert {name: statement(script) for name, script in scripts.items()} == {
        "read_orders_by_pk": "SELECT id, customer_id, status, placed_at, note, total, document "
        "FROM orders WHERE id = :id;",
        "read_orders_by_customer_id": "SELECT id, customer_id, status, placed_at, note, total, document "
        "FROM orders WHERE customer_id = :customer_id ORDER BY placed_at DESC LIMIT 20;",
        "read_orders_with_customers": "SELECT c.id, c.customer_id, c.status, c.placed_at, c.note, c.total, "
        "c.document, p.id, p.email, p.name FROM orders c "
        "JOIN customers p ON p.id = c.customer_id WHERE c.id = :id;",
        "read_customers_and_its_orders": "SELECT p.id, p.email, p.name, c.id, c.customer_id, c.status, "
        "c.placed_at, c.note, c.total, c.document FROM customers p "
        "JOIN orders c ON p.id = c.customer_id WHERE p.id = :id LIMIT 20;",
        "update_orders": "UPDATE orders SET status = :status WHERE id = :id;",
        "insert_orders": "INSERT INTO orders (customer_id, status, placed_at, note, document) "
        "VALUES (:customer_id, :status, :placed_at, :note, :document);",
    }
    assert r"\set id sample(orders.id)" in scripts["update_orders"].text
    assert r"\set status fresh(orders.status)" in scripts["insert_orders"].text


def test_seven_of_ten_transactions_read_two_update_one_inserts() -> None:
    scripts = infer(touched=ALL)
    shares = dict.fromkeys(("read", "update", "insert"), 0)
    for name, script in scripts.items():
        shares[name.partition("_")[0]] += script.weight

    assert shares == {"read": 70, "update": 20, "insert": 10}


def test_a_table_that_was_loaded_from_a_file_gets_no_inserts() -> None:
    assert "insert_orders" not in infer(generated=frozenset())
    assert "update_orders" in infer(generated=frozenset())


def test_a_table_without_rows_is_left_alone() -> None:
    assert infer(rows={CUSTOMERS: 5, ORDERS: 0}) == {}
    assert not any("customers" in name for name in infer(rows={ORDERS: 5}))


def test_a_table_that_the_migration_creates_is_not_looked_for() -> None:
    assert infer(touched=frozenset({Relation("public", "invoices")})) == {}


def test_a_table_without_key_or_index_is_never_scanned() -> None:
    log = Table(Relation("public", "log"), 1, (column("at", 1), column("line", 2)))
    scripts = only(log)

    assert statement(scripts["read_log"]) == "SELECT at, line FROM log LIMIT 1;"
    assert set(scripts) == {"read_log", "insert_log"}


def test_a_unique_key_without_nulls_stands_in_for_a_primary_key() -> None:
    table = Table(
        Relation("public", "t"),
        1,
        (column("code", 1), column("label", 2)),
        keys=(UniqueKey("t_code_key", ("code",)),),
    )
    assert statement(only(table)["read_t_by_key"]) == "SELECT code, label FROM t WHERE code = :code;"

    nullable = replace(table, columns=(column("code", 1, not_null=False), column("label", 2)))
    assert set(only(nullable)) == {"read_t", "insert_t"}


@pytest.mark.parametrize(
    "unusable",
    [
        index("i", None, "kind"),
        index("i", "kind", valid=False),
        index("i", "kind", method="gin"),
        index("i", "kind", method="brin"),
        index("i", "kind", extra=' COLLATE "C"'),
        index("i", "tags"),
        index("i", "body"),
    ],
)
def test_an_index_that_equality_cannot_use_gives_no_read(unusable: Index) -> None:
    table = Table(
        Relation("public", "t"),
        1,
        (column("kind", 1), column("tags", 2, INTS), column("body", 3, JSON)),
        indexes=(unusable,),
    )
    assert set(only(table)) == {"read_t", "insert_t"}


def test_order_by_only_where_the_index_gives_the_order() -> None:
    table = Table(Relation("public", "t"), 1, (column("a", 1), column("b", 2)))

    def read(found: Index) -> str:
        return statement(only(replace(table, indexes=(found,)))["read_t_by_a"])

    assert "ORDER BY b DESC LIMIT 20" in read(index("i", "a", "b"))
    assert "ORDER BY" not in read(index("i", "a", "b", extra=" b DESC NULLS LAST"))
    assert "ORDER BY" not in read(index("i", "a", "b", extra=" b text_pattern_ops"))
    assert "ORDER BY" not in read(index("i", "a", method="hash"))


def test_a_partial_index_is_read_with_its_condition() -> None:
    open_ones = index("i", "a", predicate="(b = 'open'::text)")
    table = Table(Relation("public", "t"), 1, (column("a", 1), column("b", 2)), indexes=(open_ones,))

    assert "WHERE a = :a AND ((b = 'open'::text)) LIMIT 20" in statement(only(table)["read_t_by_a"])


def test_children_without_an_index_on_their_foreign_key_are_not_searched() -> None:
    bare = replace(ORDERS_TABLE, indexes=(ORDERS_TABLE.indexes[0],))
    scripts = infer(Schema((CUSTOMERS_TABLE, bare)))

    assert "read_orders_with_customers" in scripts
    assert "read_customers_and_its_orders" not in scripts


def test_traffic_goes_to_the_partitioned_table_and_not_to_its_parts() -> None:
    events, part = Relation("public", "events"), Relation("public", "events_2024")
    columns = (column("id", 1, BIGINT), column("at", 2), column("what", 3))
    key = (UniqueKey("pk", ("id", "at"), primary=True),)
    schema = Schema(
        (
            Table(events, 1, columns, TableKind.PARTITIONED, key, partition_key="RANGE (at)"),
            Table(part, 2, columns, TableKind.PARTITION, key, partition_of=events),
        )
    )
    scripts = infer(schema, frozenset({part}), {part: 9}, frozenset({events}))

    assert set(scripts) == {"read_events_by_pk", "update_events", "insert_events"}
    assert (
        statement(scripts["update_events"]) == "UPDATE events SET what = :what WHERE id = :id AND at = :at;"
    )


def test_a_materialized_view_is_read_and_nothing_else() -> None:
    view = Table(Relation("public", "totals"), 1, (column("day", 1),), TableKind.MATERIALIZED_VIEW)
    assert set(only(view)) == {"read_totals"}


def test_a_column_that_partitions_or_is_referred_to_is_not_updated() -> None:
    region = Table(
        Relation("public", "region"),
        1,
        (column("id", 1, BIGINT), column("code", 2)),
        keys=(UniqueKey("pk", ("id",), primary=True), UniqueKey("uk", ("code",))),
    )
    town = Table(
        Relation("public", "town"),
        2,
        (column("id", 1, BIGINT), column("region", 2)),
        keys=(UniqueKey("pk", ("id",), primary=True),),
        foreign_keys=(ForeignKey("fk", ("region",), region.relation, ("code",)),),
    )
    rows = {region.relation: 3, town.relation: 3}
    scripts = infer(Schema((region, town)), frozenset({region.relation}), rows, frozenset(rows))

    assert "update_region" not in scripts


def test_names_of_other_schemas_are_qualified() -> None:
    there = Relation("sales", "orders")
    table = replace(ORDERS_TABLE, relation=there, foreign_keys=())
    scripts = only(table)

    assert "FROM sales.orders" in scripts["read_sales_orders_by_pk"].text
    assert "sample(sales.orders.id)" in scripts["read_sales_orders_by_pk"].text


def test_the_same_schema_gives_the_same_workload() -> None:
    assert infer(touched=ALL) == infer(touched=frozenset(sorted(ALL, reverse=True)))


NAMES = st.text(
    st.sampled_from(string.ascii_letters + string.digits + "_\"'.;:$- \\{}äß€中\n"), min_size=1, max_size=8
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    tables: list[Table] = []
    relations = draw(st.lists(st.builds(Relation, st.sampled_from(["public", "Ö x"]), NAMES), unique=True))
    for oid, relation in enumerate(relations):
        names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
        columns = tuple(column(name, number) for number, name in enumerate(names, start=1))
        keyed = draw(st.booleans())
        keys = (UniqueKey("k", (names[0],), primary=True),) if keyed else ()
        indexes = (index("i", names[-1]),) if draw(st.booleans()) else ()
        parents = [table for table in tables if table.keys]
        foreign = (
            tuple(
                ForeignKey("f", (names[-1],), parent.relation, parent.keys[0].columns)
                for parent in draw(st.lists(st.sampled_from(parents), max_size=2))
            )
            if parents
            else ()
        )
        tables.append(Table(relation, oid, columns, TableKind.TABLE, keys, foreign, indexes=indexes))
    return Schema(tuple(tables))


@settings(max_examples=30, deadline=None)
@given(schemas())
def test_every_touched_table_is_covered_by_scripts_that_parse(schema: Schema) -> None:
    relations = frozenset(table.relation for table in schema.tables)
    scripts = infer(schema, relations, dict.fromkeys(relations, 10), relations)
    parsed = [parse_script(script) for script in scripts.values()]

    assert all(len(script.statements) == 1 for script in parsed)
    assert all(script.weight >= 1 for script in parsed)
    assert all("*" not in script.statements[0] for script in parsed)
    known = {table.relation.schema + "." + table.relation.name for table in schema.tables}
    known |= {table.relation.name for table in schema.tables if table.relation.schema == "public"}
    drawn = {key.table for script in parsed for key in script.pool_keys}
    assert drawn <= known
    texts = "\n".join(script.text for script in scripts.values())
    for relation in relations:
        assert quoted(relation.name) in texts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2000), st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_weights_are_in_proportion_and_none_is_zero(total: int, parts: list[int]) -> None:
    weights = apportion(total, parts)

    assert min(weights) >= 1
    if total >= sum(parts):
        assert sum(weights) == total
        assert all(
            abs(weight - total * part / sum(parts)) < 1 for weight, part in zip(weights, parts, strict=True)
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, unique=True))
def test_variables_are_plain_and_no_two_are_the_same(columns: list[str]) -> None:
    names = variables(columns)

    assert len(set(names.values())) == len(columns)
    assert all(name.isascii() and name.replace("_", "a").isalnum() for name in names.values())
    assert not {"client_id", "scale"} & set(names.values())


def test_names_are_quoted_only_where_they_must_be() -> None:
    assert quoted("orders") == "orders"
    assert quoted("order") == '"order"'
    assert quoted("Order") == '"Order"'
    assert quoted('a"b') == '"a""b"'
