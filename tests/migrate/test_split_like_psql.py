"""The splitter against psql itself: both take random scripts apart, and psql echoes what it sends."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from rehearse.engines.postgres.split import split
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.model.target import Target
from rehearse.provision import Server
from rehearse.provision.binaries import embedded_installation
from tests.migrate.conftest import PIECES_OF_SQL

PIECES = [
    "xSELECT 1",
    *PIECES_OF_SQL,
    *("case", "END", "begin", "create", "function", "or replace", "procedure", "(", ")", ";", ";", ";", "$1"),
    *("'a'\n'b'", "E'a'\n'\\''", "U&'\\0061'", 'U&";"', "foo$a$", ":x", ":'x'", ':"x"', ":y", "::int", "1e'"),
    *(
        "b'1;'",
        "INSERT INTO t",
        "INSERT INTO t",
        "(1, 'a;', -2)",
        "(E'\\'', 1)",
        "('--', a--\n)",
        "(:x, :'x')",
    ),
]


@pytest.mark.parametrize("seed", range(60))
def test_what_psql_sends_is_what_is_split(seed: int, server: Server, tmp_path: Path) -> None:
    choice = random.Random(seed)
    pieces = (choice.choice(PIECES) + choice.choice(["", " "]) for _ in range(choice.randint(1, 14)))
    script = tmp_path / "script.sql"
    script.write_text("\\set x 5\n" + "".join(pieces) + "\n")
    try:
        statements = split(SqlFile(str(script), script.read_text()))
    except SqlFileError:
        return  # an open quote: psql sends what it has, and the server refuses it
    assert _bare(";".join(s.text for s in statements)) == _bare(_echo(server.target, script))


def _echo(target: Target, script: Path) -> str:
    words = target.conninfo("rehearse")
    psql = str(embedded_installation().bindir / "psql")
    command = [psql, "-X", "-q", "-e", "-h", words["host"], "-p", words["port"], "-U", words["user"]]
    return subprocess.run(
        [*command, "-f", str(script), words["dbname"]],
        env=os.environ | {"PGPASSWORD": words.get("password", "")},
        check=False,  # none of it makes sense to the server
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout


def _bare(text: str) -> str:
    """Without blanks, the comments of PIECES, and the semicolons that only end a statement."""
    text = "".join(text.split()).replace("/*;*/", "").replace("--;", "")
    while ";;" in text:
        text = text.replace(";;", ";")
    return text.strip(";")
