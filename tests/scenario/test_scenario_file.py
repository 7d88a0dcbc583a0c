"""A scenario file becomes a Scenario, or one sentence that says what to mend and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearse.errors import ExitCode, ScenarioError
from rehearse.model.migration import TransactionMode
from rehearse.model.scenario import AdversarySpec, PhaseLengths, RowCounts
from rehearse.model.workload import Protocol
from rehearse.scenario.flags import Flags
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact

ROOT = Path(__file__).parents[2]
REQUIRED = '[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory with the files that the scenarios of these tests name."""
    monkeypatch.chdir(tmp_path)
    for name in ("schema.sql", "up.sql", "down.sql", "read.sql", "write.sql"):
        Path(name).write_text(f"SELECT '{name}';\n", encoding="utf-8")
    return tmp_path


def written(text: str) -> Path:
    path = Path("shop.toml")
    path.write_text(text, encoding="utf-8")
    return path


def refusal(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(written(text))
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_said_is_filled_in() -> None:
    scenario = load_scenario(written(REQUIRED))

    assert scenario.name == "shop"
    assert scenario.source == "shop.toml"
    assert scenario.dataset.schema.text == "SELECT 'schema.sql';\n"
    assert scenario.database.provision == "embedded"
    assert scenario.workload.scripts == ()
    assert scenario.workload.phases == PhaseLengths(3.0, 8.0, 4.0)
    assert scenario.production == RowCounts()
    assert [gate.metric.name for gate in scenario.gates] == [
        "stall.max",
        "latency.p99",
        "errors.rate",
        "blocking.projected",
    ]


def test_everything_that_can_be_said_arrives() -> None:
    scenario = load_scenario(
        written(
            """
name = "all-of-it"
[database]
engine = "postgres"
provision = "docker:postgres:17"
settings = { work_mem = "64MB", jit = false, max_connections = 200 }
[dataset]
schema = "schema.sql"
rows = { orders = "2M", customers = "1.5k", "*" = 1_000 }
load = ["read.sql"]
seed = 7
[workload]
rate = 12.5
clients = 4
processes = 2
protocol = "simple"
scripts = ["read.sql@7", "write.sql", "down.sql@0"]
variables = { scale = 3 }
warm_up = "500ms"
baseline = "1m"
recovery = "0s"
[migration]
up = ["up.sql", "write.sql"]
down = "down.sql"
transaction = "single-query"
expendable = ["orders.note"]
timeout = "2h"
[production]
rows = "300M"
[gates]
"stall.max" = "<= 500ms"
"errors.rate" = "off"
"latency.max{script=write}" = "< 2s"
[[adversaries]]
kind = "snapshot"
table = "orders"
duration = "6s"
start = "-2s"
[[adversaries]]
kind = "autovacuum"
table = "customers"
duration = "1s"
"""
        )
    )

    assert scenario.name == "all-of-it"
    assert scenario.seed == scenario.dataset.seed == 7
    assert scenario.database.provision == "docker:postgres:17"
    assert dict(scenario.database.settings) == {"work_mem": "64MB", "jit": "off", "max_connections": "200"}
    assert scenario.dataset.rows == RowCounts(1000, (("orders", 2_000_000), ("customers", 1500)))
    assert [file.text for file in scenario.dataset.load] == ["SELECT 'read.sql';\n"]
    workload = scenario.workload
    assert (workload.rate, workload.clients, workload.processes) == (12.5, 4, 2)
    assert workload.protocol is Protocol.SIMPLE
    assert [(script.name, script.weight) for script in workload.scripts] == [("read", 7), ("write", 1)]
    assert workload.variables == (("scale", 3),)
    assert workload.phases == PhaseLengths(0.5, 60.0, 0.0)
    migration = scenario.migration
    assert [file.name for file in (*migration.up, *migration.down)] == ["up.sql", "write.sql", "down.sql"]
    assert migration.transaction is TransactionMode.SINGLE_QUERY
    assert migration.expendable == ("orders.note",)
    assert migration.timeout_s == 7200.0
    assert scenario.production == RowCounts(300_000_000)
    assert [str(gate.metric) for gate in scenario.gates] == [
        "stall.max",
        "latency.p99{phase=migration}",
        "blocking.projected",
        "latency.max{script=write}",
    ]
    assert scenario.adversaries == (
        AdversarySpec("snapshot", "orders", 6.0, -2.0),
        AdversarySpec("autovacuum", "customers", 1.0, -1.0),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[workload]\nrat = 3", "shop.toml:6: unknown key `workload.rat`; did you mean `workload.rate`?"),
        (
            "[workload]\n\n\nseed = 3",
            "shop.toml:8: unknown key `workload.seed`; did you mean `dataset.seed`?",
        ),
        ("[workloads]\nrate = 3", "shop.toml:5: unknown key `workloads`; did you mean `workload`?"),
        ("[production]\nzzz = 1", "shop.toml:6: unknown key `production.zzz`; valid here: `rows`"),
        ("[workload]\nrate = 0", "shop.toml:6: `workload.rate` must be above 0, not 0"),
        ("[workload]\nrate = inf", "shop.toml:6: `workload.rate` must be a finite number, not inf"),
        ("[workload]\nrate = '9'", "shop.toml:6: `workload.rate` must be a number, not text"),
        ("[workload]\nclients = 0", "shop.toml:6: `workload.clients` must be at least 1, not 0"),
        ("[workload]\nclients = true", "must be a whole number, not true or false"),
        ("[workload]\nclients = 2\nprocesses = 3", "`workload.processes` is 3, more than the 2 clients"),
        ("[workload]\nprotocol = 'preparde'", "did you mean `prepared`?"),
        (
            "[workload]\nbaseline = 8",
            'shop.toml:6: `workload.baseline` must be text with a unit, such as "6s"',
        ),
        ("[workload]\nbaseline = '0s'", "must be longer than 0"),
        ("[workload]\nbaseline = '99999h'", 'must be at most a day ("24h"), not "99999h"'),
        ("[workload]\nwarm_up = '-1s'", "must not be negative"),
        ("[workload]\nvariables = { '9a' = 1 }", "`workload.variables.9a` is not a variable's name"),
        (
            "[workload]\nscripts = ['read.sql',\n'read.sql@x']",
            "shop.toml:7: `workload.scripts[1]` has the weight",
        ),
        ("[workload]\nscripts = ['read.sql@-1']", "has the weight -1, which is not between 0"),
        ("[workload]\nscripts = ['read.sql@0']", "`workload.scripts` gives every script the weight 0"),
        ("[workload]\nscripts = ['tpcb-lik']", "which is no built-in script; did you mean `tpcb-like`?"),
        ("[workload]\nscripts = ['raed.sql']", "did you mean `read.sql`?"),
        ("[database]\nengine = 'postgre'", "did you mean `postgres`?"),
        ("[database]\nsettings = { a = [1] }", "`database.settings.a` must be text, a number, true or false"),
        ("[production]\nrows = { a = 0 }", "shop.toml:6: `production.rows.a` must be at least 1"),
        ("[production]\nrows = '3.3'", "`production.rows` must be a whole number of rows"),
        ("[production]\nrows = 'many'", "`production.rows` must be a count such as 5000"),
        ("[production]\nrows = -1", "must be between 0 and 10^15, not -1"),
        (
            "[gates]\n'stall.mx' = '<= 1s'",
            "shop.toml:6: unknown metric `stall.mx`; did you mean `stall.max`?",
        ),
        ("[gates]\nstall.max = '<= 1s'", 'put the metric in quotes: "stall.max"'),
        ("[gates]\n'stall.max' = 1", '`gates."stall.max"` must be a condition in quotes; such as "<= 1s"'),
        ("[[adversaries]]\nkind = 'longreader'\ntable = 't'\nduration = '1s'", "did you mean `long-reader`?"),
        (
            "[adversaries]\nkind = 'vacuum'",
            "`adversaries` must be a list of tables, not a table; write [[adversaries]]",
        ),
        ("[workload]\nscripts = { a = 1 }", "`workload.scripts` must be a list, not a table"),
        ("[[adversaries]]\nkind = 'snapshot'\nduration = '1s'", "missing key `adversaries[0].table`"),
        ("a = = 1", "shop.toml:5: not valid TOML"),
        ("[dataset]\nseed = 1", "shop.toml:5: not valid TOML: cannot declare [dataset] twice"),
    ],
)
def test_what_is_wrong_is_named_with_line_key_and_mend(text: str, message: str) -> None:
    assert message in refusal(REQUIRED + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shop.toml: missing key `dataset`; a scenario needs a [dataset] table"),
        ('[dataset]\nschema = "schema.sql"', "missing key `migration`"),
        ('[dataset]\nschema = "schema.sql"\n[migration]\nupp = "x"', "did you mean `migration.up`?"),
        (
            '[dataset]\nschema = "schema.sql"\n[migration]\nup = []',
            "shop.toml:4: `migration.up` must not be empty",
        ),
        (
            '[dataset]\nschema = ""\n[migration]\nup = "up.sql"',
            "shop.toml:2: `dataset.schema` must not be empty",
        ),
        (
            '[dataset]\nschema = "no.sql"\n[migration]\nup = "up.sql"',
            "shop.toml:2: `dataset.schema` names `no.sql`",
        ),
        ('name = "a/b"\n' + REQUIRED, "shop.toml:1: `name` must be up to 80 letters"),
    ],
)
def test_what_is_missing_is_named(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xff\xfea\0", "which is UTF-16 text; save it as UTF-8"),
        (b"SELECT 1;\n\0\1", "which is a binary file"),
        (b"SELECT 1;\nSELECT '\xe9';", "which is not UTF-8 text (line 2)"),
        (b" \n", "which is empty"),
    ],
)
def test_a_file_that_is_no_sql_text_is_named_with_its_key(content: bytes, what: str) -> None:
    Path("up.sql").write_bytes(content)
    message = refusal(REQUIRED)

    assert message.startswith("shop.toml:4: `migration.up` names `up.sql`, ")
    assert what in message


