"""What a run is told about must be there: one line, exit code 2, and no verdict that rests on a typo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rehearsal.conftest import LIBRARY, command


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--gate", "stall.max{script=red_loans} <= 1s"), "script that is not sent"),
        (
            ("--expendable", "loans.nte", "--rows", "loan=9", "--gate", "stall.max{script=read_lons} <= 1s"),
            "3 names are not in the schema: (1) rows for loan: there is no such table; did you mean loans?;",
        ),
        (("--disposable", "scratch"), "is for an existing server"),
    ],
)
def test_a_name_that_is_not_there_ends_the_run(flags: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "up.sql").write_text("ALTER TABLE loans ADD COLUMN renewals int;")
    schema = LIBRARY / "schema.sql"
    words: list[str | Path] = ["run", "--schema", schema, "--migration", "up.sql", "--rows", "50", "--json"]
    done = command(*words, *flags, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    for record in tmp_path.glob("reports/*"):
        assert message in json.loads((record / "run.json").read_text())["error"]
