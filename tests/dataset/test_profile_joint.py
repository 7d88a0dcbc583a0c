"""Columns that go together, and what skew is hardest to see: a twin held against known truth by counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from rehearse.dataset.alone import load_alone
from rehearse.dataset.bits import fractions, row_numbers
from rehearse.dataset.generators import Jointly
from rehearse.dataset.generators.placing import shared_out
from rehearse.dataset.profile.fidelity import Fidelity, fidelity, table_lines
from rehearse.dataset.profile.take import take_profile
from rehearse.dataset.profile.together import joint_deviations
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import InputError
from rehearse.model.migration import SqlFile
from rehearse.model.profile import JointStatistics, Profile, TableProfile
from rehearse.model.profile_file import parse_profile, profile_text
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target
from rehearse.provision import Server

SCHEMA = """
CREATE TABLE places (id int PRIMARY KEY, zip int NOT NULL, kind text NOT NULL, plan text, tier text NOT NULL);
CREATE STATISTICS places_kind (dependencies, mcv) ON zip, kind FROM places;
CREATE STATISTICS places_tier (dependencies, mcv) ON plan, tier FROM places;
CREATE TABLE texts (id int PRIMARY KEY, body text NOT NULL);
CREATE TABLE cats (id int PRIMARY KEY, parent_id int REFERENCES cats);
CREATE TABLE tenants (id int PRIMARY KEY);
CREATE TABLE members (tenant_id int REFERENCES tenants, nr int, PRIMARY KEY (tenant_id, nr));
CREATE TABLE schema_migrations (version text PRIMARY KEY);
"""
FILL = """
SELECT setseed(0.7);
INSERT INTO places SELECT i, z, 'kind' || z % 11, p,
       CASE WHEN random() < 0.85 THEN 'of ' || coalesce(p, 'none')
            ELSE (ARRAY['of free', 'of pro'])[1 + i % 2] END
  FROM (SELECT i, 100 + floor(power(random(), 3) * 400)::int AS z,
               (ARRAY['free', 'free', 'free', 'pro', NULL])[1 + floor(random() * 5)::int] AS p
          FROM generate_series(1, 12000) i) drawn;
INSERT INTO texts SELECT i, (SELECT string_agg(md5(i + g * 0.1 || ''), '')
                               FROM generate_series(1, CASE WHEN i % 4 = 0 THEN 200 ELSE 3 END) g)
  FROM generate_series(1, 1000) i;
INSERT INTO cats SELECT i, CASE WHEN i < 20 THEN NULL ELSE 1 + floor(power(random(), 4) * 19)::int END
  FROM generate_series(1, 5000) i;
INSERT INTO tenants SELECT generate_series(1, 200);
INSERT INTO members SELECT t, n FROM generate_series(1, 200) t, generate_series(1, 4000 / (t + 9)) n;
INSERT INTO schema_migrations VALUES ('1');
ANALYZE;
"""


@dataclass(frozen=True)
class Twins:
    source: Target
    profile: Profile
    twin: Target
    alike: Fidelity


@pytest.fixture(scope="module")
def twins(server: Server) -> Iterator[Twins]:
    source, twin = (server.target.on(f"joint_{name}") for name in ("source", "twin"))
    for target in (source, twin):
        create_database(server.target, target.dbname)
    try:
        with connect(source, "test") as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(FILL.encode())
        profile = parse_profile(profile_text(take_profile(source)), "profile.json")
        file = SqlFile("schema.sql", SCHEMA)
        load_alone(twin, file, RowCounts(), seed=5, on_progress=lambda _: None, streams=1, profile=profile)
        yield Twins(source, profile, twin, fidelity(profile, take_profile(twin)))
    finally:
        for target in (source, twin):
            drop_database(server.target, target.dbname)


def both(twins: Twins, query: str) -> list[Any]:
    """The query's rows on either side."""
    found = []
    for target in (twins.source, twins.twin):
        with connect(target, "test") as connection:
            found.append(connection.execute(query.encode()).fetchall())
    return found


def test_what_one_column_determines_it_determines_in_the_twin(twins: Twins) -> None:
    query = """
        SELECT avg((kinds = 1)::int)::float8, sum(n) FILTER (WHERE kinds = 1) / sum(n)::float8
          FROM (SELECT count(DISTINCT kind) AS kinds, count(*) AS n FROM places GROUP BY zip) counts
    """
    assert both(twins, query)[1][0] == pytest.approx((1.0, 1.0), abs=0.02)
    shares = "SELECT count(*) / 12000.0::float8 FROM places GROUP BY kind ORDER BY 1 DESC"
    mine, theirs = both(twins, shares)
    assert [of for (of,) in theirs] == pytest.approx([of for (of,) in mine], abs=0.02)


def test_common_combinations_have_their_frequencies(twins: Twins) -> None:
    query = "SELECT plan, tier, count(*) / 12000.0::float8 FROM places GROUP BY 1, 2"
    mine, theirs = ({(plan, tier): share for plan, tier, share in of} for of in both(twins, query))
    assert mine.keys() >= {("free", "of free"), (None, "of none")}
    for combination, share in mine.items():
        assert theirs.get(combination, 0.0) == pytest.approx(share, abs=0.02), combination


