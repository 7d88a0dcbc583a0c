"""Every rule has its page, and every page its rule."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.errors import InputError, SqlFileError
from rehearse.judge.explain import explain
from rehearse.judge.rules import RULES
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import SqlFile
from rehearse.model.target import Target
from rehearse.provision import Server
from rehearse.scenario.document import ScenarioDocument
from rehearse.scenario.gates import parse_abort

PAGES = Path(__file__).parents[2] / "docs" / "rules"
SECTIONS = ("## What it means", "## Why it matters", "## How it is measured", "## The safe way")
# Its bad example is one that the server refuses.
REFUSED = "migration-failed"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_its_page(rule: Rule) -> None:
    page = (PAGES / rule.id / "README.md").read_text()
    assert page.startswith(f"# `{rule.id}`\n")
    assert rule.severity.value in page
    for section in SECTIONS:
        assert section in page
    assert f"[`{rule.id}`]({rule.id}/README.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("name", [rule.id for rule in RULES])
def test_examples_come_in_pairs_and_are_shown_as_they_are(name: str) -> None:
    page = (PAGES / name / "README.md").read_text()
    (kind,) = {path.suffix for path in (PAGES / name).iterdir() if path.stem in ("bad", "good")}
    for example in (f"bad{kind}", f"good{kind}"):
        text = (PAGES / name / example).read_text()
        assert text.strip()
        assert f"[{example}]({example})" in page
        assert f"```{kind[1:]}\n{text}```" in page


@pytest.mark.parametrize(
    "path", sorted(PAGES.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_the_examples_of_scenarios_are_read(path: Path) -> None:
    rest = {"dataset": {"schema": "shop.sql"}, "migration": {"up": "up.sql"}}
    document = ScenarioDocument.model_validate(rest | tomllib.loads(path.read_text()))
    for metric, condition in document.abort.items():
        parse_abort(metric, condition)


def test_every_page_has_its_rule() -> None:
    assert {page.name for page in PAGES.iterdir() if page.is_dir()} == {rule.id for rule in RULES}


def test_names_are_told_once() -> None:
    names = [rule.id for rule in RULES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_explains_itself(rule: Rule) -> None:
    text = explain(rule.id)
    assert rule.id in text
    assert rule.reason in text
    assert rule.safe_way in text


def test_an_unknown_rule_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="rewrite-under-lock"):
        explain("rewrite-under-locks")
    with pytest.raises(InputError, match="did you mean 'rewrite-under-lock'") as caught:
        explain("rewrte")
    assert "stall" not in str(caught.value)
    with pytest.raises(InputError, match="there are: aborted, accepted-risk, "):
        explain("xyz")


RESET = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
SHOP = """
CREATE TABLE customers (id bigserial PRIMARY KEY, email text);
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer_id bigint NOT NULL, status text, amount numeric(10,2), note text,
    created_at timestamptz
);
INSERT INTO customers (email) SELECT 'c' || n || '@example.org' FROM generate_series(1, 50) n;
INSERT INTO orders (customer_id, status, amount, note, created_at)
SELECT 1 + n % 50, 'new', n, 'n' || n, now() FROM generate_series(1, 500) n;
"""


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Target]:
    """One database for all examples, emptied before each: faster than a new one."""
    name = "examples_run"
    create_database(server.target, name)
    yield server.target.on(name)
    drop_database(server.target, name)


@pytest.mark.parametrize(
    "path", sorted(PAGES.glob("*/*.sql")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_the_examples_run_as_they_stand(path: Path, place: Target) -> None:
    with connect(place, "rehearse") as connection:
        execute_file(connection, SqlFile("shop.sql", RESET + SHOP))
        example = SqlFile(str(path), path.read_text())
        if path.parent.name == REFUSED and path.stem == "bad":
            with pytest.raises(SqlFileError, match="could not create unique index"):
                execute_file(connection, example)
        else:
            execute_file(connection, example)
