from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.model.workload import Outcome
from rehearse.workload.page import Field, Page, make_page_file, percentile_ns
from rehearse.workload.spool import (
    DTYPE,
    NO_SQLSTATE,
    RECORD,
    Recorder,
    decode_sqlstate,
    encode_sqlstate,
    read_spool,
)


@settings(max_examples=60, deadline=None)
@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=5, max_size=5))
def test_sqlstates_survive(sqlstate: str) -> None:
    assert decode_sqlstate(encode_sqlstate(sqlstate)) == sqlstate


def test_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    count = 20_000  # more than a chunk
    for worker in range(2):
        recorder = Recorder(tmp_path, worker)
        for n in range(count):
            due = 10 * n + 5 * worker
            state = encode_sqlstate("40P01") if n % 1000 == 0 else NO_SQLSTATE
            outcome = Outcome.ERROR if n % 1000 == 0 else Outcome.OK
            recorder.add(
                due, due + 1, due + 2, state, worker, 3 if n % 1000 == 0 else -1, outcome, n % 2 == 0
            )
        assert recorder.count == count
        recorder.close()
    samples, prompt = read_spool(tmp_path, ["read", "write"])
    assert len(samples) == 2 * count
    assert list(samples.scheduled_ns) == list(range(0, 10 * count, 5))  # merged by the time due
    assert list(samples.started_ns) == [due + 1 for due in samples.scheduled_ns]
    assert list(samples.ended_ns) == [due + 2 for due in samples.scheduled_ns]
    assert list(samples.script) == [0, 1] * count
    assert samples.sqlstates == ("40P01",)
    failed = [place for place, code in enumerate(samples.sqlstate) if code == 0]
    assert failed == [place for place, outcome in enumerate(samples.outcome) if outcome == Outcome.ERROR]
    assert [samples.statement[place] for place in failed] == [3] * 40
    assert prompt.tolist() == [True, True, False, False] * (count // 2)


def test_an_empty_spool_makes_empty_columns(tmp_path: Path) -> None:
    samples, prompt = read_spool(tmp_path, ["read"])
    assert len(samples) == len(prompt) == 0
    assert samples.scripts == ("read",)


def test_a_piece_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 0)
    recorder.add(1, 2, 3, NO_SQLSTATE, 0, -1, Outcome.OK, True)
    recorder.flush()
    recorder.close()
    (piece,) = tmp_path.iterdir()
    assert piece.stat().st_size == RECORD.size
    assert piece.suffix == ".samples"


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "missing", 0)
    recorder.add(1, 2, 3, NO_SQLSTATE, 0, -1, Outcome.OK, True)
    with pytest.raises(FileNotFoundError):
        recorder.close()


def test_merging_takes_less_than_a_hundred_bytes_a_transaction(tmp_path: Path) -> None:
    count = 400_000  # so ten million stay under a GiB
    records = np.zeros(count // 4, dtype=DTYPE)
    records["scheduled_ns"] = np.arange(len(records))
    for piece in range(4):
        records.tofile(tmp_path / f"worker-000-{piece:07d}.samples")
    del records
    tracemalloc.start()
    samples, _ = read_spool(tmp_path, ["read"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == count
    assert peak < 100 * count


class TestPage:
    def records(self, latencies_ms: list[float], outcome: Outcome = Outcome.OK) -> memoryview:
        packed = np.zeros(len(latencies_ms), dtype=DTYPE)
        packed["ended_ns"] = (np.array(latencies_ms) * 1e6).astype(np.int64)
        packed["outcome"] = outcome
        return memoryview(packed.tobytes())

    def page(self) -> Page:
        return Page(make_page_file(4), 4)

    def test_starts_at_zero(self) -> None:
        page = self.page()
        assert page.words.tolist()[Field.DUE] == 0
        assert page.recent(10**12)[0] == 0
        assert percentile_ns(page.recent(10**12)[1], 0.99) is None

    def test_percentiles_of_the_last_second(self) -> None:
        page = self.page()
        now = 10**12
        page.add_samples(now - 5_000_000_000, self.records([9000.0] * 500))  # long ago
        page.add_samples(now - 300_000_000, self.records([1.0] * 980))
        page.add_samples(now, self.records([50.0] * 20))
        page.add_samples(now, self.records([777.0] * 20, Outcome.ERROR))
        count, histogram = page.recent(now)
        assert count == 1000
        assert percentile_ns(histogram, 0.5) == pytest.approx(1e6, rel=0.1)
        assert percentile_ns(histogram, 0.99) == pytest.approx(50e6, rel=0.1)
        assert page.recent(now + 2_000_000_000)[0] == 0
