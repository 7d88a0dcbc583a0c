"""The distributions beside pgbench's own: what its program draws, and what ours does."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rehearse.provision import Server
from rehearse.workload.evaluate import draw_many
from tests.workload.test_like_pgbench import pgbench

DRAWS = {
    "random": ("random(1, 12)", 0.0),
    "random_exponential": ("random_exponential(1, 12, 2.5)", 2.5),
    "random_gaussian": ("random_gaussian(1, 12, 3.0)", 3.0),
    "random_zipfian": ("random_zipfian(1, 12, 1.3)", 1.3),
}
COUNT = 6000


@pytest.fixture
def theirs(server: Server, tmp_path: Path) -> dict[str, list[int]]:
    lines = [f"\\set x debug({text})\n" * 500 for text, _ in DRAWS.values()]
    path = tmp_path / "draws.sql"
    path.write_text("".join(lines) + "select 1;\n")
    shown = pgbench(server.target, "-f", str(path), "-t", str(COUNT // 500), "--random-seed=7").stderr
    found = defaultdict(list)
    for command, value in re.findall(r"^debug\(script=0,command=(\d+)\): int (\d+)$", shown, re.MULTILINE):
        found[list(DRAWS)[(int(command) - 1) // 500]].append(int(value))
    return found


def test_the_distributions_are_pgbenchs(theirs: dict[str, list[int]]) -> None:
    for kind, (_text, parameter) in DRAWS.items():
        assert len(theirs[kind]) == COUNT
        ours = draw_many(np.random.default_rng(3), kind, 1, 12, parameter, 10 * COUNT)
        table = np.array([np.bincount(values, minlength=13)[1:] for values in (theirs[kind], ours)])
        # both seeds are fixed: this never fails by chance
        assert stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > 1e-4, kind