def test_the_fidelity_table_has_a_line_for_columns_together(twins: Twins) -> None:
    lines = {line[0]: line for line in table_lines(twins.alike, 0.03)}
    assert not any(cell.endswith("!") for cell in lines["places (zip, kind)"])
    assert lines["places (zip, kind)"][-1].endswith("%")
    # columns that do not go together any more are told, and do not pass
    places = twins.profile.table(Relation("public", "places"))
    assert places is not None
    apart = tuple(
        replace(joint, dependencies=tuple((of, to, 0.0) for of, to, _ in joint.dependencies))
        for joint in places.joint
    )
    for joint, said in ((apart, "places (zip, kind)"), ((), "not there")):
        tables = tuple(replace(t, joint=joint) if t is places else t for t in twins.profile.tables)
        result = fidelity(twins.profile, replace(twins.profile, tables=tables))
        assert not result.within(0.03)
        if joint:
            assert said in [f"{c.relation} ({c.column})" for c in result.columns if c.worst > 0.03]
        else:
            assert any("places (zip, kind)" in missing for missing in result.missing)


def test_statistics_of_another_kind_are_not_compared() -> None:
    counted, depends = (
        TableProfile(Relation("public", "t"), 10, joint=(JointStatistics("s", ("a", "b"), *kinds),))
        for kinds in ([((("a", "b"), 5.0),)], [(), ((("a",), "b", 0.5),)])
    )
    assert list(joint_deviations(counted, counted)) == [("a, b", {"distinct": 0.0})]
    assert list(joint_deviations(counted, depends)) == [("a, b", None)]


def test_a_part_of_the_texts_is_out_of_line_as_in_production(twins: Twins) -> None:
    query = """
        SELECT pg_relation_size('texts')::float8, pg_total_relation_size(reltoastrelid)::float8
          FROM pg_class WHERE oid = 'texts'::regclass
    """
    (mine,), (theirs,) = both(twins, query)
    assert theirs == pytest.approx(mine, rel=0.15)


def test_references_to_the_table_itself_and_in_a_key_keep_their_skew(twins: Twins) -> None:
    for table, column, parents in (("cats", "parent_id", 19), ("members", "tenant_id", 200)):
        query = f"""
            SELECT array_agg(n / total ORDER BY n DESC) FROM (
                SELECT count(*)::float8 AS n, sum(count(*)) OVER ()::float8 AS total
                  FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}) counts
        """
        ((mine,),), ((theirs,),) = both(twins, query)
        assert len(mine) == parents
        assert theirs[:10] == pytest.approx(mine[:10], abs=0.02), table
    # a tree, as deep as it was: nobody is below oneself
    deep = """
        WITH RECURSIVE down AS (
            SELECT id, 0 AS depth FROM cats WHERE parent_id IS NULL
            UNION ALL SELECT c.id, depth + 1 FROM cats c JOIN down d ON c.parent_id = d.id)
        SELECT count(*), max(depth) FROM down
    """
    (mine_deep,), (theirs_deep,) = both(twins, deep)
    assert mine_deep[0] == 5000
    assert theirs_deep[0] == pytest.approx(5000, abs=50)
    assert theirs_deep[1] <= 5


def test_a_tools_ledger_stays_empty_and_is_no_difference(twins: Twins) -> None:
    assert both(twins, "SELECT count(*) FROM schema_migrations") == [[(1,)], [(0,)]]
    assert not any("schema_migrations" in missing for missing in twins.alike.missing)


def test_ledgers_get_rows_where_they_are_named(database: Target) -> None:
    file = SqlFile(
        "s.sql", "CREATE TABLE schema_migrations (version text PRIMARY KEY); CREATE TABLE t (i int);"
    )
    result = load_alone(
        database, file, RowCounts(3, (("schema_migrations", 2),)), seed=1, on_progress=lambda _: None
    )
    assert dict(result.tables) == {"schema_migrations": 2, "t": 3}
    assert not any("ledger" in note for note in result.notes)


def test_places_beside_others_are_as_even_as_they_were() -> None:
    # of the first half all lie in the last fifth, the rest fills what is left
    along = Jointly("a", (0.5, 1.0), (0.4, 2.0), (0.8, 0.1), (0.2, 0.0), (0.75, 0.75, 1.0), (0.3, 0.8, 1.0))
    rows = row_numbers(0, 40_000)
    own, other = fractions(rows, 1), fractions(rows, 2)
    made = shared_out(own, other, along)
    assert (made >= 0).all()
    assert (made < 1).all()
    first, second = made[other < 0.5], made[other >= 0.5]
    assert np.unique(second).tolist() == [0.1]  # determined: one place for all
    assert np.mean(first >= 0.8) == pytest.approx(0.4 + 0.6 * 0.25, abs=0.02)
    assert np.mean(first < 0.3) == pytest.approx(0.6 * 0.75, abs=0.02)
    assert not ((first >= 0.3) & (first < 0.8)).any()


def test_a_profile_with_odd_combinations_is_refused(twins: Twins) -> None:
    places = twins.profile.table(Relation("public", "places"))
    assert places is not None
    odd = replace(places, joint=(JointStatistics("s", ("zip", "kind"), (), (), (0.5,), ((1,),)),))
    with pytest.raises(InputError, match=r"joint\[0\].*combinations"):
        parse_profile(profile_text(replace(twins.profile, tables=(odd,))), "p.json")
