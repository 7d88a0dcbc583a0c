"""What a scenario says about columns and tables, on a real server: met, or refused with a reason."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearse.dataset.bloat import wear
from rehearse.dataset.fresh import fresh_pool
from rehearse.dataset.generators import Wishes
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.load import load
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.probe import check_samples
from rehearse.dataset.recipe import DatasetPlan
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError
from rehearse.model import generation as said
from rehearse.model.generation import ChildrenSpec, ColumnSpec, TableSpec
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatasetSpec, RowCounts
from rehearse.model.schema import Schema
from rehearse.model.target import Target
from rehearse.provision import Server
from rehearse.scenario.load import load_scenario

SQL = """
CREATE TYPE status AS ENUM ('open', 'paid', 'void');
CREATE DOMAIN percentage AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE customers (
    id bigserial PRIMARY KEY, name text NOT NULL, code varchar(12) UNIQUE, city text, score percentage,
    lead_id int
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers,
    status status NOT NULL, total numeric(10, 2) CHECK (total > 0), tax numeric(10, 2),
    created_at timestamptz NOT NULL, paid_at timestamptz, invoice text UNIQUE, qty int CHECK (qty < 50),
    note text, ratio float8, "Odd ""name" date, doubled int GENERATED ALWAYS AS (qty * 2) STORED,
    CONSTRAINT paid_later CHECK (paid_at >= created_at)
);
CREATE TABLE lines (order_id bigint REFERENCES orders, line int, PRIMARY KEY (order_id, line));
CREATE TABLE visits (
    id int PRIMARY KEY, customer_id bigint REFERENCES customers, order_id bigint REFERENCES orders, at date,
    UNIQUE (customer_id, order_id), UNIQUE (order_id, id)
);
CREATE TABLE seats (
    order_id bigint REFERENCES orders, line int, seat smallint, PRIMARY KEY (order_id, line, seat)
);
"""
COLUMNS = (
    ColumnSpec("customers.name", said.FakerWords("company")),
    ColumnSpec("customers.code", said.Sequence(1000, 5)),
    ColumnSpec("customers.score", said.Uniform(10, 20)),
    ColumnSpec("orders.status", said.WeightedValues((("open", 70), ("paid", 25), ("void", 5)))),
    ColumnSpec("orders.total", said.Lognormal(50, 1, 0.01, 2000)),
    ColumnSpec("orders.tax", said.Computed("round(total * 0.19, 2)")),
    ColumnSpec("orders.created_at", said.Uniform("2024-01-01", "2024-12-31")),
    ColumnSpec("orders.invoice", said.Pattern("INV-[0-9]{8}")),
    ColumnSpec("orders.qty", said.Zipf(1.2, 40, 1)),
    ColumnSpec("orders.note", said.Width(100, 300), null_fraction=0.35),
    ColumnSpec("orders.ratio", said.Normal(0.5, 0.1, 0, 1), correlated_with="total", correlation=0.8),
    ColumnSpec('public.orders.Odd "name', null_fraction=0.0),
)
TABLES = (
    TableSpec("orders", (ChildrenSpec("customers", mean=6, hot_fraction=0.02, hot_share=0.5),), 0.25),
    TableSpec("lines", (ChildrenSpec("orders", mean=0.25, hot_fraction=0.01, hot_share=0.4),)),
    TableSpec("visits", (ChildrenSpec("customers", mean=1.5, shape="zipf", exponent=0.7),)),
)
ORDERS = Relation("public", "orders")


def spec(
    columns: tuple[ColumnSpec, ...] = (), tables: tuple[TableSpec, ...] = (), locale: str = "en_US"
) -> DatasetSpec:
    return DatasetSpec(SqlFile("s.sql", SQL), RowCounts(2000), (), 3, columns, tables, locale)


def planned(schema: Schema, wishes: Wishes) -> DatasetPlan:
    rows = RowCounts(2000)
    return plan_dataset(schema, None, rows, touched=frozenset(), loaded={}, seed=3, wishes=wishes)


@dataclass
class Loaded:
    """A database that was loaded as the scenario says."""

    target: Target
    schema: Schema
    rows: int
    plan: DatasetPlan

    def ask(self, query: str) -> list[float]:
        with connect(self.target, "rehearse") as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return [float(value) for value in row]


@pytest.fixture(scope="module")
def loaded(server: Server) -> Iterator[Loaded]:
    name = "described"
    create_database(server.target, name)
    try:
        target = server.target.on(name)
        with connect(target, "rehearse") as connection:
            connection.execute(SQL)
            schema = introspect(connection)
        wishes = wishes_of(spec(COLUMNS, TABLES, "de_DE"), schema)
        plan = planned(schema, wishes)
        facts = load(target, plan, on_progress=lambda _: None)
        wear(target, wishes.dead, 3)
        yield Loaded(target, schema, facts.rows, plan)
    finally:
        drop_database(server.target, name)


def test_columns_hold_what_was_said(loaded: Loaded) -> None:
    assert loaded.ask(
        "SELECT avg((status = 'open')::int), avg((status = 'void')::int) FROM orders"
    ) == pytest.approx([0.70, 0.05], abs=0.015)
    low, high, median = loaded.ask(
        "SELECT min(total), max(total), percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders"
    )
    assert 0 < low < high <= 2000
    assert median == pytest.approx(50 / 2.718281828**0.5, rel=0.05)
    assert loaded.ask("SELECT count(*) FROM orders WHERE abs(tax - round(total * 0.19, 2)) > 0.011") == [0]
    assert loaded.ask("SELECT avg((note IS NULL)::int), avg(length(note)) FROM orders") == pytest.approx(
        [0.35, 100], rel=0.04
    )
    assert loaded.ask(
        'SELECT count(*) FROM orders WHERE invoice !~ \'^INV-[0-9]{8}$\' OR "Odd ""name" IS NULL'
    ) == [0]
    assert loaded.ask("SELECT corr(ratio, ln(total)), min(ratio), max(ratio) FROM orders")[
        0
    ] == pytest.approx(0.8, abs=0.04)
    codes = (
        "SELECT min(code::int), max(code::int), count(DISTINCT code), min(score), max(score) FROM customers"
    )
    assert loaded.ask(codes) == [1000, 1000 + 5 * 1999, 2000, 10, 20]


def test_what_follows_another_column_follows_the_one_described(loaded: Loaded) -> None:
    assert loaded.ask(
        "SELECT extract(year FROM min(created_at)), extract(year FROM max(created_at)),"
        " count(*) FILTER (WHERE paid_at < created_at) FROM orders"
    ) == [2024, 2024, 0]


def test_children_are_shared_out_over_their_parents(loaded: Loaded) -> None:
    busiest = "SELECT count(*) AS n FROM orders GROUP BY customer_id ORDER BY 1 DESC LIMIT 40"
    assert loaded.ask("SELECT count(*) FROM orders") == [12_000]
    assert loaded.ask(f"SELECT sum(n) / 12000 FROM ({busiest}) AS b") == pytest.approx([0.51], abs=0.03)


def test_children_within_a_key_are_shared_out_and_told_apart(loaded: Loaded) -> None:
    # the keys hold, or the load would have failed: by a column of its own, and by another reference
    busiest = "SELECT count(*) AS n FROM lines GROUP BY order_id ORDER BY 1 DESC LIMIT 120"
    assert loaded.ask("SELECT count(*), count(DISTINCT (order_id, line)) FROM lines") == [3000, 3000]
    assert loaded.ask(f"SELECT sum(n) / 3000 FROM ({busiest}) AS b") == pytest.approx([0.4], abs=0.03)
    zipf = "SELECT count(*) AS n FROM visits GROUP BY customer_id ORDER BY 1 DESC LIMIT 20"
    weights = [rank**-0.7 for rank in range(1, 2001)]
    assert loaded.ask(f"SELECT count(*), sum(n) / 3000 FROM visits, ({zipf}) AS b")[1] / 3000 == (
        pytest.approx(sum(weights[:20]) / sum(weights), abs=0.02)
    )
    # rows that are inserted later are told apart from these, too
    pool = fresh_pool(loaded.plan, Relation("public", "lines"), ["order_id", "line"], 500, "lines")
    with connect(loaded.target, "rehearse", autocommit=False) as connection:
        for row in zip(*pool.columns.values(), strict=True):
            connection.execute(
                "INSERT INTO lines VALUES (%s, %s)", [value and value.decode() for value in row]
            )
        connection.rollback()
    assert pool.rows == 500


def test_children_that_a_key_has_no_room_for_are_refused(loaded: Loaded) -> None:
    tables = (TableSpec("visits", (ChildrenSpec("customers", mean=5, hot_fraction=1e-9, hot_share=0.999),)),)
    with pytest.raises(
        DatasetError, match=r"the busiest of customers would have .*visits_customer_id_order_id"
    ):
        planned(loaded.schema, wishes_of(spec((), tables), loaded.schema))


def test_a_share_of_row_versions_is_dead(loaded: Loaded) -> None:
    with connect(loaded.target, "rehearse") as connection:
        connection.execute("CREATE EXTENSION pgstattuple")
    # whoever reads a page may clear it of dead versions: the room that they leave stays
    empty, whole = loaded.ask("SELECT dead_tuple_len + free_space, table_len FROM pgstattuple('orders')")
    assert empty / whole == pytest.approx(0.25, abs=0.05)
    # a session's counts are there when its process has ended
    updated, until = [0.0], time.monotonic() + 60
    while updated == [0.0] and time.monotonic() < until:
        updated = loaded.ask("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'orders'")
        time.sleep(0.05)
    assert updated == pytest.approx([4000], rel=0.05)


COLUMN_ERRORS: list[tuple[ColumnSpec, str]] = [
    (ColumnSpec("ordrs.status", said.Pattern("x")), "does not have: ordrs; did you mean orders"),
    (ColumnSpec("orders.stats", said.Pattern("x")), "orders has no column stats; did you mean status"),
    (ColumnSpec("status", said.Pattern("x")), "write table.column"),
    (ColumnSpec("orders.doubled", said.Uniform(1, 2)), "computed by the server"),
    (
        ColumnSpec("orders.status", said.WeightedValues((("opened", 1.0),))),
        "orders.status.*the enum public.status",
    ),
    (ColumnSpec("orders.status", null_fraction=0.1), "orders.status.*NOT NULL"),
    (ColumnSpec("orders.id", null_fraction=0.1), "primary key orders_pkey"),
    (ColumnSpec("customers.code", said.Pattern("[a-z]{20}")), r"customers.code.*character varying\(12\)"),
    (ColumnSpec("customers.code", said.Pattern("[a-z]")), "customers_code_key.*at most 26"),
    (ColumnSpec("customers.code", said.Zipf(1.0, 5)), "customers_code_key"),
    (ColumnSpec("customers.score", said.Uniform(1, 500)), "customers.score.*domain public.percentage"),
    (ColumnSpec("orders.total", said.Uniform(-5, 5)), "orders.total.*orders_total_check"),
    (ColumnSpec("orders.qty", said.WeightedValues((("60", 1.0),))), "orders.qty.*'60'.*orders_qty_check"),
    (
        ColumnSpec("orders.qty", said.Computed("total * 100")),
        "orders_qty_check.*mend .dataset.columns. for qty",
    ),
    (ColumnSpec("orders.ratio", said.FakerWords("company")), "orders.ratio.*double precision"),
    (ColumnSpec("orders.customer_id", said.Uniform(1, 5)), "orders_customer_id_fkey.*say children"),
    (ColumnSpec("orders.ratio", correlated_with="totl"), "did you mean total"),
]
TABLE_ERRORS: list[tuple[TableSpec, str]] = [
    (TableSpec("ordrs"), "did you mean orders"),
    (TableSpec("orders", (ChildrenSpec("customrs"),)), "did you mean customers"),
    (TableSpec("customers", (ChildrenSpec("orders"),)), "does not refer to"),
    (TableSpec("seats", (ChildrenSpec("orders"),)), "seats_pkey"),
]


@pytest.mark.parametrize(("column", "message"), COLUMN_ERRORS, ids=lambda part: getattr(part, "column", None))
def test_what_contradicts_a_constraint_is_refused_by_name(
    loaded: Loaded, column: ColumnSpec, message: str
) -> None:
    def plan_and_check() -> None:
        plan = planned(loaded.schema, wishes_of(spec((column,)), loaded.schema))
        with connect(loaded.target, "rehearse") as connection:
            check_samples(connection, plan, loaded.schema)

    with pytest.raises(DatasetError, match=message):
        plan_and_check()


@pytest.mark.parametrize(("table", "message"), TABLE_ERRORS)
def test_tables_that_do_not_fit_are_refused_by_name(loaded: Loaded, table: TableSpec, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        wishes_of(spec((), (table,)), loaded.schema)


def test_columns_may_not_depend_on_one_another_in_a_circle(loaded: Loaded) -> None:
    columns = (
        ColumnSpec("orders.total", said.Computed("tax * 5")),
        ColumnSpec("orders.tax", said.Computed("total / 5")),
    )
    with pytest.raises(DatasetError, match="depend on each other"):
        wishes_of(spec(columns), loaded.schema)


def test_tables_of_a_seed_file_cannot_be_described(loaded: Loaded) -> None:
    with pytest.raises(DatasetError, match="seed file"):
        wishes_of(spec((ColumnSpec("orders.ratio", said.Uniform(0, 1)),)), loaded.schema, [ORDERS])


def test_the_locale_decides_the_words(loaded: Loaded) -> None:
    with pytest.raises(DatasetError, match="did you mean de_DE"):
        wishes_of(spec(locale="de_D"), loaded.schema)
    with connect(loaded.target, "rehearse") as connection:
        cities = {row[0] for row in connection.execute("SELECT DISTINCT city FROM customers").fetchall()}
    assert cities & {"Berlin", "Hamburg", "Leipziger Land", "Stade", "Wolgast", "Uelzen"}


ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/data.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "dataset.columns" in e or "dataset.tables" in e])
def test_the_examples_of_the_documentation_fit_the_shop(
    example: str, database: Target, tmp_path: Path
) -> None:
    shop = ROOT / "datasets/shop/schema.sql"
    example = example.replace("datasets/shop/schema.sql", str(shop))
    if "[dataset]" not in example:
        example += f'[dataset]\nschema = "{shop}"\n'
    (tmp_path / "s.toml").write_text(example + '[migration]\nup = "up.sql"\n')
    (tmp_path / "up.sql").write_text("SELECT 1;")
    dataset = load_scenario(tmp_path / "s.toml").dataset
    with connect(database, "rehearse") as connection:
        execute_file(connection, dataset.schema)
        schema = introspect(connection)
        plan = planned(schema, wishes_of(dataset, schema))
        check_samples(connection, plan, schema)
