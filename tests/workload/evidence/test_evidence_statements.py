from __future__ import annotations

import pytest

from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Column, DataType, ForeignKey, Schema, Table, UniqueKey
from rehearse.model.workload import ScriptSource
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.from_schema import hot_tables, infer_scripts
from rehearse.workload.evidence.logged import (
    Ending,
    LoggedStatement,
    LoggedTransaction,
    parameters_of,
    pieces_of,
)
from rehearse.workload.evidence.mix import distil
from rehearse.workload.evidence.scripting import Draft, Unusable, script_of
from rehearse.workload.evidence.shape import shape_of
from rehearse.workload.infer_weights import is_read
from rehearse.workload.script import parse_script

INT = DataType("integer", "int4")
TEXT = DataType("text", "text")
CUSTOMERS = Table(
    Relation("public", "customers"),
    1,
    (Column("id", 1, INT, not_null=True), Column("email", 2, TEXT), Column("status", 3, INT)),
    keys=(UniqueKey("customers_pkey", ("id",), primary=True),),
)
ORDERS = Table(
    Relation("public", "orders"),
    2,
    (Column("id", 1, INT, not_null=True), Column("customer_id", 2, INT), Column("note", 3, TEXT)),
    keys=(UniqueKey("orders_pkey", ("id",), primary=True),),
    foreign_keys=(ForeignKey("f", ("customer_id",), CUSTOMERS.relation, ("id",)),),
)
SCHEMA = Schema((CUSTOMERS, ORDERS))


def normal(text: str) -> str:
    pieces = pieces_of(text)
    assert pieces is not None
    return shape_of(pieces[0], None)[0].text


def transaction(*texts: str, parameters: tuple[str | None, ...] | None = None) -> LoggedTransaction:
    return LoggedTransaction(
        "s", tuple(LoggedStatement(n, 0, text, "", parameters) for n, text in enumerate(texts))
    )


def script(*transactions: LoggedTransaction, schema: Schema | None = SCHEMA) -> str:
    mix = distil(transactions, Tally())
    assert len(mix.groups) == 1
    made = script_of(next(iter(mix.groups.values())), "origin", schema, None)
    assert isinstance(made, Draft), made
    parse_script(ScriptSource(made.name, made.text))
    return made.text


def test_literals_are_taken_out_and_what_belongs_to_the_statement_stays() -> None:
    assert normal("SELECT * FROM t WHERE a = 'it''s' AND b = -5 /* c */ AND c > 1.5") == (
        "SELECT * FROM t WHERE a = $1 AND b = $2 AND c > $3"
    )
    assert normal("SELECT a::numeric(10,2) FROM t ORDER BY 1, 2 LIMIT 5") == (
        "SELECT a::numeric(10,2) FROM t ORDER BY 1, 2 LIMIT $1"
    )
    assert normal("SELECT now() - interval '30 days', a - 3") == "SELECT now() - interval '30 days', a - $1"
    assert normal("SELECT 1 WHERE a IN (1, 2, 3)") == "SELECT $1 WHERE a IN ($2, $3, $4, $5)"
    assert normal("SELECT $$x$$, E'a\\'b', date '2020-01-01'") == "SELECT $1, $2, $3"


def test_parameters_are_read_as_the_server_quotes_them() -> None:
    assert parameters_of("parameters: $1 = '1', $2 = NULL, $3 = 'it''s, $4 = ''x'''") == (
        "1",
        None,
        "it's, $4 = 'x'",
    )
    assert parameters_of("Parameters: $1 = 'a\nb'") == ("a\nb",)
    assert parameters_of("prepare: PREPARE x AS SELECT 1") == ()


def test_values_come_from_rows_and_the_same_value_from_the_same_row() -> None:
    text = script(
        *(
            transaction(
                "BEGIN",
                f"SELECT * FROM customers c WHERE c.id = {n} AND status = 3",
                f"INSERT INTO orders (id, customer_id, note) VALUES ({n + 100}, {n}, 'for {n}')",
                f"UPDATE orders SET note = 'secret {n}' WHERE id = {n + 100}",
                "COMMIT",
            )
            for n in range(20, 23)
        )
    )
    assert r"\set id sample(customers.id)" in text
    assert r"\set id_2 fresh(orders.id)" in text
    assert "VALUES (:id_2, :id, :note)" in text
    assert "WHERE id = :id_2" in text
    assert "status = 3" in text
    assert "secret" not in text


