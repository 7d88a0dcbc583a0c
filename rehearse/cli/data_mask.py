"""`rehearse data mask`: an anonymized snapshot of a database or a dump."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rehearse.dataset.masking.columns import MaskPlan
    from rehearse.dataset.masking.prf import MaskKey
    from rehearse.dataset.masking.run import Job, MaskResult
    from rehearse.dataset.masking.sink import Sink
    from rehearse.dataset.masking.source import Source
    from rehearse.model.target import Target


def mask(
    source: Annotated[
        str, typer.Option(help="A DSN, or what pg_dump wrote: a plain file, a custom file, a folder.")
    ],
    rules: Annotated[Path | None, typer.Option(help="TOML that says what becomes of each column.")] = None,
    into: Annotated[str | None, typer.Option(help="DSN of a database to fill. It is emptied first.")] = None,
    disposable: Annotated[
        str | None, typer.Option(help="The name of that database: nothing in it is needed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder to write the snapshot to.")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="File with the masking key; without it, the variable REHEARSE_MASK_KEY."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what becomes of each column, and write nothing.")
    ] = False,
    draft: Annotated[
        Path | None, typer.Option(help="Write rules for every column to this file, to be edited.")
    ] = None,
    fraction: Annotated[
        str | None, typer.Option(help="Take that share of the rows, and all that they refer to: 10%.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Take the rows of this query, and all that hangs on them.")
    ] = None,
    children: Annotated[
        bool, typer.Option(help="With --root: also rows that refer to the rows taken.")
    ] = True,
    multiply: Annotated[int, typer.Option(min=1, help="Copies of every row, with keys of their own.")] = 1,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output.")
    ] = False,
) -> None:
    """Mask a database or a dump: every column, or the run halts. What was written is checked for leaks."""
    from rehearse.dataset.masking.draft import draft_rules
    from rehearse.dataset.masking.plan import plan_masks
    from rehearse.dataset.masking.rules import Rules, read_rules
    from rehearse.dataset.masking.run import run_masking
    from rehearse.errors import ExitCode, InputError

    writes = not (dry_run or draft)
    if writes and (into is None) == (out is None):
        raise InputError("say where the snapshot goes", "--into DSN --disposable NAME, or --out FOLDER")
    if writes and rules is None:
        raise InputError("no --rules", "let rules be drafted: rehearse data mask ... --draft mask.toml")
    share = _share(fraction)
    _require_choice(source, share, root)
    key = _key(key_file) if writes else None
    given = read_rules(rules) if rules else Rules("--rules")
    with ExitStack() as stack:
        opened = _source(stack, source)
        plan = plan_masks(opened.schema, given)
        if draft is not None:
            _write_draft(draft, draft_rules(opened.schema, plan))
            return
        if dry_run:
            _show_plan(plan, json_output=json_output)
            if plan.halts:
                raise typer.Exit(ExitCode.USAGE)
            return
        plan.require_complete()
        assert key is not None
        sink = _sink(stack, opened, into, disposable, out)
        job = _job(opened, plan, key, sink, given.leaks)
        job = _narrowed(job, share, root, multiply, children=children)
        result = run_masking(job)
    _show_result(result, plan, str(out or "the database"), json_output=json_output)


def _is_dsn(text: str) -> bool:
    return "://" in text or ("=" in text and not Path(text).exists())


def _require_choice(source: str, share: float | None, root: str | None) -> None:
    from rehearse.errors import InputError

    if share is not None and root is not None:
        raise InputError("--fraction and --root are two ways to choose rows", "give one of them")
    if root is not None and not _is_dsn(source):
        raise InputError(
            "--root is a query, and only a server can answer one: a dump's rows are never put on a disk",
            "restore the dump, and name that database by --source DSN; or give --fraction 10%",
        )


def _source(stack: ExitStack, text: str) -> Source:
    from rehearse.dataset.masking.source import DumpSource, LiveSource
    from rehearse.engines.postgres.copy_stream import read_snapshot
    from rehearse.engines.postgres.dump import Dump
    from rehearse.model.scenario import DatabaseSpec
    from rehearse.provision import provision
    from rehearse.provision.binaries import embedded_installation
    from rehearse.provision.dsn import parse_dsn

    bindir = embedded_installation().bindir
    if _is_dsn(text):
        target = parse_dsn(text)
        return LiveSource.of(target, stack.enter_context(read_snapshot(target)), bindir)
    dump = Dump.open(Path(text), bindir)
    with provision(DatabaseSpec()) as scratch:
        return DumpSource.of(dump, scratch.target)


def _sink(
    stack: ExitStack, source: Source, into: str | None, disposable: str | None, out: Path | None
) -> Sink:
    from rehearse.dataset.masking.sink import DatabaseSink, FolderSink
    from rehearse.dataset.masking.source import LiveSource
    from rehearse.errors import InputError
    from rehearse.provision.dsn import disposable_target, mark_disposable

    if out is not None:
        return FolderSink(out)
    target = disposable_target(into or "", disposable)
    if isinstance(source, LiveSource) and _identity(target) == _identity(source.target):
        raise InputError("--source and --into are the same database", "name another one to fill")
    mark_disposable(target)  # so that it passes the guards again when it is full
    return stack.enter_context(DatabaseSink(target))


def _identity(target: Target) -> tuple[object, ...]:
    """What tells one database of one running server from every other, by whatever address."""
    from rehearse.engines.postgres.connect import connect

    with connect(target, "rehearse mask") as connection:
        row = connection.execute(
            "SELECT oid, pg_catalog.pg_postmaster_start_time() FROM pg_catalog.pg_database"
            " WHERE datname = pg_catalog.current_database()"
        ).fetchone()
    return row or ()


def _job(source: Source, plan: MaskPlan, key: MaskKey, sink: Sink, allowed: object) -> Job:
    from rehearse.dataset.masking.run import Job

    assert isinstance(allowed, dict)
    progress = sys.stderr.isatty()

    def show(relation: object, rows: int) -> None:
        if progress:
            sys.stderr.write(f"\r{relation}: {rows:,} rows\033[K")

    return Job(source, plan, key, sink, allowed=allowed, on_progress=show)


def _narrowed(job: Job, share: float | None, root: str | None, copies: int, *, children: bool) -> Job:
    """The job with its subset chosen and its keys' strides measured, where those were asked for."""
    from dataclasses import replace

    from rehearse.dataset.masking.roots import root_rows
    from rehearse.dataset.masking.source import LiveSource
    from rehearse.dataset.masking.subset import by_fraction, by_root, multiplied, read_keys

    if share is None and root is None and copies == 1:
        return job
    keys = read_keys(job.source, job.plan)
    if share is not None:
        job = replace(job, selection=by_fraction(keys, share, job.key))
    elif root is not None and isinstance(job.source, LiveSource):
        table, columns, rows = root_rows(job.source.snapshot.connection, job.source.schema, root)
        job = replace(job, selection=by_root(keys, table, columns, rows, children=children))
    return replace(job, multiplied=multiplied(keys, job.plan, copies) if copies > 1 else None)


