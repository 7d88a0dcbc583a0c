"""`rehearse data profile`: what production's tables are like, in a file without what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def profile(
    dsn: Annotated[str, typer.Option(help="The database to profile: it is only read.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; without one, standard output.", dir_okay=False)
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="Only tables of this schema; repeat for more.")
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Read the tables for exact figures, instead of their statistics.")
    ] = False,
    personal: Annotated[
        list[str] | None, typer.Option(help="TABLE.COLUMN whose values must not be written; repeat.")
    ] = None,
    safe: Annotated[
        list[str] | None,
        typer.Option(help="TABLE.COLUMN=REASON whose values may be written after all; repeat."),
    ] = None,
) -> None:
    """Write a statistical profile of a database: sizes, frequencies, quantiles; no personal values.

    Reads the catalog and its statistics in one read-only transaction. No table is touched without --scan.
    """
    from rehearse.dataset.profile.take import take_profile
    from rehearse.dataset.profile.withhold import Rules
    from rehearse.model.profile_file import profile_text
    from rehearse.provision.dsn import parse_dsn

    rules = Rules(frozenset(personal or ()), _reasons(safe or ()))
    taken = take_profile(parse_dsn(dsn), schemas=schema or (), scan=scan, rules=rules)
    text = profile_text(taken)
    if out is None:
        sys.stdout.write(text)
    else:
        _write(out, text)
        rows = sum(table.rows for table in taken.tables)
        typer.echo(f"{out}: {len(taken.tables)} tables, {rows:,} rows", err=True)
    for note in taken.notes:
        typer.echo(f"note: {note}", err=True)


def _reasons(texts: list[str] | tuple[()]) -> dict[str, str]:
    from rehearse.errors import InputError

    reasons = {}
    for text in texts:
        column, equals, reason = text.partition("=")
        if not equals or not reason.strip():
            raise InputError(f"`--safe {text}` gives no reason", 'write --safe "TABLE.COLUMN=why it is safe"')
        reasons[column] = reason.strip()
    return reasons


def _write(path: Path, text: str) -> None:
    from rehearse.errors import InputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written", (error.strerror or str(error)).lower()) from None
