"""Every type, shape of key and kind of table that PostgreSQL has, loaded into a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from rehearse.dataset.recipe import DatasetPlan
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation

Connection = psycopg.Connection[tuple[Any, ...]]
Fill = Callable[..., DatasetPlan]

EVERY_TYPE = """
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION btree_gist;
CREATE EXTENSION vector; CREATE EXTENSION cube; CREATE EXTENSION isn;
CREATE SCHEMA "odd "".schema";
CREATE TYPE mood AS ENUM ('sad', 'so, so', 'hap"py');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN small AS positive CHECK (VALUE < 100);
CREATE DOMAIN "Postal Code" AS varchar(10) NOT NULL CHECK (VALUE ~ '^[0-9]{5}$');
CREATE TYPE pair AS (a int, b text, c mood);
CREATE TYPE floatrange AS RANGE (subtype = float8);
CREATE TABLE "odd "".schema"."Täble of ,all" (
    id bigserial PRIMARY KEY,
    c_int2 int2 NOT NULL, c_int4 int4 NOT NULL, c_int8 int8 NOT NULL,
    c_numeric numeric NOT NULL, c_numeric2 numeric(6,2) NOT NULL, c_numeric3 numeric(3,3) NOT NULL,
    c_real real NOT NULL, c_double float8 NOT NULL, c_money money NOT NULL,
    c_bool bool NOT NULL, c_char char(7) NOT NULL, c_varchar varchar(3) NOT NULL, c_text text NOT NULL,
    c_name name NOT NULL, "c_""char" "char" NOT NULL, c_bytea bytea NOT NULL, c_uuid uuid NOT NULL,
    c_date date NOT NULL, c_time time(2) NOT NULL, c_timetz timetz NOT NULL,
    c_timestamp timestamp NOT NULL, c_timestamptz timestamptz(3) NOT NULL, c_interval interval NOT NULL,
    c_json json NOT NULL, c_jsonb jsonb NOT NULL, c_xml xml, c_jsonpath jsonpath NOT NULL,
    c_inet inet NOT NULL, c_cidr cidr NOT NULL, c_mac macaddr NOT NULL, c_mac8 macaddr8 NOT NULL,
    c_bit bit(5) NOT NULL, c_varbit varbit(9) NOT NULL, c_bit1 bit NOT NULL,
    c_point point NOT NULL, c_line line NOT NULL, c_lseg lseg NOT NULL, c_box box NOT NULL,
    c_path path NOT NULL, c_polygon polygon NOT NULL, c_circle circle NOT NULL,
    c_tsvector tsvector NOT NULL, c_tsquery tsquery NOT NULL, c_oid oid NOT NULL, c_xid xid NOT NULL,
    c_xid8 xid8 NOT NULL, c_cid cid NOT NULL, c_tid tid NOT NULL, c_lsn pg_lsn NOT NULL,
    c_regclass regclass NOT NULL, c_regtype regtype NOT NULL, c_regproc regproc NOT NULL,
    c_snapshot pg_snapshot NOT NULL, c_txid txid_snapshot NOT NULL, c_oidvector oidvector NOT NULL,
    c_mood mood NOT NULL, c_small small NOT NULL, c_postal "Postal Code", c_pair pair NOT NULL,
    c_int4range int4range NOT NULL, c_int8range int8range NOT NULL, c_numrange numrange NOT NULL,
    c_daterange daterange NOT NULL, c_tsrange tsrange NOT NULL, c_tstzrange tstzrange NOT NULL,
    c_floatrange floatrange NOT NULL, c_multirange int4multirange NOT NULL, c_tzmulti tstzmultirange NOT NULL,
    c_ints int[] NOT NULL, c_texts text[] NOT NULL, c_moods mood[] NOT NULL, c_pairs pair[] NOT NULL,
    c_stamps timestamptz[] NOT NULL, c_jsons jsonb[] NOT NULL, c_ranges daterange[] NOT NULL,
    c_citext citext NOT NULL, c_hstore hstore NOT NULL, c_ltree ltree NOT NULL, c_vector vector(3) NOT NULL,
    c_cube cube NOT NULL, c_lquery lquery NOT NULL, c_ltxtquery ltxtquery NOT NULL,
    c_sparse sparsevec(9) NOT NULL, c_upc upc NOT NULL UNIQUE,
    c_ean ean13 NOT NULL UNIQUE, c_isbn isbn NOT NULL UNIQUE, c_isbn13 isbn13 NOT NULL, c_issn issn NOT NULL,
    c_issn13 issn13 NOT NULL UNIQUE, c_ismn ismn NOT NULL, c_ismn13 ismn13 NOT NULL,
    c_stored int GENERATED ALWAYS AS (c_int4 * 2) STORED, c_virtual int GENERATED ALWAYS AS (c_int4 + 1)
);
"""


def test_every_type_is_filled_and_valid(fill: Fill, connection: Connection) -> None:
    plan = fill(EVERY_TYPE, 500)
    assert not plan.notes
    row = connection.execute('SELECT count(*) FROM "odd "".schema"."Täble of ,all"').fetchone()
    assert row == (500,)


UNKNOWN_TYPE = """
CREATE TYPE odd;
CREATE FUNCTION odd_in(cstring) RETURNS odd LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION odd_out(odd) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = text);
CREATE TABLE t (id int PRIMARY KEY, a odd, b odd NOT NULL DEFAULT 'x');
"""


def test_unknown_type_is_null_or_default_or_refused(fill: Fill, connection: Connection) -> None:
    plan = fill(UNKNOWN_TYPE, 10)
    assert connection.execute("SELECT count(*), count(a), count(b) FROM t").fetchone() == (10, 0, 10)
    assert len(plan.notes) == 2
    with pytest.raises(DatasetError, match=r"u\.c: no values of type public\.odd"):
        fill("CREATE TABLE u (id int, c odd NOT NULL)", 10)


ODD_FORMS = """
CREATE EXTENSION citext;
CREATE DOMAIN address AS citext CHECK (VALUE ~ '^[a-z]+@[a-z]+[.]com$') NOT NULL;
CREATE TABLE parents (id bigserial PRIMARY KEY);
CREATE TABLE forms (
    boxes box[] NOT NULL, terms interval year to month NOT NULL UNIQUE, days interval day NOT NULL UNIQUE,
    years interval year NOT NULL, hours interval day to hour NOT NULL UNIQUE,
    hundreds numeric(5, -2) NOT NULL UNIQUE,
    mail address UNIQUE, parent_id bigint NOT NULL REFERENCES parents CHECK (parent_id < 50)
);
CREATE TABLE pieces (parent_id bigint NOT NULL REFERENCES parents) PARTITION BY RANGE (parent_id);
CREATE TABLE first_piece PARTITION OF pieces FOR VALUES FROM (1) TO (20);
CREATE TABLE second_piece PARTITION OF pieces FOR VALUES FROM (20) TO (90);
CREATE TABLE late (parent_id bigint NOT NULL UNIQUE REFERENCES parents CHECK (parent_id BETWEEN 60 AND 180));
CREATE TABLE gaps (parent_id bigint NOT NULL REFERENCES parents) PARTITION BY RANGE (parent_id);
CREATE TABLE gap_1 PARTITION OF gaps FOR VALUES FROM (10) TO (30);
CREATE TABLE gap_2 PARTITION OF gaps FOR VALUES FROM (100) TO (200);
CREATE TABLE half (v int NOT NULL, w int) PARTITION BY HASH (v);
CREATE TABLE half_1 PARTITION OF half FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE half_2 PARTITION OF half FOR VALUES WITH (MODULUS 2, REMAINDER 0);
"""


def test_what_the_server_rounds_or_binds_is_met_all_the_same(fill: Fill, connection: Connection) -> None:
    fill(ODD_FORMS, 200)
    row = connection.execute("SELECT count(*), max(parent_id) < 50, min(days) > '0' FROM forms").fetchone()
    assert row == (200, True, True)
    assert connection.execute("SELECT count(*) > 10 FROM second_piece").fetchone() == (True,)
    late = connection.execute("SELECT min(parent_id), max(parent_id), count(*) FROM late").fetchone()
    assert late == (60, 180, 121)
    assert connection.execute("SELECT count(*) FROM gap_2").fetchone() == (200,)
    assert connection.execute("SELECT count(*) > 10 FROM half_1").fetchone() == (True,)


def test_references_that_no_bound_allows_are_refused_before_the_load(fill: Fill) -> None:
    schema = """
    CREATE TABLE regions (id int PRIMARY KEY, code text NOT NULL UNIQUE CHECK (code IN ('eu', 'us', 'ap')));
    CREATE TABLE t (code text NOT NULL REFERENCES regions (code)) PARTITION BY LIST (code);
    CREATE TABLE t1 PARTITION OF t FOR VALUES IN ('eu');
    """
    with pytest.raises(DatasetError, match=r't: no generated row satisfies "partition bounds" \(code\)'):
        fill(schema, regions=3, t=100)


KEYS = """
CREATE TABLE customers (id int PRIMARY KEY, code char(4) UNIQUE, email text);
CREATE UNIQUE INDEX ON customers (lower(email));
CREATE TABLE products (id uuid PRIMARY KEY, sku varchar(12) UNIQUE NOT NULL);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100) PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customers, slot smallint NOT NULL, day date NOT NULL,
    parent_id bigint REFERENCES orders, UNIQUE (customer_id, slot), UNIQUE (day, customer_id));
