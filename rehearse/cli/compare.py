"""`rehearse compare`: several ways to make one change, or one way in several places, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rehearse.errors import ExitCode, RecordError

if TYPE_CHECKING:
    from rich.console import Console

    from rehearse.model.record import RunRecord
    from rehearse.model.scenario import Scenario
    from rehearse.model.verdict import Verdict
    from rehearse.report.likeness import Difference

_OUT = Path("reports")
_UNLIKE = "not comparable"


@dataclass(frozen=True, slots=True)
class _Done:
    name: str
    record: RunRecord
    page: Path

    @property
    def verdict(self) -> Verdict:
        assert self.record.judgement is not None
        return self.record.judgement.verdict

    @property
    def why(self) -> str:
        """The first finding that decided, or that nothing did."""
        judgement = self.record.judgement
        assert judgement is not None
        decided = next((f for f in judgement.findings if f.severity.value in ("failure", "unmeasured")), None)
        return (
            f"{decided.rule}: {decided.message}"
            if decided
            else "every gate held, nothing was left unmeasured"
        )


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Scenarios (TOML), which are rehearsed, and folders of finished runs, which are read."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = _OUT,
) -> None:
    """Set rehearsals side by side: which verdict, why, and where to look.

    Exit code, in like environments, where the question is which way to go: 0 if at least one is GO; else 4
    if one is inconclusive, else 1. In unlike ones, where it is whether the change goes everywhere, that of
    the worst verdict.
    """
    from rich.console import Console

    from rehearse.report.likeness import differences
    from rehearse.scenario.load import load_scenario

    # All are read before the first is run: a typo in the last must not cost the time of the others.
    asked = [_finished(path) if path.is_dir() else load_scenario(path) for path in runs]
    count = sum(not isinstance(each, _Done) for each in asked)
    console = Console(stderr=True)
    done: list[_Done] = []
    number = 0
    for each in asked:
        if isinstance(each, _Done):
            done.append(each)
        else:
            number += 1
            console.print(f"[bold]{number} of {count}: [/]", end="")
            console.print(each.name, markup=False, highlight=False)
            done.append(_rehearsed(each, out, console))
    unlike = differences([each.record for each in done])
    _table(done, unlike, Console())
    raise typer.Exit(int(_exit_code([each.verdict for each in done], alike=not unlike)))


def _rehearsed(scenario: Scenario, out: Path, console: Console) -> _Done:
    from rehearse.cli.render import write_reports
    from rehearse.rehearsal import rehearse
    from rehearse.report.live import LiveDisplay

    with LiveDisplay(console) as display:
        run = rehearse(scenario, out, disposable=None, on_status=display.update)
        page = write_reports(run.folder, run.record, run.samples)
    return _Done(scenario.name, run.record, page)


def _finished(path: Path) -> _Done:
    """A run that was made before; RecordError if it came to no verdict."""
    from rehearse.cli.render import PAGE
    from rehearse.record.folder import RunFolder

    record = RunFolder(path).read_record()
    if record.judgement is None:
        reason = record.error or f"it stopped in the stage {record.stage.value}"
        raise RecordError(f"{path} has no verdict: {reason}", "run that scenario again")
    return _Done(path.resolve().name, record, path / PAGE)


def _exit_code(verdicts: list[Verdict], *, alike: bool) -> ExitCode:
    from rehearse.model.verdict import Verdict

    order = [Verdict.GO, Verdict.INCONCLUSIVE, Verdict.NO_GO]
    chosen = (min if alike else max)(verdicts, key=order.index)
    return ExitCode(chosen.exit_code)


def _table(done: list[_Done], unlike: tuple[Difference, ...], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from rehearse.report.format import quantity

    for difference in unlike:
        line = f"{_UNLIKE}: {difference.sentence([each.name for each in done])}"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    table = Table(show_header=True, header_style="bold", expand=True)
    table.add_column("strategy", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("longest stall", no_wrap=not unlike, justify="right")
    table.add_column("why", ratio=1)
    styles = {"GO": "bold green", "NO_GO": "bold red", "INCONCLUSIVE": "bold yellow"}
    for each in done:
        verdict = Text(each.verdict.value.replace("_", "-"), style=styles[each.verdict.value])
        stall = dict(each.record.judgement.metrics).get("stall.max") if each.record.judgement else None
        longest = quantity(stall) if stall else "not measured"
        if unlike:
            longest += f", {_UNLIKE}"
        table.add_row(Text(each.name), verdict, longest, Text(each.why))
    console.print(table)
    for each in done:
        console.print(Text(f"{each.name}: {each.page}"), soft_wrap=True)
