"""A migration that is a tool's command: its keys checked, and made into what stands in a file's place."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rehearse.model.migration import SqlFile, ToolSpec
from rehearse.scenario.document import MigrationTable
from rehearse.scenario.places import Places


def check_command(table: MigrationTable, places: Places) -> None:
    """Raises ScenarioError for keys of files beside a command, and the other way round."""
    if not table.up and not table.command:
        mend = "give SQL files, or the `command` of a migration tool"
        raise places.error(("migration",), "missing key `migration.up`", mend)
    problems = (
        ("command", bool(table.up and table.command), "and `migration.up` exclude each other"),
        ("down", bool(table.command and table.down), "is for files; write `down_command`"),
        ("down_command", bool(table.down_command and not table.command), "needs a `command` as well"),
        (
            "transaction",
            bool(table.command and "transaction" in table.model_fields_set),
            "is for files: a tool has its own way",
        ),
        ("env", bool(table.env and not table.command), "is for a `command`"),
        ("cwd", bool(table.cwd and not table.command), "is for a `command`"),
    )
    for key, wrong, what in problems:
        if wrong:
            raise places.error(("migration", key), f"{{}} {what}")


def commands(table: MigrationTable, words: Sequence[str], folder: Path) -> tuple[SqlFile, ...]:
    """The command `words` in place of a file, none if there are none; it runs in `cwd` from `folder`."""
    if not words:
        return ()
    line = shlex.join(words)
    name = shlex.join([Path(words[0]).name, *words[1:]])
    cwd = (folder / table.cwd).resolve()
    return (SqlFile(name, line, ToolSpec(tuple(words), tuple(table.env.items()), str(cwd))),)