def test_a_file_is_like_another_by_its_name_not_by_its_ending() -> None:
    Path("g_e.sql").write_text("SELECT 1;")
    Path("upgrade.txt").write_text("")
    Path("upgrade.sql").write_text("SELECT 1;")
    assert "did you mean" not in refusal(REQUIRED.replace("up.sql", "nope.sql"))
    assert "did you mean `upgrade.sql`?" in refusal(REQUIRED.replace("up.sql", "upgrad.sql"))
    assert "did you mean `schema.sql`?" in refusal(REQUIRED.replace("schema.sql", "shema.slq"))


def test_a_folder_is_not_a_file() -> None:
    Path("migrations").mkdir()
    assert "is a folder" in refusal(REQUIRED.replace("up.sql", "migrations"))


@pytest.mark.parametrize("name", ["a\\u0000b.sql", "x" * 300 + ".sql", "up.sql/x.sql"])
def test_a_path_that_can_be_no_file_is_refused(name: str) -> None:
    message = refusal(REQUIRED.replace("up.sql", name))
    assert message.startswith("shop.toml:4: `migration.up` names `")


def test_a_byte_order_mark_is_dropped() -> None:
    Path("up.sql").write_bytes(b"\xef\xbb\xbfSELECT 1;")
    assert load_scenario(written(REQUIRED)).migration.up[0].text == "SELECT 1;"


