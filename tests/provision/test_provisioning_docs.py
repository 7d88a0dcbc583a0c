"""The page on provisioning says what the code does."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from rehearse.cli.main import app
from rehearse.engines.mysql.databases import MARKER_TABLE
from rehearse.engines.mysql.guards import GUARDS as MYSQL_GUARDS
from rehearse.engines.postgres.databases import MADE_BY_A_RUN, RUN_DATABASES
from rehearse.engines.postgres.guards import GUARDS, MARKER_COMMENT
from rehearse.provision.dsn import parse_dsn
from rehearse.provision.mysql_dsn import parse_mysql_dsn
from rehearse.provision.table import engine_of
from rehearse.scenario.document import ScenarioDocument

PAGE = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
REQUIRED = {"dataset": {"schema": "a.sql"}, "migration": {"up": "b.sql"}}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one(line: str) -> None:
    tool, verb, *words = shlex.split(line)
    assert tool == "rehearse"
    group = typer.main.get_command(app)
    with group.make_context("rehearse", [verb, *words]) as context:
        command = group.get_command(context, verb)  # type: ignore[attr-defined]  # it is a group
        with command.make_context(verb, words, parent=context) as parsed:
            provision = parsed.params.get("provision") or ""
    if provision.startswith("postgresql:"):
        assert parse_dsn(provision).dbname == parsed.params["disposable"]
    if provision.startswith("mysql:"):
        address = provision.partition("?")[0]  # the file with the password is not here
        assert parse_mysql_dsn(address, engine_of(provision)).dbname == parsed.params["disposable"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_scenario(example: str) -> None:
    ScenarioDocument.model_validate(REQUIRED | tomllib.loads(example))


def test_guards_names_and_comments_are_those_of_the_code() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) - {"embedded"} == {
        "complete-address",
        "one-host",
        "named-by-user",
        "own-names",
        *(name for name, _, _ in (*GUARDS, *MYSQL_GUARDS)),
    }
    for text in (MADE_BY_A_RUN, MARKER_COMMENT, MARKER_TABLE, *RUN_DATABASES):
        assert text in PAGE
