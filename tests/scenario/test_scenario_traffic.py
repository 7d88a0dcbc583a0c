"""Rates, retries, traces, applications: what a scenario says of its traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearse.errors import ScenarioError
from rehearse.model.scenario import Scenario
from rehearse.model.workload import Arrivals, RateStep, RetryPolicy
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact

SCRIPT = "select 1;\n"


def load(folder: Path, workload: str) -> Scenario:
    for name in ("schema.sql", "up.sql", "a.sql", "b.sql"):
        (folder / name).write_text(SCRIPT)
    (folder / "new").mkdir(exist_ok=True)
    (folder / "new" / "a.sql").write_text("select 2;\n")
    (folder / "new" / "c.sql").write_text("select 3;\n")
    (folder / "trace.csv").write_text("seconds,script\n5,a\n5.5,b\n7,a\n")
    path = folder / "shop.toml"
    path.write_text(
        f'[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n[workload]\n{workload}\n', "utf-8"
    )
    return load_scenario(path)


def test_an_open_loop_is_what_there_is_without_a_word(tmp_path: Path) -> None:
    workload = load(tmp_path, "").workload
    assert (workload.rate, workload.closed_loop, workload.steps) == (400.0, False, ())
    assert (workload.arrivals, workload.retry, workload.after) == (Arrivals.POISSON, None, None)


def test_steps_ramps_and_closed_loops(tmp_path: Path) -> None:
    text = 'rate = [{ until = "30s", rate = 200 }, { until = "1m", rate = 800, ramp = true }]'
    workload = load(tmp_path, text + '\narrivals = "uniform"').workload
    assert workload.steps == (RateStep(200.0, 30.0), RateStep(800.0, 60.0, ramp=True))
    assert (workload.rate, workload.arrivals) == (800.0, Arrivals.UNIFORM)
    assert load(tmp_path, 'rate = "closed-loop"').workload.closed_loop


def test_retries(tmp_path: Path) -> None:
    assert load(tmp_path, 'retry = "none"').workload.retry is None
    assert load(tmp_path, 'retry = "application"').workload.retry == RetryPolicy()
    table = 'retry = { sqlstates = ["40001"], attempts = 5, backoff = "20ms" }'
    assert load(tmp_path, table).workload.retry == RetryPolicy(("40001",), 5, 0.02)


def test_a_trace_sets_the_rate_and_is_not_kept(tmp_path: Path) -> None:
    scenario = load(tmp_path, 'trace = "trace.csv"\nscripts = ["b.sql", "a.sql"]')
    trace = scenario.workload.trace
    assert trace is not None
    assert (trace.due_ns, trace.script, trace.repeat) == ((0, 500_000_000, 2 * 10**9), (1, 0, 1), True)
    assert scenario.workload.rate == pytest.approx(1.0)
    kept = redact(scenario).workload.trace
    assert kept is not None
    assert (kept.file, kept.due_ns, kept.script) == ("trace.csv", (), ())


def test_the_new_application(tmp_path: Path) -> None:
    text = 'scripts = ["a.sql"]\n[workload.after]\nscripts = ["new/a.sql@2", "new/c.sql"]\n'
    workload = load(tmp_path, text).workload
    assert workload.after is not None
    assert [script.name for script in workload.after.scripts] == ["a_new", "c"]
    assert (workload.after.share, workload.after.ramp_s) == (0.5, 5.0)
    assert workload.phases.recovery_s == 11.0
    workload = load(tmp_path, text + 'share = "100%"\nramp = "1s"').workload
    assert workload.after is not None
    assert (workload.after.share, workload.phases.recovery_s) == (1.0, 7.0)
    assert load(tmp_path, 'recovery = "2s"\n' + text).workload.phases.recovery_s == 2.0


def test_an_inferred_workload_may_be_shaped(tmp_path: Path) -> None:
    workload = load(tmp_path, 'writes = "20%"\nhot = { orders = 10 }').workload
    assert (workload.writes, workload.hot) == (0.2, (("orders", 10),))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('rate = "closed"', '`workload.rate` must be a number, not text; or "closed-loop"'),
        ("rate = []", "`workload.rate` must not be empty"),
        ("rate = [{ rate = -1 }]", r"`workload.rate\[?0?\]?.rate` must be at least 0"),
        ("rate = [{ rate = 5 }, { rate = 6 }]", "`workload.rate` needs `until` in every step but the last"),
        ('rate = [{ rat = 5, until = "1s" }]', r"unknown key `workload.rate.*rat`"),
        ('arrivals = "poison"', '`workload.arrivals` must not be "poison"; did you mean'),
        ('retry = "always"', '`workload.retry` must not be "always"'),
        ('retry = { sqlstates = ["deadlock"] }', "names `deadlock`, which is no SQLSTATE"),
        ("retry = { attempts = 1 }", "`workload.retry.attempts` must be at least 2"),
        ('trace = "trace.csv"', "`workload.trace` names scripts"),
        ('trace = "trace.csv"\nscripts = ["a.sql"]', "line 3, where `b` is no script of the workload"),
        ('trace = "trace.csv"\nrate = 5\nscripts = ["a.sql"]', "`workload.rate` exclude each other"),
        ('writes = "120%"', '`workload.writes` must be a share such as "20%" or 0.2, not "120%"'),
        ('writes = 0.2\nscripts = ["a.sql"]', "`workload.writes` is for an inferred workload"),
        ("hot = { a = 3 }\nscripts = ['a.sql']", "`workload.hot` is for an inferred workload"),
        (
            'rate = "closed-loop"\nafter = { scripts = ["new/c.sql"] }',
            "`workload.after` needs `workload.rate`: in a closed loop",
        ),
        (
            'trace = "trace.csv"\nscripts = ["a.sql"]\nafter = { scripts = ["new/c.sql"] }',
            "`workload.after` cannot share a trace",
        ),
        ('after = { scripts = ["new/c.sql"], share = 0 }', "`workload.after.share` must be above 0"),
        ("after = { scripts = [] }", "`workload.after.scripts` must not be empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ScenarioError, match=what):
        load(tmp_path, text)
