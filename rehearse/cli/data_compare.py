"""`rehearse data compare`: how alike a profile and a database, or two profiles, are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rehearse.dataset.profile.fidelity import Fidelity
    from rehearse.model.profile import Profile


def compare(
    profile: Annotated[
        list[Path],
        typer.Option(help="The profile to compare with; given twice, the second is the other side."),
    ],
    dsn: Annotated[str | None, typer.Option(help="The database to compare; it is only read.")] = None,
    tolerance: Annotated[str, typer.Option(help="How far off a column may be.")] = "3%",
    scan: Annotated[
        bool, typer.Option("--scan", help="Read the database's tables, instead of its statistics.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Compare nulls, common values, quantiles, order on disk and widths, column by column, the worst first.

    The exit code is 0 if every column is within the tolerance, 1 otherwise.
    """
    from rehearse.dataset.profile.fidelity import fidelity
    from rehearse.errors import InputError
    from rehearse.scenario.profiles import read_profile

    allowed = _tolerance(tolerance)
    if len(profile) + (dsn is not None) != 2:
        raise InputError("give one `--profile` and a `--dsn`, or two `--profile`")
    first = read_profile(profile[0], "--profile")
    second = _of_database(dsn, first, scan=scan) if dsn is not None else read_profile(profile[1], "--profile")
    result = fidelity(first, second)
    passed = result.within(allowed)
    if json_output:
        sys.stdout.write(json.dumps(_document(result, allowed, passed=passed), indent=2) + "\n")
    else:
        _show(result, allowed, passed=passed)
    raise typer.Exit(0 if passed else 1)


def _of_database(dsn: str, first: Profile, *, scan: bool) -> Profile:
    """The database's profile, with the same columns withheld as in `first`."""
    from rehearse.dataset.profile.take import take_profile
    from rehearse.dataset.profile.withhold import Rules
    from rehearse.provision.dsn import parse_dsn

    return take_profile(parse_dsn(dsn), scan=scan, rules=Rules(like=first))


def _tolerance(text: str) -> float:
    from rehearse.errors import InputError

    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError(f"`--tolerance {text}` is not a share", "write it as 3%")
    return share


def _document(result: Fidelity, tolerance: float, *, passed: bool) -> dict[str, object]:
    heap = {relation: ratio for relation, ratio, _ in result.sizes}
    outside = {relation: ratio for relation, _, ratio in result.sizes}
    return {
        "within": passed,
        "exit_code": 0 if passed else 1,
        "tolerance": tolerance,
        "missing": list(result.missing),
        "tables": [
            {
                "table": str(relation),
                "rows": here,
                "rows_compared": there,
                "bytes_per_row": {"heap": heap.get(relation), "out_of_line": outside.get(relation)},
            }
            for relation, here, there in result.rows
        ],
        "columns": [
            {
                "table": str(column.relation),
                "column": column.column,
                "worst": column.worst,
                "deviations": column.deviations,
                "uncounted": sorted(column.uncounted & column.deviations.keys()),
            }
            for column in result.columns
        ],
    }


def _show(result: Fidelity, tolerance: float, *, passed: bool) -> None:
    from rehearse.dataset.profile.fidelity import MEASURES, table_lines

    lines = [("column", *MEASURES), *table_lines(result, tolerance)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        typer.echo("  ".join(cells))
    for relation, heap, outside in result.sizes:
        if outside is not None:
            inside = "" if heap is None else f"{heap:.2f} times the heap, "
            typer.echo(f"{relation}: a row takes {inside}{outside:.2f} times the room out of line")
    for what in result.missing:
        typer.echo(f"not compared: {what}")
    if len(lines) == 1:
        typer.echo("nothing was compared: no column has statistics on both sides; run ANALYZE, or --scan")
        return
    verdict = "within" if passed else "not within"
    typer.echo(f"{verdict} {100 * tolerance:g} %: ! is beyond it, ~ does not count")
