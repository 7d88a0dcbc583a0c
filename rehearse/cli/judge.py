"""`rehearse judge RUN`: conclude again from a run's folder, by other gates or other production rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def judge(
    run: Annotated[Path, typer.Argument(help="A folder that `rehearse run` made.")],
    gate: Annotated[list[str] | None, typer.Option(help='A gate: "stall.max <= 500ms"; repeat.')] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Judge a recorded run again, without a database. The record itself is not changed."""
    from dataclasses import replace

    from rich.console import Console

    from rehearse.cli.render import PAGE
    from rehearse.judge.judge import judge as conclude
    from rehearse.model.record import TrialKind
    from rehearse.record.folder import RunFolder
    from rehearse.report.document import json_document
    from rehearse.report.terminal import print_report
    from rehearse.scenario.gates import parse_gate_expression, with_gates

    folder = RunFolder(run)
    record = folder.read_record()
    scripts = [script.name for script in record.scripts]
    gates = with_gates(record.scenario.gates, [parse_gate_expression(text, scripts) for text in gate or ()])
    record = replace(record, scenario=replace(record.scenario, gates=gates))
    judgement = conclude(record, folder.read_samples(record), folder.read_samples(record, TrialKind.ROLLBACK))
    record = replace(record, judgement=judgement)
    if json_output:
        sys.stdout.write(json.dumps(json_document(record, str(run / PAGE)), indent=2) + "\n")
    else:
        print_report(record, Console(), str(run / PAGE))
    raise typer.Exit(int(judgement.verdict.exit_code))
