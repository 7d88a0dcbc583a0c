"""`rehearse traffic`: the driver alone, as one would use pgbench."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer


def traffic(
    dsn: Annotated[str, typer.Option(help="Where to send it: postgresql://user@host/db")],
    script: Annotated[list[str], typer.Option(help="A pgbench script with its weight, a.sql@1; repeat.")],
    clients: Annotated[int, typer.Option(min=1, help="Connections.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long.")] = 10.0,
    rate: Annotated[
        float | None, typer.Option(help="Transactions a second; without it, closed loop.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
    protocol: Annotated[str, typer.Option(help="prepared, extended or simple.")] = "prepared",
    define: Annotated[
        list[str] | None, typer.Option(help="A variable of the scripts: scale=20; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed.")] = 42,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Send traffic to a server and measure it. Nothing is provisioned, judged or kept."""
    from rehearse.acts.casting import sampled_pools
    from rehearse.provision.dsn import parse_dsn
    from rehearse.scenario.flags import parse_protocol, parse_scripts, parse_variables
    from rehearse.workload.script import parse_script
    from rehearse.workload.traffic import run_traffic

    scripts = tuple(parse_script(source) for source in parse_scripts(script))
    target = parse_dsn(dsn)
    result = run_traffic(
        target,
        scripts,
        clients=clients,
        seconds=seconds,
        rate=rate,
        processes=processes,
        protocol=parse_protocol(protocol),
        variables=parse_variables(define or ()),
        pools=sampled_pools(target, scripts, seed),
        seed=seed,
    )
    document = asdict(result)
    if json_output:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for name, value in document.items():
            typer.echo(f"{name}: {value}")
    raise typer.Exit(0)