def test_no_text_of_the_log_reaches_a_script() -> None:
    texts = [
        f"SELECT * FROM people WHERE email = '{name}@example.org' AND born > '1980-02-0{n}' AND x = $${name}$$"  # noqa: E501 - as it is logged
        for n, name in enumerate(("anna", "berta", "carla"), 1)
    ]
    text = script(*(transaction(one) for one in texts), schema=None)
    assert not any(word in text for word in ("anna", "berta", "carla", "example.org", "1980"))
    assert "'2000-01-01'" in text


def test_numbers_outside_of_comparisons_keep_their_type() -> None:
    text = script(*(transaction(f"SELECT * FROM generate_series(1, {n})") for n in (5, 9)), schema=None)
    assert "generate_series(1, :value::integer)" in text
    assert r"\set value random(5, 9)" in text


def test_a_second_insert_of_new_rows_is_left_out_for_one_row_is_drawn_a_transaction() -> None:
    text = script(
        *(
            transaction(
                "BEGIN",
                f"INSERT INTO orders (id, note) VALUES ({n}, 'a')",
                f"INSERT INTO orders (id, note) VALUES ({n + 50}, 'b')",
                "COMMIT",
            )
            for n in (1, 2, 3)
        )
    )
    assert text.count("INSERT INTO orders") == 1
    assert "Left out: 1 more INSERTs" in text


def test_rolled_back_transactions_are_dropped_and_counted() -> None:
    tally = Tally()
    gone = LoggedTransaction("s", (LoggedStatement(0, 0, "SELECT 1"),), Ending.ROLLED_BACK)
    mix = distil([gone, transaction("SELECT 1")], tally)
    assert mix.transactions == 1
    assert tally.left_out == {"transactions that were rolled back": 1}


def test_slices_and_casts_are_not_taken_for_variables_of_the_script() -> None:
    text = script(transaction("SELECT a[lo:hi], b::text FROM t WHERE c = 5"), schema=None)
    assert parse_script(ScriptSource("x", text)).sql[0].names == ("c",)


def test_several_new_rows_at_once_cannot_be_drawn() -> None:
    mix = distil([transaction("INSERT INTO orders (id, note) VALUES (1, 'a'), (2, 'b')")], Tally())
    made = script_of(next(iter(mix.groups.values())), "origin", SCHEMA, None)
    assert isinstance(made, Unusable)
    assert "several new rows" in made.reason


def test_the_share_of_reads_and_hot_tables_are_as_the_user_says() -> None:
    plain = infer_scripts(SCHEMA, read_share=0.5, hot={})
    hot = infer_scripts(SCHEMA, read_share=0.5, hot=hot_tables(["orders=10"]))
    for written in (plain, hot):
        scripts = [parse_script(ScriptSource(one.name, one.text, one.count)) for one in written.drafts]
        reads = sum(one.weight for one in scripts if is_read(one))
        assert reads / sum(written.weights) == pytest.approx(0.5, abs=0.01)
    weights = {one.name: one.count for one in hot.drafts}
    assert weights["read_orders_by_pk"] == pytest.approx(10 * weights["read_customers_by_pk"], rel=0.1)
    with pytest.raises(InputError, match="no such table"):
        infer_scripts(SCHEMA, read_share=None, hot={"ordes": 5})


def test_settings_alone_are_no_transaction_of_an_application() -> None:
    tally = Tally()
    alone = ("BEGIN", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM pg_class", "COMMIT")
    with_text = ("BEGIN", "SET LOCAL lock_timeout = '5s'", "SELECT id FROM orders", "COMMIT")
    mix = distil([transaction(*alone), transaction(*with_text)], tally)
    (group,) = mix.groups.values()
    assert [step.shape.text for step in group.steps] == ["BEGIN", "SELECT id FROM orders", "COMMIT"]
    assert tally.left_out == {"statements that read the system's own tables": 1, "SET statements": 1}


@pytest.mark.parametrize(
    ("text", "own", "left_out"),
    [
        ("SELECT o.id FROM orders o JOIN pg_timezone_names z ON z.name = o.zone", {"orders"}, False),
        ("SELECT pg_catalog.count(*) FROM orders", set(), False),
        ("SELECT app_touch($1::pg_catalog.int4)", set(), False),
        ("INSERT INTO audit SELECT usename FROM pg_stat_activity", set(), False),
        ("SELECT 1 FROM information_schema.tables WHERE table_name = $1", {"tables"}, True),
        ("SELECT note FROM orders WHERE note = 'pg_class'", set(), False),
    ],
)
def test_only_what_is_about_the_server_alone_is_left_out(text: str, own: set[str], left_out: bool) -> None:
    assert bool(distil([transaction(text)], Tally(), frozenset(own)).groups) is not left_out
