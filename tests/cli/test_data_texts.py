"""What `rehearse data load` and `rehearse data compare` say to people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rehearse.dataset.alone
from rehearse.cli.main import app
from rehearse.dataset.alone import LoadResult
from rehearse.model.profile import ColumnProfile, CommonValue, Profile, TableProfile
from rehearse.model.profile_file import profile_text
from rehearse.model.relation import Relation


def test_load_says_rows_rate_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = LoadResult(
        3_000_012, 3 * 2**29, 12.5, 3.0, 240_000.0, (("a", 12), ("orders", 3_000_000)), ("b stays empty",)
    )
    monkeypatch.setattr(rehearse.dataset.alone, "load_described", lambda *_given: done)
    schema = tmp_path / "schema.sql"
    schema.write_text("CREATE TABLE a ();")
    dsn = "postgresql://me@127.0.0.1:1/empty"
    said = CliRunner().invoke(app, ["data", "load", "--schema", str(schema), "--dsn", dsn])
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines() == [
        "a                  12 rows",
        "orders      3,000,000 rows",
        "note: b stays empty",
        "3,000,012 rows in 12 s (240,000 rows/s), then 3 s for indexes and constraints; 1.5 GiB in all",
    ]


STATE = ColumnProfile(
    "state", "text", width_bytes=5, distinct=2, common=(CommonValue(0.9, "paid"), CommonValue(0.1, "open"))
)
TABLE = TableProfile(Relation("public", "orders"), 100_000, columns=(STATE,))
PROFILE = Profile(
    "2026-01-01T00:00:00Z", "18.1", (TABLE, replace(TABLE, relation=Relation("public", "notes")))
)


@pytest.mark.parametrize(("paid", "code"), [(0.9, 0), (0.8, 1)])
def test_compare_says_what_is_beyond_the_tolerance(paid: float, code: int, tmp_path: Path) -> None:
    common = (CommonValue(paid, "paid"), CommonValue(1 - paid, "open"))
    other = replace(TABLE, columns=(replace(STATE, common=common),))
    others = (other, *PROFILE.tables[1:]) if code == 0 else (other,)
    words = ["data", "compare"]
    for name, profile in (("a.json", PROFILE), ("b.json", replace(PROFILE, tables=others))):
        (tmp_path / name).write_text(profile_text(profile))
        words += ["--profile", str(tmp_path / name)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == code, said.output
    lines = said.stdout.splitlines()
    assert lines[0].split() == [
        "column",
        *["nulls", "common", "quantiles", "correlation", "width", "distinct", "depends"],
    ]
    if code:
        assert lines[1].startswith("orders.state")
        assert " 9.7" in lines[1]
        assert lines[1].count("%!") == 1
        assert "not compared: notes: there is no such table" in lines
    assert lines[-1] == f"{'not ' * code}within 3 %: ! is beyond it, ~ does not count"
