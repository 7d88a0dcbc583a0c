"""Gates that break off, risks that are accepted, and how often the traffic trial is made, as people write
them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rehearse.errors import ScenarioError
from rehearse.model.gates import METRICS, Comparison, Gate, MetricKind
from rehearse.model.scenario import Scenario
from rehearse.model.verdict import Unit
from rehearse.scenario.flags import Flags, scenario_from_flags
from rehearse.scenario.gates import parse_abort_expression, parse_gate_expression
from rehearse.scenario.load import load_scenario

ACCEPT = """
[[accept]]
rule = "rewrite-under-lock"
{}
reason = "a window is announced"
until = {}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("schema.sql", "up.sql"):
        Path(name).write_text("SELECT 1;\n", encoding="utf-8")


def by_file(text: str, **flags: object) -> Scenario:
    Path("case.toml").write_text(
        f'[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n{text}', encoding="utf-8"
    )
    return load_scenario(Path("case.toml"), Flags(**flags))  # type: ignore[typeddict-item] # some flags


def test_the_limit_may_be_another_metric_or_a_part_of_it() -> None:
    limits = {
        "latency.p99{phase=migration} <= latency.p99{phase=baseline}": 1.0,
        "latency.p99{phase=migration} <= 150% latency.p99{phase=baseline} floor 20ms": 1.5,
        "duration <= duration.projected": 1.0,
        "duration <= 0.5x duration.projected": 0.5,
    }
    for text, factor in limits.items():
        gate = parse_gate_expression(text)
        assert isinstance(gate, Gate)
        assert gate.limit == factor
        assert gate.relative_to is not None


def test_an_abort_gate_by_file_and_by_flag() -> None:
    scenario = by_file('[abort]\n"stall.max" = "> 10s"\n"duration" = ">= 15m"', aborts=["stall.max > 5s"])
    assert [(str(gate.metric), gate.comparison, gate.limit) for gate in scenario.aborts] == [
        ("stall.max", Comparison.ABOVE, 5.0),
        ("duration", Comparison.AT_LEAST, 900.0),
    ]
    alone = scenario_from_flags(
        Flags(schema=Path("schema.sql"), migration=[Path("up.sql")], aborts=["errors.rate > 5%"], repeat=4)
    )
    assert alone.aborts[0].limit == pytest.approx(0.05)
    assert alone.repeat == 4


@pytest.mark.parametrize("kind", [kind for kind in METRICS if kind.live], ids=lambda kind: kind.name)
def test_every_live_metric_may_break_off(kind: MetricKind) -> None:
    limit = {Unit.SECONDS: "1s", Unit.RATIO: "1%", Unit.COUNT: "1"}[kind.unit]
    assert parse_abort_expression(f"{kind.name} > {limit}").metric.name == kind.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stal.max > 1s", "did you mean `stall.max`"),
        ("latency.p99 > 1s", "not known while the migration runs; did you mean `latency.max`"),
        ("wal.bytes > 1GB", "`stall.max`"),
        ("stall.max <= 1s", "write `> 1s`"),
        ("stall.max{script=a} > 1s", "no selector"),
        ("stall.max > 2x stall.total", "fixed limit"),
        ("stall.max > 10", "no unit"),
    ],
)
def test_what_cannot_break_off_is_told_with_the_mend(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_abort_expression(text)


def test_an_error_names_the_line_or_the_flag() -> None:
    with pytest.raises(ScenarioError, match=r"^case.toml:6: unknown metric `stall.maxx`"):
        by_file('[abort]\n"stall.maxx" = "> 10s"')
    with pytest.raises(ScenarioError, match=r"`--abort`: .*does not break off"):
        by_file("", aborts=["stall.max < 10s"])


def test_an_accepted_risk_is_read_whole() -> None:
    text = ACCEPT.format('statement = "ALTER TABLE loans *"\nsubject = "loans"\nby = "dba"', "2027-01-31")
    (spec,) = by_file(text).accepted
    assert (spec.rule, spec.statement, spec.subject, spec.by) == (
        "rewrite-under-lock",
        "ALTER TABLE loans *",
        "loans",
        "dba",
    )
    assert spec.until == date(2027, 1, 31)
    assert spec.place == "case.toml:7: `accept[0].rule`"
    assert by_file(ACCEPT.format('subject = "loans"', '"2027-01-31"')).accepted[0].until == spec.until


@pytest.mark.parametrize(
    ("extra", "until", "message"),
    [
        ("", "2027-01-31", "would accept whatever the rule finds"),
        ('statement = "/(/"', "2027-01-31", "not a regular expression"),
        ('statement = "1"', '"next year"', "must be a day"),
        ('statement = "1"', "2027-01-31T10:00:00", "must be a day"),
        ('statement = "1"\nuntill = 2027-01-01', "2027-01-31", "until"),
    ],
)
def test_an_acceptance_that_says_too_little_is_refused(extra: str, until: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        by_file(ACCEPT.format(extra, until))


def test_the_reason_must_be_given() -> None:
    with pytest.raises(ScenarioError, match="reason"):
        by_file('[[accept]]\nrule = "stall"\nsubject = "*"\nuntil = 2027-01-31')


def test_how_often() -> None:
    assert by_file("").repeat == 1
    assert by_file("[run]\nrepeat = 3").repeat == 3
    assert by_file("[run]\nrepeat = 3", repeat=5).repeat == 5
    with pytest.raises(ScenarioError, match=r"`run\.repeat` must be at least 1"):
        by_file("[run]\nrepeat = 0")
