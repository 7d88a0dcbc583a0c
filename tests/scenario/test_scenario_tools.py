"""A migration that is a tool's command, as a scenario and as flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearse.errors import ScenarioError
from rehearse.model.scenario import Scenario
from rehearse.scenario.flags import Flags, scenario_from_flags
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact


def scenario(folder: Path, migration: str) -> Scenario:
    (folder / "schema.sql").write_text("CREATE TABLE t (id int);")
    (folder / "up.sql").write_text("SELECT 1;")
    file = folder / "case.toml"
    file.write_text(f'[dataset]\nschema = "schema.sql"\n[migration]\n{migration}\n')
    return load_scenario(file, Flags())


def test_a_command_stands_in_a_files_place(tmp_path: Path) -> None:
    made = scenario(
        tmp_path,
        'command = ["/opt/bin/alembic", "upgrade", "head"]\ndown_command = ["alembic", "downgrade", "-1"]\n'
        'env = { TOKEN = "hidden" }\ncwd = "app"',
    )
    (up,), (down,) = made.migration.up, made.migration.down

    assert (up.name, up.text) == ("alembic upgrade head", "/opt/bin/alembic upgrade head")
    assert up.tool is not None
    assert up.tool.argv == ("/opt/bin/alembic", "upgrade", "head")
    assert up.tool.env == (("TOKEN", "hidden"),)
    assert up.tool.cwd == str(tmp_path / "app")
    assert down.tool is not None
    assert down.tool.argv == ("alembic", "downgrade", "-1")
    assert "hidden" not in repr(made)
    kept = redact(made).migration.up[0].tool
    assert kept is not None
    assert kept.env == (("TOKEN", "***"),)


@pytest.mark.parametrize(
    ("migration", "message"),
    [
        ('command = "alembic upgrade head"', 'write ["alembic", "upgrade", "head"]'),
        ("command = []", "missing key `migration.up`"),
        ('command = ["x"]\nup = "up.sql"', "`migration.command` and `migration.up` exclude each other"),
        ('command = ["x"]\ndown = "up.sql"', "`migration.down` is for files; write `down_command`"),
        ('up = "up.sql"\ndown_command = ["x"]', "`migration.down_command` needs a `command` as well"),
        ('command = ["x"]\ntransaction = "per-file"', "`migration.transaction` is for files"),
        ('up = "up.sql"\nenv = { A = "b" }', "`migration.env` is for a `command`"),
        ('up = "up.sql"\ncwd = "x"', "`migration.cwd` is for a `command`"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, migration: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario(tmp_path, migration)
    assert message in str(refused.value)


def test_a_flag_is_taken_apart_as_a_shell_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.sql").write_text("CREATE TABLE t (id int);")
    made = scenario_from_flags(Flags(schema=Path("schema.sql"), command="./manage.py migrate 'my app' $HOME"))
    (up,) = made.migration.up

    assert up.tool is not None
    assert up.tool.argv == ("./manage.py", "migrate", "my app", "$HOME")
    assert up.tool.cwd == str(tmp_path)
    with pytest.raises(ScenarioError, match="`--command` cannot be taken apart"):
        scenario_from_flags(Flags(schema=Path("schema.sql"), command="x 'y"))
