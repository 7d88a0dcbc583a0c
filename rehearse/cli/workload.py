"""`rehearse workload`: scripts out of what production left behind, and logs sent again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rehearse.model.schema import Schema
    from rehearse.workload.evidence.check import ServerChecker
    from rehearse.workload.evidence.entry import Tally
    from rehearse.workload.evidence.folder import Written

app = typer.Typer(
    help="A workload from production's logs, its statement statistics, or the schema.", no_args_is_help=True
)
Out = Annotated[Path, typer.Option(help="A new folder for the scripts.")]
Most = Annotated[int, typer.Option(min=1, help="At most this many scripts, the most frequent ones.")]


@app.callback()
def _workload() -> None:
    """A workload from production's logs, its statement statistics, or the schema."""


@app.command("from-log")
def from_log(
    files: Annotated[list[Path], typer.Argument(help="PostgreSQL logs: stderr, csvlog, jsonlog; also .gz.")],
    out: Out,
    schema: Annotated[
        Path | None, typer.Option(help="SQL that makes the schema: values are then drawn from rows.")
    ] = None,
    log_line_prefix: Annotated[str, typer.Option(help="The server's setting, for stderr logs.")] = "%m [%p] ",
    database: Annotated[str, typer.Option(help="Only sessions on this database.")] = "",
    user: Annotated[str, typer.Option(help="Only sessions of this user.")] = "",
    most: Most = 40,
    replay: Annotated[bool, typer.Option("--replay", help="Write a trace to replay, not a mix.")] = False,
    keep_values: Annotated[
        bool, typer.Option("--keep-values", help="Agree that the trace holds production data.")
    ] = False,
) -> None:
    """Distil logs into a weighted mix of scripts, or keep them as a trace that can be replayed."""
    from rehearse.errors import InputError
    from rehearse.workload.evidence.folder import check_folder
    from rehearse.workload.evidence.from_log import distil_logs, trace_logs
    from rehearse.workload.evidence.transactions import Wanted

    wanted = Wanted(database, user)
    check_folder(out)
    if replay or keep_values:
        if not (replay and keep_values):
            raise InputError(
                "a trace holds the values of production's statements",
                "give --replay and --keep-values together to write one",
            )
        path = out / "trace.jsonl"
        facts, tally = trace_logs(files, path, log_line_prefix=log_line_prefix, wanted=wanted)
        typer.echo(f"{path}: {facts.statements} statements, {facts.transactions} transactions, ", nl=False)
        typer.echo(f"{facts.sessions} sessions, {facts.seconds:.1f} s; it holds production data")
        _say(_left_out_lines(tally))
        return
    with _known(schema) as (known, checker):
        written = distil_logs(
            files, log_line_prefix=log_line_prefix, wanted=wanted, schema=known, checker=checker, most=most
        )
    _write(out, written)


