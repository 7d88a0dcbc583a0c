"""`rehearse data`: the data alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rehearse.cli import data_compare, data_list, data_mask, data_profile, data_prune

if TYPE_CHECKING:
    from rehearse.dataset.alone import LoadResult
    from rehearse.dataset.load import LoadProgress
    from rehearse.model.scenario import DatabaseSpec, DatasetSpec

app = typer.Typer(help="The data alone: generate and load.", no_args_is_help=True)


app.command("profile")(data_profile.profile)
app.command("compare")(data_compare.compare)
app.command("mask")(data_mask.mask)
app.command("list")(data_list.list_kept)
app.command("prune")(data_prune.prune)


@app.callback()
def _data() -> None:
    """The data alone: generate and load."""


@app.command("load")
def load(
    schema: Annotated[
        Path | None, typer.Option(help="SQL that makes the schema; it or --scenario must be given.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Scenario whose data set is loaded, as it is described there.")
    ] = None,
    rows: Annotated[
        list[str] | None, typer.Option(help="Rows to generate: 1M, or orders=2M; repeat.")
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            help="An empty database to load into. Without one, an embedded server that ends with us."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the data; 42 where nothing says more.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Profile, from `rehearse data profile`, that the data is to be like.")
    ] = None,
    scale: Annotated[
        float, typer.Option(help="Times the profile's rows: 0.1 for a tenth.", min=1e-9, max=1e6)
    ] = 1.0,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Apply a schema, generate rows for every table, load them, and say how fast that went."""
    from rehearse.dataset.alone import load_described
    from rehearse.errors import ServerLostError
    from rehearse.provision import provision
    from rehearse.provision.dsn import parse_dsn

    described = scenario is not None
    database, dataset = (
        _of_scenario(scenario, schema, profile, scale, rows=rows, seed=seed)
        if scenario is not None
        else _of_options(schema, profile, scale, rows=rows, seed=seed)
    )
    with ExitStack() as stack:
        if not dsn and described:
            _require_own(database)
        told = stack.enter_context(_told())
        own = None if dsn else stack.enter_context(provision(database))
        target = own.target if own else parse_dsn(dsn or "")
        try:
            result = load_described(target, database, dataset, told)
        except ServerLostError as error:
            reason = own.last_words() if own else ""
            raise (ServerLostError(f"{error.what}: {reason}") if reason else error) from None
    document = asdict(result)
    document["bytes"] = document.pop("size_bytes")
    if json_output:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for line in _lines(result):
            typer.echo(line)


def _lines(result: LoadResult) -> Iterator[str]:
    """For people: each table's rows, then the whole."""
    from rehearse.report import format as fmt

    width = max((len(name) for name, _ in result.tables), default=0)
    yield from (f"{name:{width}}  {rows:>13,} rows" for name, rows in result.tables)
    yield from (f"note: {note}" for note in result.notes)
    rate = f"{result.rows_per_second:,.0f} rows/s"
    then = f"then {fmt.duration(result.index_seconds)} for indexes and constraints"
    size = fmt.size(result.size_bytes)
    yield f"{result.rows:,} rows in {fmt.duration(result.load_seconds)} ({rate}), {then}; {size} in all"


def _of_options(
    schema: Path | None, profile: Path | None, scale: float, *, rows: list[str] | None, seed: int | None
) -> tuple[DatabaseSpec, DatasetSpec]:
    from rehearse.errors import InputError
    from rehearse.model.scenario import DatabaseSpec, DatasetSpec
    from rehearse.scenario.flags import parse_rows, read_sql
    from rehearse.scenario.profiles import read_profile

    if schema is None:
        raise InputError("there is nothing to load", "give --schema FILE.sql or --scenario FILE.toml")
    file, counts = read_sql(schema, "--schema"), parse_rows(rows or (), "--rows")
    alike = None if profile is None else read_profile(profile, "--profile")
    if alike is None and scale != 1.0:
        raise InputError("`--scale` multiplies the rows of a profile; there is none", "give --profile")
    seed = 42 if seed is None else seed
    return DatabaseSpec(), DatasetSpec(file, counts, seed=seed, profile=alike, scale=scale)


def _of_scenario(
    scenario: Path,
    schema: Path | None,
    profile: Path | None,
    scale: float,
    *,
    rows: list[str] | None,
    seed: int | None,
) -> tuple[DatabaseSpec, DatasetSpec]:
    """Its server and data set; rows and seed from the command line come before its own."""
    from rehearse.acts.engines import require_rehearsable
    from rehearse.errors import InputError
    from rehearse.scenario.flags import Flags
    from rehearse.scenario.load import load_scenario

    for given, option in ((schema, "--schema"), (profile, "--profile"), (scale != 1.0, "--scale")):
        if given:
            raise InputError(
                f"{option} and --scenario are both given", "say it under [dataset] of the scenario"
            )
    flags: Flags = {"seed": seed, **({"rows": rows} if rows else {})}
    read = load_scenario(scenario, flags)
    require_rehearsable(read.database)
    return read.database, read.dataset


def _require_own(database: DatabaseSpec) -> None:
    """InputError where the scenario names a server that is not ours to start: its data may be somebody's."""
    from rehearse.errors import InputError
    from rehearse.scenario.addresses import is_dsn

    if is_dsn(database.provision):
        raise InputError(
            "the scenario's server is one that is there already", "name an empty database on it: --dsn"
        )


@contextmanager
def _told() -> Iterator[Callable[[LoadProgress], None]]:
    """Shows on standard error how far a load has come."""
    from rich.console import Console

    from rehearse.model.record import Stage
    from rehearse.report.live import LiveDisplay, LiveStatus

    with LiveDisplay(Console(stderr=True)) as display:

        def show(progress: LoadProgress) -> None:
            display.update(
                LiveStatus(
                    Stage.LOAD,
                    f"{progress.stage} {progress.table}",
                    rows_done=progress.rows_done,
                    rows_total=progress.rows_total,
                    rows_per_s=progress.rows_per_second,
                    left_s=progress.seconds_left,
                )
            )

        yield show