CREATE TABLE items (order_id bigint REFERENCES orders, product_id uuid REFERENCES products,
    flag bool NOT NULL, PRIMARY KEY (order_id, product_id), UNIQUE (product_id, order_id, flag));
CREATE TABLE profiles (customer_id int PRIMARY KEY REFERENCES customers, bio text, at timestamptz UNIQUE);
CREATE TABLE settings (name text, kind bool, PRIMARY KEY (kind, name));
CREATE TABLE tags (labels text[] UNIQUE, body jsonb UNIQUE, at timestamp, during tstzrange UNIQUE);
"""


def test_keys_of_every_shape(fill: Fill, connection: Connection) -> None:
    plan = fill(KEYS, 3000)
    assert set(plan.rows.values()) == {3000}
    assert connection.execute("SELECT count(parent_id) > 1000 FROM orders").fetchone() == (True,)
    # realistic: a customer has several orders, an order's items are of different products
    row = connection.execute(
        "SELECT max(n) FROM (SELECT count(*) n FROM orders GROUP BY customer_id) x"
    ).fetchone()
    assert row is not None
    assert row[0] > 1


def test_sequences_go_on_after_the_loaded_rows(fill: Fill, connection: Connection) -> None:
    fill(
        """
        CREATE SEQUENCE shared;
        CREATE TABLE a (id serial PRIMARY KEY, b int);
        CREATE TABLE b (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int);
        CREATE TABLE c (id int DEFAULT nextval('shared') PRIMARY KEY, n int);
        CREATE TABLE d (id int GENERATED ALWAYS AS IDENTITY (START WITH 5000) PRIMARY KEY, n int);
        """,
        1000,
    )
    for table, expected in (("a", 1001), ("b", 1001), ("c", 1001), ("d", 5000)):
        row = connection.execute(f"INSERT INTO {table} DEFAULT VALUES RETURNING id").fetchone()
        assert row == (expected,), table


PARTITIONED = """
CREATE TABLE by_range (id bigint, at timestamptz NOT NULL, v text, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE r1 PARTITION OF by_range FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE r2 PARTITION OF by_range FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE by_list (id int PRIMARY KEY, n int, region text) PARTITION BY LIST (id);
CREATE TABLE l1 PARTITION OF by_list FOR VALUES IN (1, 2, 3);
CREATE TABLE l2 PARTITION OF by_list DEFAULT;
CREATE TABLE by_hash (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE h0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE h1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE nested (region text NOT NULL, day date NOT NULL, n int) PARTITION BY LIST (region);
CREATE TABLE n_eu PARTITION OF nested FOR VALUES IN ('eu', 'uk') PARTITION BY RANGE (day);
CREATE TABLE n_eu_1 PARTITION OF n_eu FOR VALUES FROM ('2023-01-01') TO ('2023-07-01');
CREATE TABLE n_us PARTITION OF nested FOR VALUES IN ('us') PARTITION BY RANGE (day);
CREATE TABLE n_us_1 PARTITION OF n_us FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
CREATE TABLE two (a int NOT NULL, b int NOT NULL) PARTITION BY RANGE (a, b);
CREATE TABLE two_1 PARTITION OF two FOR VALUES FROM (1, 10) TO (1, 20);
CREATE TABLE two_2 PARTITION OF two FOR VALUES FROM (1, 20) TO (5, MINVALUE);
CREATE TABLE expr (id int, at timestamptz NOT NULL) PARTITION BY RANGE (date_trunc('month', at, 'UTC'));
CREATE TABLE expr_1 PARTITION OF expr FOR VALUES FROM ('2024-01-01') TO ('2024-06-01');
CREATE TABLE child (id int PRIMARY KEY, r_id bigint, r_at timestamptz,
    FOREIGN KEY (r_id, r_at) REFERENCES by_range);
"""


def test_rows_of_partitioned_tables_find_their_partitions(fill: Fill, connection: Connection) -> None:
    plan = fill(PARTITIONED, 2000)
    assert set(plan.rows.values()) == {2000}
    assert connection.execute(
        "SELECT (SELECT count(*) FROM r1) > 500, (SELECT count(*) FROM r2) > 500"
    ).fetchone() == (
        True,
        True,
    )


def test_key_without_a_hash_partition_is_refused_before_anything_is_loaded(
    fill: Fill, connection: Connection
) -> None:
    schema = """
        CREATE TABLE sound (id int PRIMARY KEY);
        CREATE TABLE hashed (id int PRIMARY KEY) PARTITION BY HASH (id);
        CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)"""
    with pytest.raises(DatasetError, match=r"hashed: no generated row satisfies .partition bounds. \(id\)"):
        fill(schema, 500)
    assert connection.execute("SELECT count(*) FROM sound").fetchone() == (0,)


def test_table_without_partitions_gets_no_rows(fill: Fill) -> None:
    schema = "CREATE TABLE p (id int, at date) PARTITION BY RANGE (at)"
    plan = fill(schema, 10)
    assert plan.rows[Relation("public", "p")] == 0
    assert plan.notes


LINKED = """
CREATE TABLE a (id int PRIMARY KEY, b_id int NOT NULL);
CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b;
CREATE TABLE strict_tree (id int PRIMARY KEY, parent int NOT NULL REFERENCES strict_tree);
CREATE TABLE tenants (id uuid PRIMARY KEY);
CREATE TABLE customers (tenant uuid NOT NULL REFERENCES tenants, id int, boss int, PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, boss) REFERENCES customers);
CREATE TABLE products (tenant uuid NOT NULL REFERENCES tenants, id bigserial, UNIQUE (tenant, id));
CREATE TABLE sales (tenant uuid NOT NULL REFERENCES tenants, customer int NOT NULL, product bigint NOT NULL,
    PRIMARY KEY (tenant, customer, product),
    FOREIGN KEY (tenant, customer) REFERENCES customers,
    FOREIGN KEY (tenant, product) REFERENCES products (tenant, id));
