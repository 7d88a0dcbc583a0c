"""`rehearse doctor`: what is here to rehearse with."""

from __future__ import annotations

import typer

from rehearse.errors import ExitCode


def doctor() -> None:
    """Say what is there, what is missing, and how to get it. Exit code 3 if nothing can be rehearsed on."""
    from rich.console import Console
    from rich.markup import escape

    from rehearse.provision.doctor import diagnose

    console = Console()
    checks = diagnose()
    for check in checks:
        mark = "[green]ok[/]     " if check.ok else "[yellow]missing[/]"
        console.print(f"{mark} [bold]{escape(check.name)}[/]  {escape(check.detail)}")
        if check.mend and not check.ok:
            console.print(f"        {escape(check.mend)}")
    usable = any(check.ok for check in checks if check.name.startswith(("embedded", "docker", "local")))
    raise typer.Exit(ExitCode.GO if usable else ExitCode.ENVIRONMENT)
