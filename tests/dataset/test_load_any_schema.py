"""Schemas that nobody thought of: they load without a violation, or are refused by a DatasetError."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from rehearse.dataset.load import load
from rehearse.dataset.plan import plan_dataset
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import Schema
from rehearse.model.target import Target

NAMES = st.sampled_from(
    [
        "id",
        "Id",
        "order",
        "a b",
        'q"uote',
        "dot.ted",
        "straße",
        "%s",
        "{x}",
        "created_at",
        "email",
        "status",
        "x",
        "user",
        "n" * 63,
        "ü" * 31,
        "名前",
        "tab\tnew\nline",
        "back\\slash",
        "'",
        "parent_id",
        "price",
    ]
)
KEYABLE = [
    "int",
    "bigint",
    "smallint",
    "uuid",
    "text",
    "varchar(6)",
    "char(3)",
    "date",
    "timestamptz",
    "numeric(8,2)",
    "bool",
    "inet",
    "numeric(3,0)",
    "real",
    "interval",
    "timestamp(3)",
    "time(0)",
    "macaddr",
    "cidr",
    "citext",
    "mail_address",
    "mood",
    "bytea",
    "money",
    "varbit(12)",
]
KEY_TYPES = st.sampled_from(KEYABLE)
ANY_TYPE = KEY_TYPES | st.sampled_from(
    [
        "jsonb",
        "text[]",
        "int4range",
        "mood",
        "positive",
        "bit(3)",
        "interval[]",
        "interval year to month",
        "point",
        "pair",
        "pair[]",
        "mood[]",
        "mail_address[]",
        "numeric(2,4)",
        "numeric(5,-2)",
        "tstzrange",
        "nummultirange",
        "tsvector",
        "jsonpath",
        "hstore",
        "ltree",
        "lquery",
        "ltxtquery",
        "xml",
        "timetz",
        "small_positive",
        "double precision[]",
    ]
)
SELF = "<this table>"
PIECES = {
    "int": ("RANGE", ["FROM (1) TO (500)", "FROM (500) TO (1000)"]),
    "date": ("RANGE", ["FROM ('2023-01-01') TO ('2024-01-01')"]),
    "text": ("LIST", ["IN ('a', 'b')", "IN ('c')"]),
    "mood": ("LIST", ["IN ('sad')", "IN ('ok', 'happy')"]),
    "uuid": ("HASH", ["WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"]),
}
CHECKS = {
    "int": ["{} > 10", "{} IN (1, 2, 3)", "{} BETWEEN 5 AND 5000", "{} % 3 = 1", "{} < 0"],
    "text": ["{} <> ''", "length({}) >= 8", "{} ~ '^[a-f]+$'", "{} = upper({})", "{} LIKE 'a_%'"],
    "varchar(6)": ["{} ~ '^[A-Z][0-9]{{3}}$'", "char_length({}) BETWEEN 2 AND 3"],
    "date": ["{} > '2030-01-01'", "{} < now()"],
    "bigint": ["{} NOT IN (1, 2, 3)", "{} > 9000000000", "abs({}) < 100", "{} IS NULL OR {} > 5"],
    "citext": ["{} ~ '^[a-z]{{3}}$'", "{} IN ('a', 'b')"],
    "text[]": ["cardinality({}) > 0", "array_length({}, 1) <= 2"],
    "inet": ["family({}) = 4"],
    "interval": ["{} > '0' AND {} < '2 days'"],
    "real": ["{} BETWEEN 0 AND 1"],
    "mood": ["{} <> 'sad'"],
    "bytea": ["octet_length({}) = 20", "length({}) <= 8"],
    "jsonb": ["jsonb_typeof({}) = 'array'", "{} ? 'id'"],
    "numeric(8,2)": ["{} >= 0.5 AND {} < 20", "{} <> 0"],
}
PRELUDE = """
DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text); CREATE DOMAIN small_positive AS positive CHECK (VALUE < 100);
CREATE EXTENSION IF NOT EXISTS citext SCHEMA public; CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
CREATE EXTENSION IF NOT EXISTS ltree SCHEMA public;
CREATE DOMAIN mail_address AS citext CHECK (VALUE ~ '^[a-z0-9.]+@[a-z.]+$');
DROP SCHEMA IF EXISTS "Other one" CASCADE; CREATE SCHEMA "Other one";
"""


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Made:
    """A table as far as later ones need to know it."""

    name: str
    types: dict[str, str]
    keys: tuple[tuple[str, ...], ...]


def listed(columns: tuple[str, ...]) -> str:
    return ", ".join(map(quote, columns))


@st.composite
def tables(draw: st.DrawFn, name: str, earlier: list[Made]) -> tuple[str, Made]:
    columns = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    types = {column: draw(ANY_TYPE) for column in columns}
    parents = draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
    clauses = [draw(references(parent, columns, types)) for parent in parents if parent.keys]
    keyable = [column for column in columns if types[column] in KEYABLE]
    keys: dict[frozenset[str], tuple[str, ...]] = {}
    for _ in range(draw(st.integers(0, 2)) if keyable else 0):
        key = draw(st.lists(st.sampled_from(keyable), min_size=1, max_size=3, unique=True))
        keys.setdefault(frozenset(key), tuple(key))
    words = ["PRIMARY KEY", "UNIQUE"]
    clauses += [f"{word} ({listed(key)})" for word, key in zip(words, keys.values(), strict=False)]
    made = Made(SELF, types, tuple(keys.values()))
    if draw(st.booleans()) and keys:
        clauses.append(draw(references(made, [], types, columns)))
    clauses += draw(checks(types))
    definitions = [f"{quote(c)} {types[c]}{' NOT NULL' if draw(st.booleans()) else ''}" for c in types]
    definitions += draw(generated(types))
    tail = draw(partitions(types, made, len(earlier))) if draw(st.integers(0, 4)) == 0 else ";"
    place = '"Other one".' if draw(st.integers(0, 4)) == 0 else ""
    made = Made(place + quote(name), types, made.keys)
    clauses = [clause.replace(SELF, made.name) for clause in clauses]
    return f"CREATE TABLE {made.name} ({', '.join([*definitions, *clauses])}){tail}".replace(
        SELF, made.name
    ), made


@st.composite
def generated(draw: st.DrawFn, types: dict[str, str]) -> list[str]:
    """Now and then a column that the server computes."""
    numbers = [column for column in types if types[column] in {"int", "smallint"}]
    if not numbers or draw(st.integers(0, 2)):
        return []
    return [f"computed bigint GENERATED ALWAYS AS ({quote(numbers[0])}::bigint * 2) STORED"]


@st.composite
def partitions(draw: st.DrawFn, types: dict[str, str], made: Made, number: int) -> str:
    """A partitioned table, where its keys allow it: they have to hold the partition key."""
    fitting = [c for c in types if types[c] in PIECES and all(c in key for key in made.keys)]
    if not fitting:
        return ";"
    column = draw(st.sampled_from(fitting))
    method, bounds = PIECES[types[column]]
    leaves = [
        f"CREATE TABLE public.leaf_{number}_{n} PARTITION OF {SELF} FOR VALUES {bound};"
        for n, bound in enumerate(bounds)
    ]
    return f" PARTITION BY {method} ({quote(column)}); " + " ".join(leaves)


@st.composite
def checks(draw: st.DrawFn, types: dict[str, str]) -> list[str]:
    chosen = [column for column in types if types[column] in CHECKS and draw(st.integers(0, 3)) == 0]
    conditions = [draw(st.sampled_from(CHECKS[types[c]])).format(*[quote(c)] * 2) for c in chosen]
    numbers = [column for column in types if types[column] == "int"]
    if draw(st.booleans()) and len(numbers) > 1:
        conditions.append(f"{quote(numbers[0])} < {quote(numbers[1])}")
    return [f"CHECK ({condition})" for condition in conditions]


@st.composite
def references(
    draw: st.DrawFn, parent: Made, columns: list[str], types: dict[str, str], among: list[str] | None = None
) -> str:
    """A foreign key to `parent`: from columns of the table that fit, or from new ones."""
    key = draw(st.sampled_from(parent.keys))
    mine = []
    for column in key:
        fitting = [c for c in (among or columns) if types[c] == parent.types[column] and c not in mine]
        if draw(st.booleans()) and fitting:
            mine.append(draw(st.sampled_from(fitting)))
        else:
            new = f"ref{len(types)}"
            types[new] = parent.types[column]
            columns.append(new)
            mine.append(new)
    return f"FOREIGN KEY ({listed(tuple(mine))}) REFERENCES {parent.name} ({listed(key)})"


@st.composite
def schemas(draw: st.DrawFn) -> str:
    made: list[Made] = []
    statements = [PRELUDE]
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        sql, table = draw(tables(name, list(made)))
        statements.append(sql)
        made.append(table)
    if len(made) > 1 and made[-1].keys and draw(st.booleans()):
        # the first table refers to the last one, which may refer to it
        columns: list[str] = []
        types: dict[str, str] = {}
        clause = draw(references(made[-1], columns, types))
        added = [f"ADD {quote('back_' + c)} {types[c]}" for c in columns]
        for column in columns:
            clause = clause.replace(f"KEY ({quote(column)}", f"KEY ({quote('back_' + column)}")
            clause = clause.replace(f", {quote(column)}", f", {quote('back_' + column)}", 1)
        statements.append(f"ALTER TABLE {made[0].name} {', '.join([*added, f'ADD {clause}'])};")
    return "\n".join(statements)


def relation_in(text: str, schema: Schema) -> Relation:
    """The table that a refusal names."""
    return next(table.relation for table in schema.tables if str(table.relation) in text)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas(), rows=st.sampled_from([1, 40, 700]))
def test_any_schema_loads_or_is_refused(database: Target, schema: str, rows: int) -> None:
    with connect(database, "rehearse") as connection:
        connection.execute(schema)
        before = introspect(connection)
        refusal = None
        try:
            plan = plan_dataset(before, None, RowCounts(rows), touched=frozenset(), loaded={}, seed=9)
            load(database, plan, on_progress=lambda _: None)
        except DatasetError as error:
            refusal = error
        if refusal is not None:
            event("refused")
            assert str(relation_in(refusal.what, before))
            return
        event("loaded")
        for relation, count in plan.rows.items():
            name = f"{quote(relation.schema)}.{quote(relation.name)}"
            assert connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() == (count,)
        assert introspect(connection) == before