CREATE TABLE lines (tenant uuid, customer int, product bigint, sale_customer int NOT NULL, n int,
    PRIMARY KEY (tenant, n), boss int, FOREIGN KEY (tenant, boss) REFERENCES lines,
    FOREIGN KEY (tenant, sale_customer) REFERENCES customers,
    FOREIGN KEY (tenant, customer, product) REFERENCES sales);
CREATE TABLE guests (org uuid, id int, host int, PRIMARY KEY (org, id),
    FOREIGN KEY (org, host) REFERENCES guests);
CREATE TABLE rooms (org uuid, id int, PRIMARY KEY (org, id));
CREATE TABLE stays (org uuid NOT NULL, id int, guest int NOT NULL, room int NOT NULL, after int,
    PRIMARY KEY (org, id), UNIQUE (guest, room, org), FOREIGN KEY (org, guest) REFERENCES guests,
    FOREIGN KEY (org, room) REFERENCES rooms, FOREIGN KEY (org, after) REFERENCES stays);
CREATE TABLE full_match (x int, y int, UNIQUE (x, y), id int PRIMARY KEY);
CREATE TABLE full_child (x int, y int, FOREIGN KEY (x, y) REFERENCES full_match (x, y) MATCH FULL);
CREATE TABLE base (id int PRIMARY KEY, v text NOT NULL);
CREATE TABLE derived (extra int NOT NULL, PRIMARY KEY (id)) INHERITS (base);
CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY REFERENCES one);
ALTER TABLE one ADD FOREIGN KEY (id) REFERENCES other DEFERRABLE INITIALLY DEFERRED;
"""


def test_references_of_every_shape(fill: Fill, connection: Connection) -> None:
    plan = fill(LINKED, 400)
    assert set(plan.rows.values()) == {400}
    # rows of one organisation meet: not every stay is its own predecessor
    row = connection.execute(
        "SELECT count(DISTINCT org) BETWEEN 2 AND 100, count(*) FILTER (WHERE after <> id) > 100 FROM stays"
    ).fetchone()
    assert row == (True, True)


CHECKED = r"""
CREATE FUNCTION is_even(n int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 = 0';
CREATE TABLE checked (
    id int PRIMARY KEY,
    price numeric(8,2) CHECK (price > 0 AND price <= 50), discount numeric(8,2), CHECK (discount < price),
    qty int NOT NULL CHECK (qty BETWEEN 3 AND 5),
    status text NOT NULL CHECK (status IN ('new', 'paid')), kind varchar(8) CHECK (kind ~ '^(in|out)$'),
    code text NOT NULL CHECK (code ~ '^[A-Z]{2}-[0-9]{3,5}$'), zip text CHECK (zip ~ '^\d{5}(-\d{4})?$'),
    email text CHECK (email LIKE '%@%'), note text CHECK (char_length(note) BETWEEN 20 AND 30),
    lower_name text CHECK (lower_name = lower(lower_name)), doc jsonb CHECK (jsonb_typeof(doc) = 'array'),
    starts date NOT NULL, ends date NOT NULL, CHECK (starts < ends), lasts date, CHECK (lasts >= ends),
    a int, b int, CHECK (num_nonnulls(a, b) = 1), c int, d int, CHECK ((c IS NULL) = (d IS NULL)),
    shipped_at timestamptz, CHECK (status <> 'paid' OR shipped_at IS NOT NULL),
    born date CHECK (born < now()), until timestamptz CHECK (until > now()),
    even int NOT NULL CHECK (is_even(even)),
    x int NOT NULL, y int NOT NULL, z int NOT NULL, CHECK (x + y = z),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32), small bytea CHECK (length(small) <= 4),
    tags text[] CHECK (cardinality(tags) <= 2), blank text CHECK (blank <> '' AND length(trim(blank)) > 0)
);
"""


def test_checks_are_satisfied_understood_or_not(fill: Fill, connection: Connection) -> None:
    fill(CHECKED, 1000)
    row = connection.execute(
        "SELECT count(*), count(DISTINCT even) > 20, count(DISTINCT z) > 20, count(DISTINCT code) > 500"
        " FROM checked"
    ).fetchone()
    assert row == (1000, True, True, True)


def test_check_that_nothing_satisfies_is_named(fill: Fill) -> None:
    with pytest.raises(DatasetError, match=r"never: no generated row satisfies never_n_check \(n\)"):
        fill("CREATE TABLE never (n text NOT NULL CHECK (md5(n) = 'x'))", 10)


EXCLUDED = """
CREATE EXTENSION btree_gist;
CREATE TABLE bookings (id int PRIMARY KEY, room int, during tstzrange NOT NULL,
    EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE shifts (person int, start_at timestamptz NOT NULL, end_at timestamptz NOT NULL,
    CHECK (start_at < end_at), EXCLUDE USING gist (person WITH =, tstzrange(start_at, end_at) WITH &&));
CREATE TABLE prices (item int, valid daterange, PRIMARY KEY (item, valid WITHOUT OVERLAPS));
CREATE TABLE same (v int, EXCLUDE USING btree (v WITH =));
CREATE TABLE addresses (id int PRIMARY KEY, person int NOT NULL CHECK (person < 5), main bool NOT NULL);
CREATE UNIQUE INDEX ON addresses (person) WHERE main;
"""


def test_exclusion_and_partial_keys(fill: Fill) -> None:
    plan = fill(EXCLUDED, 1000)
    assert set(plan.rows.values()) == {1000}
