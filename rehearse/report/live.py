"""What is shown while a rehearsal runs: a few lines that redraw on a terminal, a line a stage elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from rehearse.model.record import Stage
from rehearse.model.workload import LiveTraffic
from rehearse.report import format as fmt

_NAMES = {
    Stage.PROVISION: "provision",
    Stage.LOAD: "load",
    Stage.PREPARE: "prepare",
    Stage.WARM_UP: "warm-up",
    Stage.BASELINE: "baseline",
    Stage.MIGRATION: "migration",
    Stage.RECOVERY: "recovery",
    Stage.TRIALS: "trials",
    Stage.JUDGE: "judge",
    Stage.DONE: "done",
}
_WIDTH = 11  # of the stages' names
_BAR = 28


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Where a rehearsal is. What does not apply is None or empty.

    `elapsed_s` counts from the stage's start, `length_s` is how long it will take where that is known;
    `statement` is the migration's statement being executed, for `statement_s` seconds by now; `blocked`
    counts the sessions waiting for a lock; the rows are the ones being loaded, and all of them will be in
    `left_s` seconds.
    """

    stage: Stage
    message: str = ""
    elapsed_s: float | None = None
    length_s: float | None = None
    traffic: LiveTraffic | None = None
    blocked: int = 0
    statement: str = ""
    statement_s: float | None = None
    rows_done: int | None = None
    rows_total: int | None = None
    rows_per_s: float | None = None
    left_s: float | None = None
    step: bool = False  # worth a line of its own: nothing more may be said for long


class LiveDisplay:
    """Shows `LiveStatus`es on `console` (standard error): a context manager, its `update` cheap enough to
    call ten times a second. Without a terminal it prints one line whenever the stage changes, or is said to
    have come to another `step`.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: LiveStatus | None = None
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is None:
            return
        self._live.update(Text(""))
        self._live.stop()
        if kind is None and self._last and self._last.stage is not Stage.DONE:
            self._console.print(_finished_line(self._last))

    def update(self, status: LiveStatus) -> None:
        """Show `status`."""
        before, self._last = self._last, status
        changed = before is None or before.stage is not status.stage
        if self._live is None:
            if (changed or status.step) and status.stage is not Stage.DONE:
                self._console.print(plain_line(status), soft_wrap=True)
            return
        if changed and before is not None:
            self._console.print(_finished_line(before))
        self._live.update(picture(status))


def plain_line(status: LiveStatus) -> Text:
    """A stage as one line without colour: `baseline    8 s`."""
    detail = fmt.one_line(status.message)
    if not detail and status.length_s is not None:
        detail = fmt.duration(status.length_s)
    return Text(f"{_NAMES[status.stage]:{_WIDTH}} {detail}".rstrip())


def _finished_line(status: LiveStatus) -> Text:
    took = fmt.duration(status.elapsed_s) if status.elapsed_s else ""
    rows = fmt.rows(status.rows_total) if status.rows_total else ""
    detail = ", ".join(part for part in (took, rows) if part)
    return Text.assemble(("✔ ", "green"), (f"{_NAMES[status.stage]:{_WIDTH}} ", ""), (detail, "dim"))


def picture(status: LiveStatus) -> Group:
    """The lines that are redrawn: the stage, then what there is to say in it."""
    lines = [_stage_line(status)]
    if status.rows_total:
        lines.append(_load_line(status))
    if status.traffic is not None:
        lines.append(_traffic_line(status.traffic, status.blocked))
    if status.statement:
        lines.append(_statement_line(status))
    for line in lines:
        line.no_wrap = True
        line.overflow = "ellipsis"
    return Group(*lines)


def _clock(seconds: float) -> str:
    """Time that runs on the screen keeps its width: `1.4 s`, `1:05`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _stage_line(status: LiveStatus) -> Text:
    line = Text.assemble(("▸ ", "cyan"), (f"{_NAMES[status.stage]:{_WIDTH}} ", "bold"))
    if status.elapsed_s is not None:
        line.append(_clock(status.elapsed_s))
        if status.length_s:
            line.append(f" of {fmt.duration(status.length_s)}  ", style="dim")
            line.append_text(_bar(status.elapsed_s / status.length_s))
    if status.message:
        line.append(f"  {fmt.one_line(status.message)}", style="dim")
    return line


def _bar(share: float) -> Text:
    full = round(min(max(share, 0.0), 1.0) * _BAR)
    return Text.assemble(("━" * full, "cyan"), ("━" * (_BAR - full), "bright_black"))


def _load_line(status: LiveStatus) -> Text:
    done, total = status.rows_done or 0, status.rows_total or 1
    line = Text(" " * (_WIDTH + 3))
    line.append_text(_bar(done / total))
    line.append(f"  {fmt.count(done)} of {fmt.rows(total)}")
    if status.rows_per_s:
        line.append(f", {fmt.per_second(status.rows_per_s)}", style="dim")
    if status.left_s is not None:
        line.append(f", {_clock(status.left_s)} left", style="dim")
    return line


def _traffic_line(traffic: LiveTraffic, blocked: int) -> Text:
    line = Text(" " * (_WIDTH + 3))
    line.append(f"{fmt.per_second(traffic.rate):>9}")
    p99 = "–" if traffic.p99_ns is None else fmt.nanoseconds(traffic.p99_ns)
    line.append(f"   p99 {p99:<8}")
    line.append(f" {traffic.in_flight} in flight")
    if traffic.queued:
        line.append(f"   {fmt.count(traffic.queued)} queued", style="yellow")
    line.append(f"   {blocked} blocked", style="bold red" if blocked else "dim")
    if traffic.failed:
        line.append(f"   {fmt.count(traffic.failed)} failed", style="bold red")
    return line


def _statement_line(status: LiveStatus) -> Text:
    took = _clock(status.statement_s) if status.statement_s is not None else ""
    line = Text(" " * (_WIDTH + 3))
    line.append(f"{took:>9}   ", style="bold")
    line.append(fmt.one_line(status.statement, 300), style="cyan")
    return line
