"""Planted people never reach a masked snapshot, a folder, a log or a message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearse.dataset.masking.columns import ColumnPlan
from rehearse.dataset.masking.maskers import masker_of
from rehearse.dataset.masking.masks import Masker
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import parse_rules
from rehearse.dataset.masking.run import Job, LeakError, run_masking
from rehearse.dataset.masking.sink import DatabaseSink, FolderSink, load_snapshot
from rehearse.dataset.masking.source import DumpSource, LiveSource
from rehearse.engines.postgres.copy_stream import read_snapshot
from rehearse.engines.postgres.dump import Dump, Sections
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.target import Target
from tests.dataset.planted import BINDIR, KEY, RULES, dumped, everything, into, no_canary, one


@dataclass(frozen=True, slots=True)
class Live(LiveSource):
    """A live source whose schema was dumped before: all tests here have the same."""

    known: Sections

    def sections(self) -> Sections:
        return self.known


@pytest.fixture(scope="module")
def planted_sections(planted: Target) -> Sections:
    with read_snapshot(planted) as snapshot:
        return LiveSource.of(planted, snapshot, BINDIR).sections()


def test_no_planted_person_reaches_the_copy_and_joins_survive(planted: Target, database: Target) -> None:
    result = into(planted, database, parse_rules(RULES, "rules"))
    no_canary(everything(database))
    assert result.leaks.sampled > 50
    assert result.rows == 60 + 60 + 180 + 3 + 400
    assert (
        one(
            database,
            "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id AND p.email = o.contact",
        )
        == 59
    )
    # order in time survives, and what the partitions go by is kept: both of these are the 17th person
    person = one(database, "SELECT person_id FROM orders ORDER BY placed_at OFFSET 16 LIMIT 1")
    assert person == one(database, "SELECT person_id FROM events WHERE at = '2019-06-18'")
    assert one(
        database, "SELECT count(email), count(DISTINCT id), count(phone), count(code) FROM people"
    ) == (59, 60, 1, 59)
    name, phone, code, greeting = one(
        database, "SELECT name, phone, code, greeting FROM people WHERE profile IS NOT NULL"
    )
    assert greeting == f"hello {name}"
    assert (len(phone), phone[0], len(code.strip())) == (14, "(", 6)
    profile, tags = one(database, "SELECT profile, tags FROM people WHERE profile IS NOT NULL")
    assert profile["contact"]["email"].rpartition("@")[2].startswith("example.")
    assert (profile["ok"], profile["gone"], len(profile["contact"]["ages"])) == (True, None, 2)
    assert [tag and len(tag) for tag in tags] == [14, None, 5]
    assert one(database, "SELECT max(id) < nextval(pg_get_serial_sequence('people', 'id')) FROM people")


@pytest.mark.parametrize("form", ["p", "c", "d"])
def test_a_dump_gives_the_same_folder_as_the_server_it_was_made_of(
    planted: Target, database: Target, tmp_path: Path, form: str
) -> None:
    dump = Dump.open(dumped(planted, tmp_path / "dump", form), BINDIR)
    rules = parse_rules(RULES, "rules")
    made = DumpSource.of(dump, database)
    sink = FolderSink(tmp_path / "out")
    result = run_masking(Job(made, plan_masks(made.schema, rules), KEY, sink))
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    no_canary(text)
    assert result.rows == 703
    if form == "p":
        with DatabaseSink(database) as empty:
            empty.discard()
        load_snapshot(database, tmp_path / "out")
        no_canary(everything(database))
        joined = "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id"
        assert one(database, joined) == 60
        with read_snapshot(planted) as snapshot:
            live = LiveSource.of(planted, snapshot, BINDIR)
            again = FolderSink(tmp_path / "again")
            run_masking(Job(live, plan_masks(live.schema, rules), KEY, again))
        for path in (tmp_path / "again" / "rows").iterdir():
            assert sorted(path.read_text().splitlines()) in [
                sorted(other.read_text().splitlines()) for other in (tmp_path / "out" / "rows").iterdir()
            ]


def passing(label: str) -> Any:
    """Masks as they should be, but one of a column that lets everything through."""

    def make(plan: ColumnPlan, key: MaskKey, **copy: int) -> Masker | None:
        return (lambda values: values) if plan.label == label else masker_of(plan, key, **copy)

    return make


@pytest.mark.parametrize(
    "column",
    ["people.name", "people.profile", "people.tags", "people.secret", "people.home", "people.nick",
     "people.attributes", "people.searched", "people.email", "people.phone", "orders.id", "orders.placed_at",
     "lines.what's it"],
)  # fmt: skip
def test_a_mask_that_lets_values_through_is_caught_and_nothing_is_left(
    planted: Target, planted_sections: Sections, tmp_path: Path, column: str
) -> None:
    rules = parse_rules(RULES, "rules")
    with read_snapshot(planted) as snapshot:
        live = Live(planted, snapshot, introspect(snapshot.connection), BINDIR, planted_sections)
        sink = FolderSink(tmp_path / "out")
        job = Job(live, plan_masks(live.schema, rules), KEY, sink, masker=passing(column))
        with pytest.raises(LeakError) as caught:
            run_masking(job)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("leak: ")
    no_canary(str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_kept_column_that_repeats_a_masked_one_is_caught_in_the_database(
    planted: Target, database: Target
) -> None:
    columns = {
        "events.note": {"mask": "keep", "reason": "wrongly believed to be harmless"},
        **RULES["columns"],
    }
    columns["events.note"] = {"mask": "keep", "reason": "wrongly believed to be harmless"}
    rules = parse_rules({"columns": columns}, "rules")
    with pytest.raises(LeakError, match=r"events.note: source values of people.name in 400 rows"):
        into(planted, database, rules)
    assert one(database, "SELECT count(*) FROM pg_class WHERE relname = 'people'") == 0
    allowed = parse_rules({"columns": columns, "leaks": {"allow": {"events.note": "public"}}}, "rules")
    assert into(planted, database, allowed).leaks.allowed == ("events.note",)