def test_a_scenario_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"^nowhere\.toml: does not exist$"):
        load_scenario(Path("nowhere.toml"))
    Path("shop.toml").write_bytes(b"\xff\xff")
    with pytest.raises(ScenarioError, match=r"^shop\.toml: is not UTF-8 text"):
        load_scenario(Path("shop.toml"))


def test_files_are_looked_for_beside_the_scenario_then_in_the_current_directory() -> None:
    beside = Path("scenarios")
    beside.mkdir()
    (beside / "up.sql").write_text("beside", encoding="utf-8")
    path = beside / "shop.toml"
    path.write_text(REQUIRED, encoding="utf-8")
    scenario = load_scenario(path)

    assert scenario.migration.up[0].text == "beside"
    assert scenario.migration.up[0].name == "scenarios/up.sql"
    assert scenario.dataset.schema.name == "schema.sql"

    Path("schema.sql").unlink()
    with pytest.raises(ScenarioError, match=r"looked for scenarios/schema\.sql and schema\.sql"):
        load_scenario(path)


def test_two_scripts_of_one_name_are_told_apart() -> None:
    Path("other").mkdir()
    Path("other/read.sql").write_text("SELECT 2;", encoding="utf-8")
    scenario = load_scenario(
        written(REQUIRED + "[workload]\nscripts = ['read.sql', 'other/read.sql@2', 'read.sql']")
    )
    assert [script.name for script in scenario.workload.scripts] == ["read", "read_2", "read_3"]


