"""`rehearse explain RULE`."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(rule: Annotated[str, typer.Argument(help="A rule's name, such as rewrite-under-lock.")]) -> None:
    """Say what a rule means and what to do instead."""
    from rehearse.judge.explain import explain as text_of

    typer.echo(text_of(rule))
