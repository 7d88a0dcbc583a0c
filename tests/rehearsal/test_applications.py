"""The running application and the one that comes after it, in whole rehearsals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rehearsal.conftest import LIBRARY, SCENARIO, command, read_run

OLD = "\\set id sample(loans.id)\nSELECT note FROM loans WHERE id = :id;\n"
NEW = """\\set id sample(loans.id)
\\set n sample(loans.renewals)
UPDATE loans SET renewals = :n WHERE id = :id;
"""
REFUSED = "\\set id sample(loans.id)\nUPDATE loans SET renewals = NULL WHERE id = :id;\n"
UP = "SET lock_timeout = '2s';\nALTER TABLE loans ADD COLUMN renewals int NOT NULL DEFAULT 3;\n"
DEPLOY = """
scripts = ["app.sql"]

[workload.after]
scripts = ["new/app.sql", "new/refused.sql"]
share = "50%"
ramp = "200ms"
"""
ALONE = '[trials]\nrun = ["traffic"]\n'


def write(folder: Path, workload: str, scripts: dict[str, str]) -> None:
    """A scenario of the library: little time before, and a recovery in which a deployment has its own."""
    files = {"schema.sql": (LIBRARY / "schema.sql").read_text(), "up.sql": UP, **scripts}
    times = SCENARIO.replace("1500ms", "2500ms").replace('"3s"', '"1500ms"').replace('"1s"', '"300ms"')
    scenario = times.format(rows="5k", workload=workload, migration="", more=ALONE)
    for name, text in {**files, "case.toml": scenario}.items():
        (folder / name).write_text(text)


@pytest.mark.slow
def test_a_new_application_that_the_migrated_schema_refuses_is_no_go(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    write(tmp_path, DEPLOY, {"app.sql": OLD, "new/app.sql": NEW, "new/refused.sql": REFUSED})
    ran = read_run(command("run", "case.toml", "--json", "--out", "reports", cwd=tmp_path))
    assert ran.verdict == "NO_GO"
    finding = ran.finding("breaks-new-application")
    assert "refused failed with 23502" in finding["message"]
    assert "breaks-running-application" not in ran.rules("failure")
    metrics = ran.document["metrics"]
    assert metrics["errors.count{script=app}"] == 0
    assert metrics["errors.count{script=app_new}"] == 0
    assert metrics["errors.count{script=refused}"] > 20
    assert metrics["latency.p50{phase=baseline,script=app_new}"] is None
    assert metrics["latency.p50{phase=recovery,script=app_new}"] > 0
    assert metrics["latency.p50{phase=recovery,script=app}"] > 0


@pytest.mark.slow
def test_what_the_migrated_schema_does_not_have_is_an_error_of_the_script(tmp_path: Path) -> None:
    text = "\\set id sample(loans.id)\nSELECT 1;\nSELECT renewal\nFROM loans WHERE id = :id;"
    workload = 'scripts = ["app.sql"]\nafter = { scripts = ["new.sql"] }'
    write(tmp_path, workload, {"app.sql": OLD, "new.sql": text})
    done = command("run", "case.toml", "--json", "--out", "reports", cwd=tmp_path)
    assert done.returncode == 2
    assert 'new.sql:3: after the migration, column "renewal" does not exist' in done.stderr
