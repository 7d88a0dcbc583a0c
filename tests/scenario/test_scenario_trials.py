"""Which trials a scenario asks for, by file and by flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearse.errors import ScenarioError
from rehearse.model.trials import TrialKind, TrialsSpec
from rehearse.scenario.flags import Flags, scenario_from_flags
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact

BEYOND = tuple(kind for kind in TrialKind if kind is not TrialKind.TRAFFIC)
CHEAP = (TrialKind.INTEGRITY, TrialKind.PLANS, TrialKind.COMPATIBILITY)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("schema.sql", "up.sql"):
        Path(name).write_text("SELECT 1;\n", encoding="utf-8")


def by_flag(trials: str | None) -> TrialsSpec:
    flags = Flags(schema=Path("schema.sql"), migration=[Path("up.sql")], trials=trials)
    return scenario_from_flags(flags).trials


def by_file(text: str) -> TrialsSpec:
    Path("case.toml").write_text(
        f'[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n{text}', encoding="utf-8"
    )
    return load_scenario(Path("case.toml"), Flags()).trials


def test_unless_said_otherwise_what_costs_little_is_made() -> None:
    spec = by_flag(None)
    assert spec.kinds is None
    assert spec.beyond_traffic(has_down=False) == CHEAP
    assert spec.beyond_traffic(has_down=True) == (TrialKind.INTEGRITY, TrialKind.ROLLBACK, *CHEAP[1:])


def test_what_is_named_is_made_and_nothing_else() -> None:
    for spec in (
        by_flag("interruption, integrity"),
        by_file('[trials]\nrun = ["interruption", "integrity"]'),
    ):
        assert spec.beyond_traffic(has_down=True) == (TrialKind.INTEGRITY, TrialKind.INTERRUPTION)
    assert by_flag("traffic").beyond_traffic(has_down=True) == ()
    assert by_flag("rollback").beyond_traffic(has_down=False) == (TrialKind.ROLLBACK,)


def test_what_was_asked_for_by_name_has_to_be_possible() -> None:
    asked = (by_flag("rollback"), by_file('[trials]\nrun = ["all", "rollback"]'))
    for spec in (*asked, by_file("[trials]\nrollback_traffic = true")):
        assert spec.must(TrialKind.ROLLBACK)
        assert TrialKind.ROLLBACK in spec.beyond_traffic(has_down=False)
    for spec in (by_flag(None), by_flag("all"), by_flag("integrity")):
        assert not spec.must(TrialKind.ROLLBACK)


def test_all_is_every_kind() -> None:
    assert by_flag("all").beyond_traffic(has_down=False) == BEYOND
    assert by_file('[trials]\nrun = "all"').beyond_traffic(has_down=False) == BEYOND


def test_the_rest_of_the_table_is_read() -> None:
    spec = by_file("[trials]\nrollback_traffic = true\ninterruptions = 7")
    assert (spec.kinds, spec.rollback_traffic, spec.interruptions) == (None, True, 7)


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"--trials.*rolback.*rollback"):
        by_flag("integrity,rolback")
    with pytest.raises(ScenarioError, match=r"interuption.*interruption"):
        by_file('[trials]\nrun = ["interuption"]')
    with pytest.raises(ScenarioError, match="interruptions"):
        by_file("[trials]\ninterruptions = 0")


def test_a_history_is_read_in_the_order_of_its_numbers() -> None:
    for name in ("V10__b.sql", "V2__a.sql", "U2__a.sql", "later/20240101/up.sql", "later/20240101/down.sql"):
        path = Path("migrations", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"-- {name}\n", encoding="utf-8")
    spec = by_file('[drift]\nhistory = "migrations"\nschema = "schema.sql"')
    assert spec.drift is not None
    assert [file.name for file in spec.drift.history] == [
        f"migrations/{name}" for name in ("later/20240101/up.sql", "V2__a.sql", "V10__b.sql")
    ]
    assert spec.drift.schema is not None
    assert spec.beyond_traffic(has_down=False) == (*CHEAP, TrialKind.DRIFT)
    named = by_file('[drift]\nhistory = ["migrations/V10__b.sql", "up.sql"]').drift
    assert named is not None
    assert [file.name for file in named.history] == ["migrations/V10__b.sql", "up.sql"]


def test_a_history_that_is_not_there_is_said() -> None:
    with pytest.raises(ScenarioError, match=r"drift\.history.*names `nowhere`"):
        by_file('[drift]\nhistory = "nowhere"')
    Path("empty").mkdir()
    with pytest.raises(ScenarioError, match=r"drift\.history.*`empty`, which holds no migrations"):
        by_file('[drift]\nhistory = "empty"')
    with pytest.raises(ScenarioError, match=r"trials\.run.*no history"):
        by_file('[trials]\nrun = "drift"')


def test_a_history_is_kept_by_name_alone() -> None:
    Path("001.sql").write_text("CREATE ROLE app PASSWORD 'hunter2';", encoding="utf-8")
    Path("case.toml").write_text(
        '[dataset]\nschema = "schema.sql"\n[migration]\nup = "up.sql"\n'
        '[drift]\nhistory = "001.sql"\nschema = "001.sql"',
        encoding="utf-8",
    )
    kept = redact(load_scenario(Path("case.toml"), Flags())).trials.drift
    assert kept is not None
    assert kept.schema is not None
    for file in (*kept.history, kept.schema):
        assert file.name == "001.sql"
        assert "hunter2" not in file.text
