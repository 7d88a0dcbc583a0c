"""`rehearse traffic`: the driver alone, as one would use pgbench."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def traffic(
    dsn: Annotated[str, typer.Option(help="Where to send it: postgresql://user@host/db")],
    script: Annotated[
        list[str] | None,
        typer.Option(
            "--script",
            "-f",
            "--builtin",
            "-b",
            help="A pgbench script and weight, a.sql@1, or tpcb-like, simple-update, select-only; repeat.",
        ),
    ] = None,
    clients: Annotated[int, typer.Option("--clients", "-c", min=1, help="Connections.")] = 8,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", "-T", min=0.1, help="How long: 10, or as long as the trace or the steps of the rate."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            "-R",
            help='Transactions a second: 500, or "200 until 30s, to 1000 until 60s, 400"; without it, '
            "closed loop.",
        ),
    ] = None,
    arrivals: Annotated[str, typer.Option(help="poisson or uniform, with --rate.")] = "poisson",
    trace: Annotated[
        Path | None, typer.Option(help="A recorded schedule instead of a rate: lines of seconds,script.")
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Begin the trace again where it ends.")] = False,
    retry: Annotated[
        str, typer.Option(help="none, application (40001, 40P01, 55P03), or SQLSTATE,...:ATTEMPTS.")
    ] = "none",
    processes: Annotated[int, typer.Option("--processes", "-j", min=1, help="Driver processes.")] = 1,
    protocol: Annotated[
        str, typer.Option("--protocol", "-M", help="prepared, extended or simple.")
    ] = "prepared",
    define: Annotated[
        list[str] | None, typer.Option("--define", "-D", help="A variable of the scripts: scale=20; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed.")] = 42,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Send traffic to a server and measure it. Nothing is provisioned, judged or kept."""
    from rehearse.acts.casting import sampled_pools, with_scale
    from rehearse.errors import InputError
    from rehearse.model.workload import Pacing
    from rehearse.provision.dsn import parse_dsn
    from rehearse.scenario.flags import (
        parse_arrivals,
        parse_protocol,
        parse_rate_flag,
        parse_retry_flag,
        parse_scripts,
        parse_variables,
        read_trace,
    )
    from rehearse.workload.driver import Manner
    from rehearse.workload.script import parse_script
    from rehearse.workload.traffic import run_traffic

    if rate is not None and trace is not None:
        raise InputError("--rate and --trace exclude each other")
    scripts = tuple(parse_script(source) for source in parse_scripts(script or ()))
    schedule = None if trace is None else read_trace(trace, [one.name for one in scripts], repeat=repeat)
    steps = () if rate is None else parse_rate_flag(rate)
    manner = Manner(Pacing(parse_arrivals(arrivals), steps, schedule), parse_retry_flag(retry))
    length_s = max((step.until_s for step in steps if step.until_s is not None), default=0.0)
    if not steps or steps[-1].until_s is None:
        length_s += 10.0
    target = parse_dsn(dsn)
    result = run_traffic(
        target,
        scripts,
        clients=clients,
        seconds=seconds or (length_s if schedule is None else schedule.length_ns / 1e9),
        processes=processes,
        protocol=parse_protocol(protocol),
        variables=with_scale(target, scripts, parse_variables(define or ())),
        pools=sampled_pools(target, scripts, seed),
        seed=seed,
        manner=manner,
    )
    document = asdict(result)
    if json_output:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for name, value in document.items():
            typer.echo(f"{name}: {value}")
    raise typer.Exit(0)
