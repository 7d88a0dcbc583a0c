"""`rehearse data`: the data alone."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The data alone: generate and load.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """The data alone: generate and load."""


@app.command("load")
def load(
    schema: Annotated[Path, typer.Option(help="SQL that makes the schema.")],
    rows: Annotated[
        list[str] | None, typer.Option(help="Rows to generate: 1M, or orders=2M; repeat.")
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            help="An empty database to load into. Without one, an embedded server that ends with us."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the data.")] = 42,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Apply a schema, generate rows for every table, load them, and say how fast that went."""
    from rehearse.dataset.alone import load_alone
    from rehearse.model.scenario import DatabaseSpec
    from rehearse.provision import provision
    from rehearse.provision.dsn import parse_dsn
    from rehearse.scenario.flags import parse_rows, read_sql

    file, counts = read_sql(schema, "--schema"), parse_rows(rows or (), "--rows")
    with ExitStack() as stack:
        embedded = None if dsn else stack.enter_context(provision(DatabaseSpec()))
        target = embedded.target if embedded else parse_dsn(dsn or "")
        result = load_alone(target, file, counts, seed=seed, on_progress=lambda _progress: None)
    document = asdict(result)
    document["bytes"] = document.pop("size_bytes")
    if json_output:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for name, value in document.items():
            typer.echo(f"{name}: {value}")
