"""`rehearse up`: a server as a rehearsal would have it, held for somebody to use."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rehearse.errors import EnvironmentFailure

if TYPE_CHECKING:
    from rehearse.acts.holding import Held

_LOOK_S = 0.5


def up(
    provision: Annotated[
        str, typer.Option(help="embedded, docker:IMAGE, local:BINDIR, or a DSN.")
    ] = "embedded",
    engine: Annotated[
        str | None, typer.Option(help="postgres, mysql or mariadb, where --provision does not say it.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="A server setting: work_mem=64MB; include=FILE: production's; repeat."),
    ] = None,
    init: Annotated[list[Path] | None, typer.Option(help="SQL to run in the database; repeat.")] = None,
    extension: Annotated[
        list[str] | None, typer.Option(help="A PostgreSQL extension to create; repeat.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="Processors of a container.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of a container: 2GiB.")] = None,
    tmpfs: Annotated[bool, typer.Option("--tmpfs", help="Keep a container's data in memory.")] = False,
    disposable: Annotated[
        str | None, typer.Option(help="With a DSN: its database's name, to say that it may be destroyed.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output, once it is up.")
    ] = False,
) -> None:
    """Provide a server and an empty database on it until Ctrl-C. Nothing is rehearsed."""
    from rehearse.acts.holding import held
    from rehearse.provision.table import engine_of
    from rehearse.scenario.alone import database_from_flags

    spec = database_from_flags(
        provision,
        engine or engine_of(provision).value,
        settings=setting or (),
        init=init or (),
        extensions=extension or (),
        container={"cpus": cpus, "memory": memory, "tmpfs": tmpfs or None},
    )
    with held(spec, disposable) as found:
        try:
            _show(found, json_output=json_output)
            _wait(found)
        except KeyboardInterrupt:  # the way that this ends
            print("rehearse: taking it down", file=sys.stderr)  # noqa: T201 - for the person at the terminal


def _show(found: Held, *, json_output: bool) -> None:
    environment, access = found.server.environment, found.access
    if json_output:
        document = {
            "address": access.address,
            "password_file": None if access.password_file is None else str(access.password_file),
            "command": access.command,
            "environment": asdict(environment),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()
        return
    machine = f"{environment.cpus} processors, {environment.memory_bytes // 1024**2} MB memory"
    lines = [
        f"server: {environment.provisioner}, version {environment.server_version}, {machine}",
        *(f"setting: {name} = {value}" for name, value in environment.settings),
        *(f"note: {note}" for note in environment.notes),
        f"address: {access.address}",
        *([] if access.password_file is None else [f"password: in {access.password_file}"]),
        f"session: {access.command}",
        "Ctrl-C takes it down",
    ]
    for line in lines:
        typer.echo(line)
    sys.stdout.flush()


def _wait(found: Held) -> None:
    """Until interrupted; EnvironmentFailure if the server ends before."""
    while found.server.alive():
        time.sleep(_LOOK_S)
    raise EnvironmentFailure(f"the server ended: {found.server.last_words() or 'nobody knows why'}")
