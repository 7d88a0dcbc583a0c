"""`rehearse clean`: remove what a killed run left."""

from __future__ import annotations

import typer


def clean() -> None:
    """Remove servers, directories and containers of runs that are dead. Reports are kept."""
    from rehearse.provision.clean import clean as sweep

    removed = sweep()
    for line in removed:
        typer.echo(line)
    if not removed:
        typer.echo("nothing to remove")
