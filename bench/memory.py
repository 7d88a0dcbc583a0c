"""What ten million transactions cost in memory, from the driver process to the report.

Run as `python -m bench.memory [--transactions N]`. One small rehearsal is really run; then as many samples
as asked for are put in the place of its own, by the code that a driver process records with, and taken the
whole way: merged and kept as after a run, judged again and drawn from the folder. Each step is a process of
its own, whose peak is printed. The aim: every one of them under 1 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rehearse.judge.judge import judge
from rehearse.model.record import RunRecord
from rehearse.model.workload import Outcome
from rehearse.record.folder import RunFolder
from rehearse.report.html import render_html
from rehearse.workload.spool import Recorder, encode_sqlstate, read_spool, rest_of_good

LIMIT_MIB = 1024
_BLOCK = 4096
_SCHEMA = "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, note text);\n"
_MIGRATION = "CREATE INDEX CONCURRENTLY orders_customer ON orders (customer);\n"


def small_rehearsal(folder: Path) -> Path:
    """A run's folder."""
    (folder / "schema.sql").write_text(_SCHEMA)
    (folder / "up.sql").write_text(_MIGRATION)
    words = ["run", "--schema", "schema.sql", "--migration", "up.sql", "--rows", "2000", "--rate", "50"]
    phases = ["--warm-up", "1s", "--baseline", "2s", "--recovery", "1s", "--json", "--out", "reports"]
    subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", "rehearse.cli.main", *words, *phases],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return next((folder / "reports").iterdir())


def record_samples(run: RunFolder, spool: Path, count: int) -> None:
    """`count` of them, spread over the trial, as a driver process records them."""
    spool.mkdir(exist_ok=True)
    recorder = Recorder(spool, 0)
    rng = np.random.default_rng(1)
    phases = _trial_spans(run.read_record())
    start, end = phases[0], phases[-1]
    rests = [rest_of_good(script) for script in range(len(run.read_record().scripts))]
    deadlock = encode_sqlstate("40P01")
    for first in range(0, count, _BLOCK):
        size = min(_BLOCK, count - first)
        due = start + (np.arange(first, first + size) * ((end - start) / count)).astype(np.int64)
        lag, service = rng.exponential(50_000, size), rng.exponential(500_000, size)
        started, ended = due + lag.astype(np.int64), due + (lag + service).astype(np.int64)
        script = rng.integers(0, len(rests), size).tolist()
        for a, b, c, place in zip(due.tolist(), started.tolist(), ended.tolist(), script, strict=True):
            recorder.add_good(a, b, c, rests[place][1])
        recorder.add(due.tolist()[-1], 0, due.tolist()[-1] + 1, deadlock, 0, 1, Outcome.ERROR, True)
    recorder.close()


def _trial_spans(record: RunRecord) -> list[int]:
    return [
        edge
        for trial in record.trials[:1]
        for phase in trial.phases
        for edge in (phase.start_ns, phase.end_ns)
    ]


def keep(run: RunFolder, spool: Path, _count: int) -> None:
    """As the conductor does after the traffic."""
    record = run.read_record()
    samples, _ = read_spool(spool, [script.name for script in record.scripts])
    run.write_samples(samples)
    judge(record, samples)


def judge_again(run: RunFolder, _spool: Path, _count: int) -> None:
    """As `rehearse judge`."""
    record = run.read_record()
    judge(record, run.read_samples(record))


def draw(run: RunFolder, _spool: Path, _count: int) -> None:
    """As `rehearse report`."""
    record = run.read_record()
    render_html(record, run.read_samples(record))


STEPS: dict[str, Callable[[RunFolder, Path, int], None]] = {
    "driver process": record_samples,
    "merge, keep, judge": keep,
    "judge again": judge_again,
    "report": draw,
}


def measure(step: str, run: Path, spool: Path, count: int) -> tuple[float, float]:
    """Peak MiB and seconds of one step."""
    words = ["--step", step, "--run", str(run), "--spool", str(spool), "--transactions", str(count)]
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", "bench.memory", *words], capture_output=True, text=True, check=True
    )
    peak, seconds = json.loads(done.stdout)
    return peak, seconds


def main() -> int:
    """All steps; the exit status is 1 where one took too much."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--transactions", type=int, default=10_000_000)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--spool", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        began = time.monotonic()
        STEPS[given.step](RunFolder(given.run), given.spool, given.transactions)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps([peak_mib, time.monotonic() - began]))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="rehearse-bench-"))
    try:
        run = small_rehearsal(folder)
        peaks = []
        sys.stdout.write(f"{given.transactions:,} transactions\n")
        for step in STEPS:
            peak, seconds = measure(step, run, folder / "spool", given.transactions)
            peaks.append(peak)
            sys.stdout.write(f"  {step:<20} peak {peak:7.0f} MiB   {seconds:6.1f} s\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(max(peaks) > LIMIT_MIB)


if __name__ == "__main__":
    sys.exit(main())
