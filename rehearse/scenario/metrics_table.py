"""The table of all metrics in the documentation, written from the metrics themselves."""

from __future__ import annotations

import sys
from pathlib import Path

from rehearse.model.gates import METRICS, MetricKind
from rehearse.model.verdict import Unit

BEGIN, END = "<!-- metrics: written by rehearse.scenario.metrics_table -->", "<!-- end of metrics -->"
_UNITS = {
    Unit.SECONDS: "time",
    Unit.BYTES: "bytes",
    Unit.RATIO: "ratio",
    Unit.COUNT: "count",
    Unit.PER_SECOND: "per second",
}


def metrics_table() -> str:
    """Markdown, a row for each metric."""
    head = ["| metric | unit | selectors | what it is | while the migration runs |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(_row, METRICS)])


def _row(kind: MetricKind) -> str:
    names = ("phase=down", *kind.selectors) if kind.of_down else kind.selectors
    selectors = ", ".join(f"`{name}`" for name in names)
    cells = (f"`{kind.name}`", _UNITS[kind.unit], selectors, kind.meaning, kind.live)
    return "| " + " | ".join(cells) + " |"


def with_table(page: str) -> str:
    """`page` with the table between its marks as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{metrics_table()}\n\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
