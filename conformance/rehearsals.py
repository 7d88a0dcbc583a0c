"""One row under traffic: its scenario written down, rehearsed as a user would, and the answer read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.row import GO, Row

ROWS = 30_000
PRODUCTION = "200M"
QUEUE = "unbounded-lock-queue"
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one rehearsal of a row said. `failures` and `warnings` are rules, and gates that no rule
    speaks for; `why` is its headline; `seconds` the time it took, start of the server included.
    """

    verdict: str
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    why: str = ""
    seconds: float = 0.0

    def agrees(self, row: Row) -> bool:
        """Whether it has the row's verdict, for the row's reason."""
        if self.verdict != row.verdict.value:
            return False
        if row.verdict is GO:
            return (QUEUE in self.warnings) == row.warns
        return row.rule in self.failures


def rehearse_row(row: Row, provision: str, *, rows: int = ROWS, rate: float = 150.0) -> Answer:
    """Rehearse it once on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as place:
        folder = Path(place)
        scenario = write_scenario(folder, row, provision, rows=rows, rate=rate)
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "rehearse", "run", str(scenario), "--json", "--no-cache",
             "--out", str(folder / "reports")],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "REHEARSE_CACHE": "off"},
        )  # fmt: skip
        seconds = time.monotonic() - began
    if not done.stdout.startswith("{"):
        return Answer(f"exit {done.returncode}", why=done.stderr.strip()[-300:], seconds=seconds)
    return _answer(json.loads(done.stdout), seconds)


def _answer(document: dict[str, object], seconds: float) -> Answer:
    findings = document["findings"]
    assert isinstance(findings, list)

    def rules(severity: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f["rule"] for f in findings if f["severity"] == severity))

    said = document["error"] or next(
        (f["message"] for f in findings if f["severity"] in {"failure", "unmeasured"}), document["why"]
    )
    return Answer(
        verdict=str(document["verdict"]),
        failures=rules("failure"),
        warnings=rules("warning"),
        why=str(said),
        seconds=seconds,
    )


def write_scenario(folder: Path, row: Row, provision: str, *, rows: int, rate: float) -> Path:
    """The scenario's files, in `folder`; the path of its TOML."""
    (folder / "schema.sql").write_text(f"{row.site.schema}\n{row.before}\n")
    (folder / "load.sql").write_text(f"{row.site.load.format(rows=rows)}\n{row.data}\n")
    (folder / "up.sql").write_text(f"{row.up.rstrip().rstrip(';')};\n")
    scripts = {} if row.alone else dict(row.site.application)
    scripts.update(row.scripts)
    for name, text in scripts.items():
        (folder / f"{name.partition('@')[0]}.sql").write_text(text)
    path = folder / "row.toml"
    path.write_text("\n".join(_toml(row, provision, tuple(scripts), rows, rate)))
    return path


def _table(counts: Mapping[str, int]) -> str:
    return "{ " + ", ".join(f"{name} = {count}" for name, count in counts.items()) + " }"


def _toml(row: Row, provision: str, scripts: tuple[str, ...], rows: int, rate: float) -> Iterator[str]:
    files = [f"{name}.sql@{weight}" for name, _, weight in (script.partition("@") for script in scripts)]
    yield f"""[database]
provision = {json.dumps(provision)}

[dataset]
schema = "schema.sql"
load = "load.sql"
rows = {_table(row.site.rows)}

[workload]
rate = {rate:g}
clients = 16
warm_up = "1s"
baseline = "3s"
recovery = "1500ms"
variables = {{ rows = {rows} }}
scripts = {json.dumps(files)}

[migration]
up = "up.sql"
transaction = {json.dumps(row.transaction)}
expendable = {json.dumps(row.expendable)}

[production]
rows = {json.dumps(PRODUCTION)}
"""
    for company in row.company:
        yield f"""[[adversaries]]
kind = {json.dumps(company.kind)}
table = {json.dumps(company.table)}
duration = "{company.duration_s:g}s"
start = "{company.start_s:g}s"
"""
