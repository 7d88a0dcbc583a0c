from __future__ import annotations

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.footprint import footprint
from rehearse.engines.postgres.sampling import sample_pool
from rehearse.errors import SqlFileError
from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.workload import Pool, ScriptSource
from rehearse.workload.script import parse_script

M = LockMode


def prepare(target: Target, *statements: str) -> None:
    with connect(target, "rehearse") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def sample(target: Target, relation: Relation, *columns: str, limit: int = 100, seed: int = 1) -> Pool:
    with connect(target, "rehearse") as connection:
        return sample_pool(connection, "name in scripts", relation, columns, limit, seed)


class TestSampling:
    def test_a_small_table_is_taken_whole_in_random_order(self, database: Target) -> None:
        prepare(
            database,
            'create table "T" (id int, flag bool, raw bytea, tags text[])',
            """insert into "T" select i, i % 2 = 0, '\\x00ff', '{a,"b c"}' from generate_series(1, 9) i""",
            'insert into "T" values (10)',
        )
        pool = sample(database, Relation("public", "T"), "id", "flag", "raw", "tags")
        assert (pool.kind, pool.table, pool.rows) == ("sample", "name in scripts", 10)
        ids = [int(value or b"") for value in pool.columns["id"]]
        assert sorted(ids) == list(range(1, 11))
        assert ids != sorted(ids)
        at = ids.index(4)
        assert [pool.columns[name][at] for name in ("flag", "raw", "tags")] == [
            b"true",
            b"\\x00ff",
            b'{a,"b c"}',
        ]
        assert pool.columns["tags"][ids.index(10)] is None

    @pytest.mark.parametrize("analysed", [True, False])
    def test_of_a_large_table_as_many_as_wanted_from_all_over(self, database: Target, analysed: bool) -> None:
        prepare(database, "create table t as select generate_series(1, 20000) as id")
        if analysed:
            prepare(database, "analyze t")
        pools = [sample(database, Relation("public", "t"), "id", limit=500, seed=seed) for seed in (1, 1, 2)]
        ids = [int(value or b"") for value in pools[0].columns["id"]]
        assert len(set(ids)) == 500
        assert 7000 < sum(ids) / 500 < 13000
        assert pools[0] == pools[1]
        assert pools[0] != pools[2]

    def test_views_partitions_and_empty_tables(self, database: Target) -> None:
        prepare(
            database,
            "create schema s",
            "create table s.p (id int) partition by range (id)",
            "create table s.p1 partition of s.p for values from (0) to (1000)",
            "create view v as select id * 2 as id from s.p",
            "create table empty (id int)",
            "insert into s.p select generate_series(1, 3)",
            "analyze s.p",
        )
        assert sorted(value or b"" for value in sample(database, Relation("s", "p"), "id").columns["id"]) == [
            b"1",
            b"2",
            b"3",
        ]
        assert sample(database, Relation("public", "v"), "id").rows == 3
        empty = sample(database, Relation("public", "empty"), "id")
        assert empty.columns == {"id": []}


class TestFootprint:
    @pytest.fixture
    def shop(self, database: Target) -> Target:
        prepare(
            database,
            "create table customers (id int primary key, name text not null)",
            "create table orders (id int primary key, customer int references customers, state text)",
            "create view open_orders as select * from orders where state = 'open'",
            "insert into customers select i, 'c' || i from generate_series(1, 10) i",
            "insert into orders select i, i, 'open' from generate_series(1, 10) i",
        )
        return database

    def locks(self, target: Target, text: str, *pools: Pool, **variables: int) -> dict[str, set[LockMode]]:
        script = parse_script(ScriptSource("app", text, file="app.sql"))
        with connect(target, "rehearse") as connection:
            found = footprint(connection, script, pools, tuple(variables.items()))
        assert found.script == "app"
        modes: dict[str, set[LockMode]] = {}
        for relation, mode in found.locks:
            modes.setdefault(str(relation), set()).add(mode)
        return modes

    def test_reads_writes_and_what_foreign_keys_add(self, shop: Target) -> None:
        text = """\\set id random(1, 10)
begin;
select * from open_orders where id = :id;
update orders set customer = (:id % 10) + 1 where id = :id;
end;
"""
        assert self.locks(shop, text) == {
            "open_orders": {M.ACCESS_SHARE},
            "orders": {M.ACCESS_SHARE, M.ROW_EXCLUSIVE},
            "customers": {M.ROW_SHARE},  # by the check of the foreign key
        }

    def test_nothing_of_it_stays(self, shop: Target) -> None:
        pool = Pool("fresh", "customers", {"id": [b"%d" % n for n in range(100, 110)]})
        text = "\\set id fresh(customers.id)\nbegin;\ninsert into customers values (:id, 'new');\ncommit;"
        assert self.locks(shop, text, pool) == {"customers": {M.ROW_EXCLUSIVE}}
        with connect(shop, "rehearse") as connection:
            assert connection.execute("select count(*) from customers").fetchone() == (10,)

    def test_conditions_follow_what_the_server_answers(self, shop: Target) -> None:
        text = """select count(*) > :many as many from customers \\gset
\\if :many
delete from orders where id = 1;
\\endif
"""
        assert self.locks(shop, text, many=3).keys() == {"customers", "orders"}
        assert self.locks(shop, text, many=30).keys() == {"customers"}

    def test_values_that_do_not_fit_still_tell_the_tables(self, shop: Target) -> None:
        text = "insert into customers values (1, 'there is one');\nselect 1 / 0 from orders;"
        assert self.locks(shop, text) == {"customers": {M.ROW_EXCLUSIVE}, "orders": {M.ACCESS_SHARE}}

    def test_statements_of_the_simple_protocol(self, shop: Target) -> None:
        assert self.locks(shop, "select 1 from orders \\; update customers set name = 'x';").keys() == {
            "orders",
            "customers",
        }

    def test_a_wrong_statement_is_named(self, shop: Target) -> None:
        with pytest.raises(SqlFileError, match="nonsense") as caught:
            self.locks(shop, "select 1;\nselect id,\n nonsense from orders;")
        assert (caught.value.file, caught.value.line) == ("app.sql", 3)
