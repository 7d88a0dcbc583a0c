"""`rehearse drift`, as a pipeline would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rehearse.errors import ExitCode


def drift(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rehearse", "drift", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_what_differs_is_told_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "10_more.sql").write_text("ALTER TABLE t ADD COLUMN more int DEFAULT 1;")
    (tmp_path / "migrations" / "9_first.sql").write_text("CREATE TABLE t (id int PRIMARY KEY);")
    (tmp_path / "dump.sql").write_text(
        "CREATE TABLE t (id int PRIMARY KEY, more int DEFAULT 2); CREATE INDEX by_hand ON t (more);"
    )
    done = drift(tmp_path, "--history", "migrations", "--schema", "dump.sql", "--json")
    assert done.returncode == ExitCode.NO_GO, done.stderr
    found = {each["name"]: (each["history"], each["production"]) for each in json.loads(done.stdout)["drift"]}
    assert found == {
        "t.more": ("integer DEFAULT 1", "integer DEFAULT 2"),
        "by_hand": (None, "CREATE INDEX by_hand ON public.t USING btree (more)"),
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--history", "nowhere", "--schema", "."), "--history names `nowhere`, which does not exist"),
        (("--history", __file__, "--schema", "nowhere"), "--schema names `nowhere`, which does not exist"),
    ],
)
def test_what_cannot_be_read_is_bad_input(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = drift(tmp_path, *words)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
