"""`rehearse explain RULE`."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    rule: Annotated[
        str | None, typer.Argument(help="A rule's name, such as rewrite-under-lock; without one: the list.")
    ] = None,
) -> None:
    """Say what a rule means and what to do instead."""
    from rehearse.judge.explain import explain as text_of
    from rehearse.judge.explain import listed

    typer.echo(listed() if rule is None else text_of(rule))
