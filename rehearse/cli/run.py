"""`rehearse run`: the whole rehearsal, from a scenario file or from flags."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rehearse.errors import InputError

if TYPE_CHECKING:
    from rehearse.model.scenario import Scenario

_OUT = Path("reports")
Paths = list[Path] | None
Texts = list[str] | None


def run(
    scenario: Annotated[Path | None, typer.Argument(help="A scenario (TOML); flags take precedence.")] = None,
    schema: Annotated[Path | None, typer.Option(help="SQL that makes the schema as it is today.")] = None,
    migration: Annotated[Paths, typer.Option(help="SQL of the migration; repeat in order.")] = None,
    down: Annotated[Paths, typer.Option(help="SQL that undoes it; repeat in order.")] = None,
    command: Annotated[
        str | None, typer.Option(help='Instead of SQL, a migration tool: "alembic upgrade head".')
    ] = None,
    down_command: Annotated[str | None, typer.Option(help="The tool's command that undoes it.")] = None,
    transaction: Annotated[
        str | None, typer.Option(help="How a file is sent: as-written, per-file or single-query.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="The longest the migration may take: 10m.")] = None,
    expendable: Annotated[
        Texts, typer.Option(help="A column or table whose data may go: orders.note; repeat.")
    ] = None,
    workload: Annotated[
        Texts, typer.Option(help="A pgbench script and its weight, app.sql@9; repeat. Default: inferred.")
    ] = None,
    define: Annotated[Texts, typer.Option(help="A variable of the scripts: scale=20; repeat.")] = None,
    rate: Annotated[float | None, typer.Option(help="Transactions a second, open loop.")] = None,
    arrivals: Annotated[str | None, typer.Option(help="poisson or uniform.")] = None,
    retry: Annotated[
        str | None, typer.Option(help="none, or application: sent again on 40001, 40P01 and 55P03.")
    ] = None,
    writes: Annotated[str | None, typer.Option(help="Part of an inferred workload that writes: 20%.")] = None,
    after: Annotated[
        Texts, typer.Option(help="A script of the version deployed after the migration, new.sql@9; repeat.")
    ] = None,
    clients: Annotated[int | None, typer.Option(help="Connections of the application.")] = None,
    processes: Annotated[int | None, typer.Option(help="Driver processes.")] = None,
    protocol: Annotated[str | None, typer.Option(help="prepared, extended or simple.")] = None,
    warm_up: Annotated[str | None, typer.Option(help="Length of the warm-up: 3s.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Length of the baseline: 8s.")] = None,
    recovery: Annotated[str | None, typer.Option(help="Length of the recovery: 4s.")] = None,
    rows: Annotated[Texts, typer.Option(help="Rows to generate: 1M, or orders=2M; repeat.")] = None,
    load: Annotated[Paths, typer.Option(help="SQL that fills tables before generation; repeat.")] = None,
    production_rows: Annotated[
        Texts, typer.Option(help="Rows in production: 200M, or orders=200M; repeat.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the data and of the traffic.")] = None,
    provision: Annotated[
        str | None, typer.Option(help="embedded, docker:IMAGE, local:BINDIR, or a DSN.")
    ] = None,
    setting: Annotated[Texts, typer.Option(help="A server setting: work_mem=64MB; repeat.")] = None,
    disposable: Annotated[
        str | None, typer.Option(help="With a DSN: its database's name, to say that it may be destroyed.")
    ] = None,
    gate: Annotated[Texts, typer.Option(help='A gate: "stall.max <= 500ms"; repeat.')] = None,
    abort: Annotated[
        Texts, typer.Option(help='When to break the migration off: "stall.max > 10s"; repeat.')
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(help="How often to make the traffic trial; judged by intervals.")
    ] = None,
    trials: Annotated[
        str | None, typer.Option(help="What to try besides traffic: integrity,rollback,..., or all.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call this run.")] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Make the data set anew, and do not keep it.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = _OUT,
) -> None:
    """Run a rehearsal and answer go (0), no-go (1) or inconclusive (4)."""
    from rehearse.scenario.addresses import is_dsn
    from rehearse.scenario.flags import Flags, scenario_from_flags
    from rehearse.scenario.load import load_scenario

    flags: Flags = {
        "schema": schema,
        "migration": migration or [],
        "down": down or [],
        "command": command,
        "down_command": down_command,
        "transaction": transaction,
        "timeout": timeout,
        "expendable": expendable or [],
        "workload": workload or [],
        "define": define or [],
        "rate": rate,
        "arrivals": arrivals,
        "retry": retry,
        "writes": writes,
        "after": after or [],
        "clients": clients,
        "processes": processes,
        "protocol": protocol,
        "warm_up": warm_up,
        "baseline": baseline,
        "recovery": recovery,
        "rows": rows or [],
        "load": load or [],
        "production_rows": production_rows or [],
        "seed": seed,
        "provision": provision,
        "settings": setting or [],
        "gates": gate or [],
        "aborts": abort or [],
        "repeat": repeat,
        "trials": trials,
        "name": name,
    }
    if scenario is not None:
        asked = load_scenario(scenario, flags)
    elif schema is None and not migration and not command:
        raise InputError(
            "nothing to rehearse", "name a scenario, or give --schema schema.sql and --migration up.sql"
        )
    else:
        asked = scenario_from_flags(flags)
    if disposable is not None and not is_dsn(asked.database.provision):
        raise InputError(
            f"--disposable {disposable} is for an existing server, and this run makes its own",
            "leave it out, or name the server with --provision DSN",
        )
    raise typer.Exit(_rehearse(asked, out, disposable, cache=not no_cache, json_output=json_output))


def _rehearse(
    scenario: Scenario, out: Path, disposable: str | None, *, cache: bool, json_output: bool
) -> int:
    from rich.console import Console

    from rehearse.cli.render import write_reports
    from rehearse.rehearsal import rehearse
    from rehearse.report.document import json_document
    from rehearse.report.live import LiveDisplay
    from rehearse.report.terminal import print_report

    console = Console(stderr=True)
    with LiveDisplay(console) as display:
        done = rehearse(scenario, out, disposable=disposable, on_status=display.update, cache=cache)
        page = write_reports(done.folder, done.record, done.samples)
    assert done.record.judgement is not None
    if json_output:
        sys.stdout.write(json.dumps(json_document(done.record, str(page)), indent=2) + "\n")
    else:
        print_report(done.record, Console(), str(page))
    return int(done.record.judgement.verdict.exit_code)