@app.command("replay")
def replay_trace(
    trace: Annotated[Path, typer.Argument(help="What from-log --replay wrote.")],
    dsn: Annotated[str, typer.Option(help="Where to send it: postgresql://user@host/db")],
    speed: Annotated[float, typer.Option(help="2 is twice as fast, 0.5 half.")] = 1.0,
    ordinary_priority: Annotated[
        bool, typer.Option("--ordinary-priority", help="No real-time priority, even where it can be had.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Send a trace's sessions again, statement by statement, at the times they had."""
    import json
    from dataclasses import asdict

    from rehearse.provision.dsn import parse_dsn
    from rehearse.workload.evidence.replay import replay

    document = asdict(replay(parse_dsn(dsn), trace, speed=speed, served_first=not ordinary_priority))
    if json_output:
        typer.echo(json.dumps(document, indent=2))
        return
    for name, value in document.items():
        typer.echo(f"{name}: {value}")


@app.command("from-statements")
def from_statements(
    schema: Annotated[Path, typer.Option(help="SQL that makes the schema.")],
    out: Out,
    file: Annotated[
        Path | None, typer.Argument(help="pg_stat_statements, exported as CSV with a header.")
    ] = None,
    dsn: Annotated[
        str | None, typer.Option(help="Or the database to read it from; nothing is written.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Over how long the calls were counted, for the rate.")
    ] = None,
    most: Most = 40,
) -> None:
    """The mix that pg_stat_statements tells: one script a statement."""
    from rehearse.errors import InputError
    from rehearse.provision.dsn import parse_dsn
    from rehearse.workload.evidence.folder import check_folder
    from rehearse.workload.evidence.from_statistics import distil_statistics, read_csv, read_server

    check_folder(out)
    if file is not None and dsn is None:
        statistics = read_csv(file, seconds)
    elif dsn is not None and file is None:
        statistics = read_server(parse_dsn(dsn), seconds)
    else:
        raise InputError("from-statements reads one thing", "give a CSV file or --dsn")
    with _known(schema) as (known, checker):
        assert known is not None
        assert checker is not None
        written = distil_statistics(statistics, known, checker, most=most)
    _write(out, written)


@app.command("infer")
def infer(
    schema: Annotated[Path, typer.Option(help="SQL that makes the schema.")],
    out: Out,
    read_share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Part of the transactions that only read.")
    ] = None,
    hot: Annotated[
        list[str] | None, typer.Option(help="A table with more traffic: orders (5 times), orders=10; repeat.")
    ] = None,
) -> None:
    """Scripts inferred from the schema alone, to be read and edited."""
    from rehearse.workload.evidence.folder import check_folder
    from rehearse.workload.evidence.from_schema import hot_tables, infer_scripts

    check_folder(out)
    tables = hot_tables(hot or ())
    with _known(schema) as (known, _checker):
        assert known is not None
        written = infer_scripts(known, read_share=read_share, hot=tables)
    _write(out, written)


@contextmanager
def _known(schema: Path | None) -> Iterator[tuple[Schema | None, ServerChecker | None]]:
    """The schema on an embedded server of its own, which can be asked whether statements are possible."""
    from rehearse.engines.postgres.connect import connect
    from rehearse.engines.postgres.databases import create_database
    from rehearse.engines.postgres.execute import execute_file
    from rehearse.engines.postgres.introspect import introspect
    from rehearse.model.scenario import DatabaseSpec
    from rehearse.provision import provision
    from rehearse.scenario.flags import read_sql
    from rehearse.workload.evidence.check import ServerChecker

    if schema is None:
        yield None, None
        return
    file = read_sql(schema, "--schema")
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "rehearse_schema")
        with connect(server.target.on("rehearse_schema"), "rehearse") as connection:
            execute_file(connection, file)
            yield introspect(connection), ServerChecker(connection)


def _write(out: Path, written: Written) -> None:
    from rehearse.workload.evidence.folder import write

    text = write(out, written)
    _say(_table(written))
    _say(_left_out_lines(written.tally))
    for one in written.unusable:
        typer.echo(f"left out: {one.count} x {one.name}: {one.reason}", err=True)
    typer.echo(f"\n{text}", nl=False)


def _table(written: Written) -> Iterator[str]:
    whole = sum(written.weights)
    rows = [
        (draft.name, str(weight), f"{weight / whole:.1%}", str(draft.statements))
        for draft, weight in zip(written.drafts, written.weights, strict=True)
    ]
    rows.insert(0, ("script", "weight", "share", "statements"))
    width = max(len(row[0]) for row in rows)
    for name, *numbers in rows:
        yield f"{name:<{width}}  " + "  ".join(f"{number:>10}" for number in numbers)


def _left_out_lines(tally: Tally) -> Iterator[str]:
    for reason, count in tally.left_out.most_common():
        yield f"left out: {count} {reason}"
    for refusal in tally.refusals:
        yield str(refusal)
    if tally.refused:
        yield f"{tally.refused} places of the logs could not be used"
    for note in tally.notes:
        yield f"note: {note}"


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line, err=True)
