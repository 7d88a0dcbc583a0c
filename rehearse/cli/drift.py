"""`rehearse drift`: the history of migrations against production's schema, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rehearse.errors import ExitCode, InputError


def drift(
    history: Annotated[
        list[Path], typer.Option(help="The migrations ever applied: a folder, or files in order; repeat.")
    ],
    schema: Annotated[Path, typer.Option(help="Production's schema, such as pg_dump --schema-only prints.")],
    provision: Annotated[
        str, typer.Option(help="embedded, docker:IMAGE, local:BINDIR, or a DSN.")
    ] = "embedded",
    init: Annotated[
        list[Path] | None, typer.Option(help="SQL to run before both, such as roles; repeat.")
    ] = None,
    extension: Annotated[list[str] | None, typer.Option(help="An extension that both need; repeat.")] = None,
    disposable: Annotated[
        str | None, typer.Option(help="With a DSN: its database's name, to say that it may be destroyed.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Compare the schema that the migrations make with that of production. Exit code 1: they differ."""
    from rehearse.acts.drift import compared
    from rehearse.model.drift import DriftFacts
    from rehearse.model.target import EngineName
    from rehearse.provision import provision as provide
    from rehearse.report.application import drift_lines, drift_objects
    from rehearse.scenario.alone import database_from_flags
    from rehearse.scenario.files import Reader
    from rehearse.scenario.history import read_history
    from rehearse.scenario.values import RefusedError

    reader = Reader((Path(),))
    flag = "--history"
    try:
        files = tuple(file for name in history for file in read_history(reader, str(name)))
        flag = "--schema"
        there = reader.read(str(schema))
    except RefusedError as refusal:
        raise InputError(f"{flag} {refusal.what}", refusal.mend) from None
    spec = database_from_flags(
        provision, EngineName.POSTGRES.value, init=init or (), extensions=extension or ()
    )
    with provide(spec, disposable=disposable) as server:
        found = compared(server.target, spec, files, there)
    facts = DriftFacts(len(files), str(schema), found)
    if json_output:
        document = {"files": len(files), "schema": str(schema), "drift": drift_objects(facts)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for line in drift_lines(facts) or ["the history makes the schema that production has"]:
            typer.echo(line)
    raise typer.Exit(ExitCode.NO_GO if found else ExitCode.GO)
