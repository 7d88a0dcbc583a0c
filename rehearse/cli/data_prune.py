"""`rehearse data prune`: make room."""

from __future__ import annotations

import re
from typing import Annotated

import typer

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(d|h|m|min|s)")
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "min": 60, "s": 1}


def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
    older_than: Annotated[str | None, typer.Option(help="Those not used for so long: 30d, 12h.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Used longest ago first, until the rest comes to this: 5GB.")
    ] = None,
) -> None:
    """Remove kept data sets; without a flag, as many as are over the limit. What a run reads stays."""
    from rehearse.cli.data_list import described, users_cache
    from rehearse.errors import InputError

    if everything and (older_than or to):
        raise InputError("--all leaves nothing for --older-than and --to", "leave them out")
    cache = users_cache()
    if cache is None:
        typer.echo("the cache is off (REHEARSE_CACHE)", err=True)
        return
    limit = -1 if everything else cache.limit_bytes if to is None else _size(to)
    removed = cache.prune(limit, None if older_than is None else _age(older_than))
    for entry in removed:
        typer.echo(described(entry))
    typer.echo(f"{len(removed)} removed", err=True)


def _size(text: str) -> int:
    from rehearse.errors import InputError
    from rehearse.scenario.values import RefusedError, parse_size

    try:
        return parse_size(text)
    except RefusedError as refusal:
        raise InputError(f"--to {refusal.what}", refusal.mend) from None


def _age(text: str) -> float:
    from rehearse.errors import InputError

    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--older-than cannot be read: {text}", "write 30d, 12h or 90m")
    return float(match[1]) * _SECONDS[match[2]]
