"""The running application and the one that comes after it, in whole rehearsals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rehearsal.conftest import ALONE, Ran, run_library

OLD = "\\set id sample(loans.id)\nSELECT note FROM loans WHERE id = :id;\n"
NEW = """\\set id sample(loans.id)
\\set n sample(loans.renewals)
UPDATE loans SET renewals = :n WHERE id = :id;
"""
REFUSED = "\\set id sample(loans.id)\nUPDATE loans SET renewals = NULL WHERE id = :id;\n"
UP = "SET lock_timeout = '1min';\nALTER TABLE loans ADD COLUMN renewals int NOT NULL DEFAULT 3;\n"
DEPLOY = """
scripts = ["app.sql"]

[workload.after]
scripts = ["new/app.sql", "new/refused.sql"]
share = "50%"
ramp = "200ms"
"""


@pytest.mark.slow
def test_a_new_application_that_the_migrated_schema_refuses_is_no_go(library: Callable[..., Ran]) -> None:
    scripts = {"app.sql": OLD, "new/app.sql": NEW, "new/refused.sql": REFUSED}
    ran = library(UP, rows="5k", workload=DEPLOY, scripts=scripts, more=ALONE, recovery="2500ms")
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
    done = run_library(tmp_path, UP, rows="5k", workload=workload, scripts={"app.sql": OLD, "new.sql": text})
    assert done.returncode == 2
    assert 'new.sql:3: after the migration, column "renewal" does not exist' in done.stderr
