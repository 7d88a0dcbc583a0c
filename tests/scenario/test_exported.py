"""Settings of a server as people export them, read to the same names and values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rehearse.errors import ScenarioError, SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.scenario.exported import parse_settings
from rehearse.scenario.flags import Flags
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact

CONF = r"""
# memory
shared_buffers = 128MB          # min 128kB
Work_Mem 4MB
work_mem = '8MB'
search_path = 'it''s, \'x\''
archive_command = 'cp "%p" /a#b/%f'   # not a comment before it

log_line_prefix='%m\t'
auto_explain.log_min_duration = '1s'
"""


def read(text: str) -> dict[str, str]:
    return dict(parse_settings(SqlFile("production.conf", text)))


def test_a_configuration_file_is_read_as_the_server_reads_it() -> None:
    assert read(CONF) == {
        "shared_buffers": "128MB",
        "work_mem": "8MB",
        "search_path": "it's, 'x'",
        "archive_command": 'cp "%p" /a#b/%f',
        "log_line_prefix": "%m\t",
        "auto_explain.log_min_duration": "1s",
    }


ROWS = [
    {"name": "shared_buffers", "setting": "16384", "unit": "8kB"},
    {"name": "lock_timeout", "setting": "0", "unit": "ms"},
    {"name": "autovacuum_work_mem", "setting": "-1", "unit": "kB"},
    {"name": "jit", "setting": "on", "unit": None},
    {"name": "DateStyle", "setting": "ISO, DMY", "unit": None},
]
EXPORTED = {
    "shared_buffers": "131072kB",
    "lock_timeout": "0",
    "autovacuum_work_mem": "-1",
    "jit": "on",
    "datestyle": "ISO, DMY",
}
CSV = """name,setting,unit
shared_buffers,16384,8kB
lock_timeout,0,ms
autovacuum_work_mem,-1,kB
jit,on,
DateStyle,"ISO, DMY",
"""


@pytest.mark.parametrize("text", [json.dumps(ROWS), CSV, CSV.replace("\n", "\r\n"), "\ufeff" + CSV])
def test_exports_of_pg_settings_are_the_same_as_json_and_as_csv(text: str) -> None:
    assert read(text) == EXPORTED


def test_an_object_of_names_and_values_will_do() -> None:
    assert read('{"work_mem": "4MB", "max_connections": 100, "jit": false}') == {
        "work_mem": "4MB",
        "max_connections": "100",
        "jit": "off",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("work_mem = 4MB\npassword hunter2 hunter3", "production.conf:2: not a line of postgresql.conf"),
        ("a = 'hunter2", "production.conf:1: not a line"),
        ('[{"name": 1}]', "a setting without a name"),
        ("[1]", "not a JSON array of objects"),
        ('[{"name"', "production.conf:1: not JSON"),
        ("name,setting\n,hunter2\n", "production.conf:2: a setting without a name"),
    ],
)
def test_what_is_none_of_them_is_refused_without_quoting_it(text: str, said: str) -> None:
    with pytest.raises(SqlFileError, match=said) as caught:
        read(text)
    assert "hunter2" not in str(caught.value)


HEAD = """
[dataset]
schema = "s.sql"
[migration]
up = "s.sql"
[database]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.sql").write_text("SELECT 1;")
    (tmp_path / "production.conf").write_text("primary_conninfo = 'password=hunter2'\nwork_mem = 4MB\n")
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "flags", "own"),
    [
        ('"production.conf"', {}, ()),
        ('{ include = "production.conf", jit = false }', {}, (("jit", "off"),)),
        ('"production.conf"', {"settings": ["jit=on"]}, (("jit", "on"),)),
    ],
)
def test_a_file_may_stand_alone_beside_others_and_under_flags(
    folder: Path, settings: str, flags: Flags, own: tuple[tuple[str, str], ...]
) -> None:
    path = folder / "a.toml"
    path.write_text(f"{HEAD}settings = {settings}\n")
    scenario = load_scenario(path, flags)
    assert scenario.database.settings == own
    assert scenario.database.production is not None
    assert scenario.database.production.file == "production.conf"
    assert dict(scenario.database.production.values)["work_mem"] == "4MB"
    assert "hunter2" not in repr(scenario)
    kept = redact(scenario).database.production
    assert kept is not None
    assert kept.values == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('settings = "none.conf"', r"a\.toml:7: `database.settings` names `none.conf`, which does not exist"),
        ("container = { cpus = 1 }", r"a\.toml:7: `database.container` is for `docker:IMAGE`"),
        ('provision = "docker:postgres:18"\ncontainer = { cpus = 0 }', "a number of processors"),
        ('provision = "docker:postgres:18"\ncontainer = { memory = "1" }', "a size with its unit"),
        ('provision = "docker:postgres:18"\ncontainer = { memory = "8MB" }', "at least 64MB"),
        ('provision = "docker:postgres:18"\ncontainer = { memry = "1GB" }', "database.container.memory"),
    ],
)
def test_what_is_wrong_with_a_database_is_named(folder: Path, keys: str, said: str) -> None:
    path = folder / "a.toml"
    path.write_text(f"{HEAD}{keys}\n")
    with pytest.raises(ScenarioError, match=said):
        load_scenario(path)


def test_a_container_has_its_limits_and_a_database_its_extensions(folder: Path) -> None:
    path = folder / "a.toml"
    path.write_text(
        f'{HEAD}provision = "docker:postgres:18"\nextensions = "pg_trgm"\ninit = ["s.sql"]\n'
        'container = { cpus = 1, memory = "1GiB", shm_size = "256MB", tmpfs = true }\n'
    )
    database = load_scenario(path).database
    assert database.extensions == ("pg_trgm",)
    assert [file.text for file in database.init] == ["SELECT 1;"]
    assert database.container is not None
    assert database.container.cpus == 1
    assert database.container.memory_bytes == 1024**3
    assert database.container.shm_size_bytes == 256 * 1024**2
    assert database.container.tmpfs
