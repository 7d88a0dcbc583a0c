"""`rehearse report RUN`: render the reports again from a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="A folder that `rehearse run` made.")]) -> None:
    """Write report.html, report.md, junit.xml and result.json again, and print the report."""
    from rich.console import Console

    from rehearse.cli.render import write_reports
    from rehearse.record.folder import RunFolder
    from rehearse.report.terminal import print_report

    folder = RunFolder(run)
    record = folder.read_record()
    page = write_reports(folder, record, folder.read_samples(record))
    print_report(record, Console(), str(page))
