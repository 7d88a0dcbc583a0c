"""The live display: lines that redraw on a terminal, one plain line a stage elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rehearse.model.record import Stage
from rehearse.model.workload import LiveTraffic
from rehearse.report.live import LiveDisplay, LiveStatus, picture

LOADING = LiveStatus(
    Stage.LOAD, "orders", 2.3, rows_done=1_200_000, rows_total=2_200_000, rows_per_s=650_000.0
)
STALLED = LiveStatus(
    Stage.MIGRATION,
    elapsed_s=3.1,
    traffic=LiveTraffic(1200, 1190, 12, 32, 400, None, 12.2, 2_100_000_000),
    blocked=31,
    statement="CREATE INDEX orders_[customer]\n ON orders (customer_id)",
    statement_s=2.9,
)
RUN = [
    LiveStatus(Stage.PROVISION, "starting postgres"),
    LOADING,
    LOADING,
    LiveStatus(Stage.BASELINE, elapsed_s=3.0, length_s=8.0),
    STALLED,
    LiveStatus(Stage.DONE),
]


def shown(statuses: list[LiveStatus], *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=90, force_terminal=terminal, force_interactive=terminal)
    with LiveDisplay(console) as display:
        for status in statuses:
            display.update(status)
    return out.getvalue()


def test_without_a_terminal_one_line_a_stage() -> None:
    lines = shown(RUN, terminal=False).splitlines()
    assert lines == ["provision   starting postgres", "load        orders", "baseline    8 s", "migration"]


def test_a_step_of_a_stage_has_a_line_of_its_own() -> None:
    steps = [LiveStatus(Stage.TRIALS, kind, step=True) for kind in ("integrity", "scale")]
    within = LiveStatus(Stage.TRIALS, "scale, at a quarter of the rows")
    lines = shown([*steps, within], terminal=False).splitlines()
    assert lines == ["trials      integrity", "trials      scale"]


def test_on_a_terminal_what_is_done_stays() -> None:
    text = shown(RUN, terminal=True)
    assert "\x1b[" in text
    assert "✔" in text
    assert "2.2 M rows" in text


def test_a_dumb_terminal_is_not_animated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in shown(RUN, terminal=True)


@pytest.mark.parametrize("width", [30, 80])
def test_the_picture_keeps_to_its_lines(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    for status, lines in ((LOADING, 2), (STALLED, 3)):
        rendered = console.render_lines(picture(status), pad=False)
        assert len(rendered) == lines
        assert all(sum(segment.cell_length for segment in line) <= width for line in rendered)


def test_what_matters_in_a_stall() -> None:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(picture(STALLED))
    text = capture.get()
    for words in ("migration", "3.1 s", "p99 2.1 s", "32 in flight", "400 queued", "31 blocked", "12 failed"):
        assert words in text
    assert "CREATE INDEX orders_[customer] ON orders" in text


def test_the_load_has_a_rate() -> None:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(picture(LOADING))
    assert "1.2 M of 2.2 M rows, 650 k/s" in capture.get()


def test_an_error_in_the_run_passes_through() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)

    def broken() -> None:
        with LiveDisplay(console) as display:
            display.update(LOADING)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        broken()