@pytest.mark.parametrize(
    ("rows", "scale"),
    [("{ pgbench_branches = 20 }", 20), ("{ pgbench_accounts = '500k' }", 5), ("'2M'", 20), ("{}", 1)],
)
def test_a_built_in_script_knows_the_scale_of_the_data(rows: str, scale: int) -> None:
    text = REQUIRED.replace("[migration]", f"rows = {rows}\n[migration]")
    scenario = load_scenario(written(text + "[workload]\nscripts = ['tpcb-like@3', 'select-only']"))

    assert dict(scenario.workload.variables) == {"scale": scale}
    assert "pgbench_history" in scenario.workload.scripts[0].text


def test_flags_take_precedence_over_the_file_and_are_named_when_wrong() -> None:
    path = written(
        REQUIRED.replace("[migration]", "rows = { orders = 5, items = 6 }\n[migration]")
        + "[gates]\n'stall.max' = '<= 2s'"
    )
    scenario = load_scenario(
        path, Flags(rows=["orders=9", "7"], seed=1, gates=["stall.max <= 3s", "errors.rate off"])
    )
    assert scenario.dataset.rows == RowCounts(7, (("orders", 9), ("items", 6)))
    assert scenario.seed == 1
    assert [gate.text for gate in scenario.gates if gate.metric.name == "stall.max"] == ["stall.max <= 3s"]
    assert "errors.rate" not in [gate.metric.name for gate in scenario.gates]

    with pytest.raises(ScenarioError, match=r"^`--rate` must be above 0, not -1$"):
        load_scenario(path, Flags(rate=-1.0))
    with pytest.raises(ScenarioError, match=r"^`--rows items=x` must be a count"):
        load_scenario(path, Flags(rows=["items=x"]))


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://me:hunter2@db.example.org/shop", "postgresql://***"),
        ("host=db.example.org password=hunter2 dbname=shop", "dsn"),
    ],
)
def test_an_address_is_kept_for_the_driver_and_out_of_sight(dsn: str, shown: str) -> None:
    scenario = load_scenario(written(REQUIRED + f"[database]\nprovision = '{dsn}'"))

    assert scenario.database.provision == dsn
    assert "hunter2" not in repr(scenario)
    assert redact(scenario).database.provision == shown
    assert redact(load_scenario(written(REQUIRED))).database.provision == "embedded"


def test_a_mistyped_address_is_not_repeated() -> None:
    message = refusal(REQUIRED + "[database]\nprovision = 'postgrse//me:hunter2@db/shop'")

    assert message.startswith("shop.toml:6: `database.provision` must be `embedded`")
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["naive", "safe"])
def test_the_scenarios_of_the_shop_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    scenario = load_scenario(Path("scenarios/shop") / f"{name}.toml")

    assert scenario.name == f"shop-{name}"
    assert dict(scenario.dataset.rows.tables)["orders"] >= 1_000_000
    assert dict(scenario.production.tables)["orders"] == 300_000_000
    assert scenario.migration.down
