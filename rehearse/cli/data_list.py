"""`rehearse data list`: the data sets that are kept from run to run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rehearse.dataset.cache import Cache, Entry


def list_kept(
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Show the data sets that are kept: what, how large, made when, last used when."""
    cache = users_cache()
    entries = cache.entries() if cache is not None else []
    if json_output:
        document = {"datasets": [_plain(entry) for entry in entries]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    for entry in entries:
        typer.echo(described(entry))
    total = sum(entry.size_bytes for entry in entries)
    if cache is None:
        typer.echo("the cache is off (REHEARSE_CACHE)", err=True)
    else:
        typer.echo(
            f"{len(entries)} kept, {_size(total)} of {_size(cache.limit_bytes)}, in {cache.root}", err=True
        )


def users_cache() -> Cache | None:
    """The cache that the environment names; InputError where its size cannot be read."""
    import os

    from rehearse.dataset.cache import cache_from

    return cache_from(os.environ)


def described(entry: Entry) -> str:
    """One line on one data set."""
    import time

    now = time.time()
    age, used = _ago(now - entry.created_at), _ago(now - entry.used_at)
    size = _size(entry.size_bytes)
    return (
        f"{entry.key[:12]}  {size:>9}  {entry.rows:>13,} rows  made {age} ago, used {used} ago  {entry.name}"
    )


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "key": entry.key,
        "name": entry.name,
        "bytes": entry.size_bytes,
        "rows": entry.rows,
        "created_at": entry.created_at,
        "used_at": entry.used_at,
    }


def _size(size_bytes: int) -> str:
    from rehearse.model.scales import size

    return size(size_bytes)


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
