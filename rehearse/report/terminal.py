"""The report for a terminal: the verdict first, then what speaks against the migration, then the rest.

Everything is set as `Text`, never as markup: brackets in a table's name stay brackets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rehearse.model.migration import Statement
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateStatus, Severity, Verdict
from rehearse.report import digest, work
from rehearse.report import format as fmt
from rehearse.report.evidence import Told
from rehearse.report.trials import Result, trial_views

_VERDICTS = {Verdict.GO: ("✔", "green"), Verdict.NO_GO: ("✖", "red"), Verdict.INCONCLUSIVE: ("?", "yellow")}
_SEVERITIES = {
    Severity.FAILURE: ("✖", "red"),
    Severity.UNMEASURED: ("?", "yellow"),
    Severity.ACCEPTED: ("~", "magenta"),
    Severity.WARNING: ("!", "yellow"),
    Severity.NOTE: ("·", "cyan"),
}
_GATES = {
    GateStatus.PASSED: ("✔ passed", "green"),
    GateStatus.FAILED: ("✖ failed", "bold red"),
    GateStatus.UNMEASURED: ("? not measured", "bold yellow"),
}
_RESULTS = {
    Result.CLEAN: "green",
    Result.FOUND: "bold red",
    Result.UNMEASURED: "bold yellow",
    Result.ABSENT: "dim",
    Result.MEASURED: "green",
}
_SQL_LINES = 12
_WIDEST = 110


def print_report(record: RunRecord, console: Console, report_path: str = "") -> None:
    """Print the whole report; `report_path` says where the page with the picture is."""
    width = min(console.width, _WIDEST)
    _verdict(record, console, width)
    _numbers(record, console)
    said = _Said()
    for finding in digest.of_severity(record, Severity.FAILURE, Severity.UNMEASURED, Severity.ACCEPTED):
        _finding(record, finding, console, width, said)
    _queue(record, console, width)
    _gates(record, console, width)
    _trials(record, console, width)
    for finding in digest.of_severity(record, Severity.WARNING, Severity.NOTE):
        _finding(record, finding, console, width, said)
    _notes(record, console, width)
    if report_path:
        console.print()
        console.print(Text.assemble(("Report  ", "bold"), fmt.one_line(report_path)), soft_wrap=True)


def _verdict(record: RunRecord, console: Console, width: int) -> None:
    headline = digest.headline(record)
    sign, colour = _VERDICTS[headline.verdict]
    body = Text.assemble((f"{sign} {headline.word}", f"bold {colour}"), "\n", fmt.one_line(headline.why))
    title = Text(fmt.one_line(record.scenario.name, 50), style="bold")
    panel = Panel(
        body, title=title, title_align="left", box=box.HEAVY, border_style=colour, padding=(1, 2), width=width
    )
    console.print(panel)


def _numbers(record: RunRecord, console: Console) -> None:
    numbers = digest.key_numbers(record)
    if not numbers:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(style="dim")
    for number in numbers:
        style = "bold red" if number.bad else "yellow" if number.missing else "bold"
        grid.add_row(number.label, Text(number.value, style=style), Text(fmt.one_line(number.detail)))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def _queue(record: RunRecord, console: Console, width: int) -> None:
    """The deepest tree of waits, from the victim up to the one that waited for nobody; nothing where none
    is deeper than one.
    """
    trial = digest.main_trial(record)
    groups = work.wait_groups(trial.waits if trial else ())
    deepest = max(groups, key=lambda group: len(group.chain), default=None)
    if deepest is None or not deepest.chain:
        return
    console.print()
    console.print(Text("Who waited for whom", style="bold"))
    behind = ", ".join(deepest.blockers) or "somebody not seen"
    first = f"{deepest.waiter} waited for {deepest.lock} behind {behind}"
    for depth, link in enumerate((first, *deepest.chain)):
        _indented(console, width, 2 + 2 * depth, Text(("← " if depth else "") + fmt.one_line(link)))


def _notes(record: RunRecord, console: Console, width: int) -> None:
    """What a reader should know besides: what generation did and left out, and how the run ended."""
    notes = [f"the run ended early: {record.error}"] if record.error and record.judgement else []
    notes += [note for trial in record.trials for note in trial.notes]
    notes += [*record.dataset.precautions, *record.dataset.notes] if record.dataset else []
    if notes:
        console.print()
    for note in dict.fromkeys(notes):
        _indented(console, width, 2, Text(f"· {fmt.one_line(note)}", style="dim"))


@dataclass(slots=True)
class _Said:
    """What was printed before and need not be again: statements by their index, and lines of evidence."""

    quoted: set[int] = field(default_factory=set)
    told: Told = field(default_factory=Told)


def _finding(record: RunRecord, finding: Finding, console: Console, width: int, said: _Said) -> None:
    """One finding; its statement as a whole, and its evidence, unless they were `said` before."""
    sign, colour = _SEVERITIES[finding.severity]
    console.print()
    head = Text.assemble(
        (f"{sign} {finding.rule}", f"bold {colour}"), ("  " + finding.severity.value, "dim"),
        ("  " + fmt.one_line(finding.subject, 60) if finding.subject else "", "dim"),
    )  # fmt: skip
    console.print(head, width=width)
    _indented(console, width, 2, Text(fmt.one_line(finding.message), style="bold"))
    statement = digest.blamed(record, finding)
    if statement is not None and statement.index in said.quoted:
        _indented(console, width, 2, Text(f"statement {statement.index + 1}, see above", style="dim"))
    elif statement is not None:
        said.quoted.add(statement.index)
        _statement(statement, console, width)
    _indented(console, width, 2, *(Text(f"- {fmt.one_line(line)}") for line in said.told.lines(finding)))
    if finding.advice:
        _indented(console, width, 2, Text("instead", style="dim"))
        _indented(console, width, 4, _sql(finding.advice, style="green"))


def _trials(record: RunRecord, console: Console, width: int) -> None:
    """A line or two for each trial beside the traffic."""
    views = trial_views(record)
    if not views:
        return
    table = Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False, title_justify="left")
    table.add_column("Trial", no_wrap=True)
    table.add_column("Result", no_wrap=True)
    table.add_column("Found", overflow="fold", ratio=1)
    for view in views:
        lines = "\n".join(fmt.one_line(line) for line in view.lines)
        table.add_row(Text(view.kind), Text(view.result.value, style=_RESULTS[view.result]), Text(lines))
    console.print(table)


def _statement(statement: Statement, console: Console, width: int) -> None:
    where = f"statement {statement.index + 1}, {fmt.one_line(statement.file)}:{statement.line}"
    took = fmt.nanoseconds(statement.ended_ns - statement.started_ns)
    _indented(console, width, 2, Text(f"{where}, took {took}", style="dim"))
    _indented(console, width, 4, _sql(statement.text))
    if statement.effects:
        locks = work.lock_lines([lock for lock in statement.effects.locks if not lock.created_here])
        for line in locks[:2]:
            _indented(console, width, 2, Text.assemble(("lock  ", "dim"), fmt.one_line(line, 300)))


def _sql(text: str, style: str = "cyan") -> Text:
    """At most a dozen lines of it."""
    lines = fmt.clean(text).expandtabs(4).splitlines()
    shown = "\n".join(line[:400] for line in lines[:_SQL_LINES])
    if len(lines) > _SQL_LINES:
        shown += f"\n… {fmt.plural(len(lines) - _SQL_LINES, 'more line')}"
    return Text(shown, style=style)


def _indented(console: Console, width: int, indent: int, *texts: Text) -> None:
    for text in texts:
        console.print(Padding(text, (0, 0, 0, indent), expand=False), width=width)


def _gates(record: RunRecord, console: Console, width: int) -> None:
    gates = record.judgement.gates if record.judgement else ()
    if not gates:
        return
    console.print()
    table = Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False, title_justify="left")
    table.add_column("Gate", overflow="fold", ratio=1)
    table.add_column("Status", no_wrap=True)
    table.add_column("Observed", justify="right", no_wrap=True)
    table.add_column("Limit", justify="right", no_wrap=True)
    for gate in gates:
        status, style = ("~ accepted", "magenta") if gate.accepted else _GATES[gate.status]
        observed, limit = fmt.apart(gate.observed, gate.limit)
        name = Text(fmt.one_line(gate.gate))
        if note := digest.gate_note(gate):
            name.append("\n" + fmt.one_line(note), style="dim")
        table.add_row(name, Text(status, style=style), observed, limit if gate.limit else "not known")
    console.print(table)