def _key(file: Path | None) -> MaskKey:
    from rehearse.dataset.masking.prf import KEY_VARIABLE, MaskKey
    from rehearse.errors import InputError
    from rehearse.model.target import Secret

    if file is None:
        text = os.environ.get(KEY_VARIABLE, "")
        if not text:
            raise InputError("no masking key", f"set {KEY_VARIABLE}, or give --key-file FILE")
        return MaskKey(Secret(text))
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"--key-file {file}: {reason}") from None
    return MaskKey(Secret(text))


def _share(text: str | None) -> float | None:
    from rehearse.errors import InputError

    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(f"--fraction {text} is no share", "10% or 0.1, for instance")
    return share


def _write_draft(path: Path, text: str) -> None:
    from rehearse.errors import InputError

    if path.exists():
        raise InputError(f"{path} exists", "name a file that is not there yet")
    path.write_text(text, encoding="utf-8")
    typer.echo(f"{path}: read every line, and correct it, before it is used")


def _show_plan(plan: MaskPlan, *, json_output: bool) -> None:
    columns = [
        {
            "column": column.label,
            "type": column.column.type.sql,
            "mask": column.mask,
            "reason": column.reason,
            "from": column.origin,
            "domain": column.domain,
        }
        for column in plan.columns
    ]
    halts = [{"column": f"{h.relation}.{h.column}", "why": h.why, "add": h.line} for h in plan.halts]
    if json_output:
        sys.stdout.write(json.dumps({"columns": columns, "halts": halts}, indent=2) + "\n")
        return
    width = max((len(column["column"]) for column in columns), default=0)
    for column in columns:
        line = f"{column['column']:{width}}  {column['mask']:10}  {column['reason']} ({column['from']})"
        typer.echo(line)
    for halt in halts:
        typer.echo(f"HALT {halt['column']}: {halt['why']}; add: {halt['add']}")


def _show_result(result: MaskResult, plan: MaskPlan, where: str, *, json_output: bool) -> None:
    if json_output:
        document = asdict(result) | {"rows_per_second": result.rows_per_second, "exit_code": 0}
        document["bytes"] = document.pop("size_bytes")
        document["tables"] = dict(result.tables)
        document["kept"] = {column.label: column.reason for column in plan.columns if column.keeps}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    leaks = result.leaks
    typer.echo(f"{result.rows:,} rows to {where}, {result.rows_per_second:,.0f} rows/s")
    typer.echo(
        f"leak check: nothing found; {leaks.sampled:,} source values looked for in {leaks.values:,} values "
        f"of {leaks.columns} columns ({leaks.looked_into:,} of them part by part); {leaks.passed_over:,} "
        "source values were too short or too common to tell"
    )
    for note in result.notes:
        typer.echo(note)
