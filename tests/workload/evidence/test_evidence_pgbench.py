from __future__ import annotations

import gzip
import json
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from rehearse.acts.casting import sampled_pools
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.target import Target
from rehearse.model.workload import ScriptSource
from rehearse.workload.evidence.check import ServerChecker
from rehearse.workload.evidence.entry import LogEntry, Tally
from rehearse.workload.evidence.files import read_logs
from rehearse.workload.evidence.folder import Written
from rehearse.workload.evidence.from_log import distil_logs, trace_logs
from rehearse.workload.evidence.from_statistics import distil_statistics, read_server
from rehearse.workload.evidence.logged import LoggedStatement, message_of
from rehearse.workload.evidence.replay import replay
from rehearse.workload.evidence.transactions import Wanted
from rehearse.workload.script import parse_script
from rehearse.workload.traffic import run_traffic
from tests.workload.evidence.conftest import Recorded

PREFIX = "%m [%p] "
TPCB = "update_pgbench_accounts_and_4_more"


def distilled(target: Target, *paths: Path, with_schema: bool = True) -> Written:
    if not with_schema:
        return distil_logs(paths, log_line_prefix=PREFIX, wanted=Wanted(), schema=None, checker=None, most=40)
    with connect(target, "rehearse") as connection:
        return distil_logs(
            paths,
            log_line_prefix=PREFIX,
            wanted=Wanted(),
            schema=introspect(connection),
            checker=ServerChecker(connection),
            most=40,
        )


def run(target: Target, written: Written) -> dict[str, int]:
    sources = [ScriptSource(draft.name, draft.text, draft.count) for draft in written.drafts]
    scripts = [parse_script(source) for source in sources]
    report = run_traffic(
        target, scripts, clients=2, seconds=0.5, rate=100, pools=sampled_pools(target, scripts, 1)
    )
    assert report.transactions > 20
    return report.errors | ({"skipped": report.skipped} if report.skipped else {})


@pytest.mark.parametrize("suffix", [".log", ".csv", ".json"])
def test_a_log_of_any_kind_is_distilled_into_the_transaction_that_pgbench_sent(
    recorded: Recorded, suffix: str
) -> None:
    written = distilled(recorded.target, recorded.log(suffix))
    assert written.tally.refused == 0
    tpcb = next(draft for draft in written.drafts if draft.name == TPCB)
    assert tpcb.count == 3 * 120
    assert r"\set aid sample(pgbench_accounts.aid)" in tpcb.text
    assert tpcb.text.count(":aid") == 3
    assert written.rate is not None
    assert 1 < written.rate < 200


def test_distilled_scripts_run_without_errors(recorded: Recorded) -> None:
    assert run(recorded.target, distilled(recorded.target, recorded.log(".csv"))) == {}
    assert run(recorded.target, distilled(recorded.target, recorded.log(".json"), with_schema=False)) == {}


def messages(entries: Iterable[object], application: str) -> list[tuple[int, str, LoggedStatement]]:
    """Every statement of an application: when it began, whose it was, and itself."""
    found = []
    for entry in entries:
        if isinstance(entry, LogEntry) and entry.level == "LOG" and entry.application == application:
            message = message_of(entry)
            if isinstance(message, LoggedStatement):
                found.append((message.at_ns, entry.session, message))
    return sorted(found, key=lambda row: row[0])


def texts(rows: list[tuple[int, str, LoggedStatement]]) -> Counter[tuple[str, tuple[str | None, ...] | None]]:
    return Counter((row[2].text, row[2].parameters) for row in rows)


def test_a_replay_sends_exactly_what_was_recorded_at_the_same_times(
    recorded: Recorded, tmp_path: Path
) -> None:
    logged = messages(read_logs([recorded.log(".json")], PREFIX, Tally()), "pgbench")
    sent = [row for row in logged if "SELECT abalance" in row[2].text or "pgbench_tellers SET" in row[2].text]
    only_pgbench = tmp_path / "pgbench.json"
    lines = recorded.log(".json").read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if "UPDATE pgbench_accounts" in line)
    only_pgbench.write_text("".join(lines[first - 1 :]))
    facts, tally = trace_logs(
        [only_pgbench], tmp_path / "trace.jsonl", log_line_prefix=PREFIX, wanted=Wanted()
    )
    assert facts.transactions >= 3 * 120 - 2
    assert tally.refused == 0
    assert stat.S_IMODE((tmp_path / "trace.jsonl").stat().st_mode) == 0o600

    report = replay(recorded.target, tmp_path / "trace.jsonl", speed=2.0)
    assert (report.sent, report.ok, report.lost, report.errors) == (
        facts.statements,
        facts.statements,
        0,
        {},
    )
    recorded.flush()
    again = messages(read_logs([recorded.current(".json")], PREFIX, Tally()), "rehearse-traffic")
    trace = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()[1:]]
    wanted = Counter((row[4], None if row[6] is None else tuple(row[6])) for row in trace)
    counts = texts(again)
    assert {key: counts[key] for key in wanted} == dict(wanted)
    assert len(sent) > 0
    assert 0 < report.own_lag_ms["p50"] <= report.own_lag_ms["max"]
    assert facts.seconds / 2 - 0.1 <= report.seconds < facts.seconds / 2 + 60


def test_a_half_corrupt_log_is_used_as_far_as_it_is_whole(recorded: Recorded, tmp_path: Path) -> None:
    whole = recorded.log(".csv").read_bytes()
    half = len(whole) // 2
    broken = whole[:half] + b"\0\xff garbage \xfe\n" + whole[half + 3000 :]
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(gzip.compress(broken)[:-200])
    written = distilled(recorded.target, path)
    tpcb = next(draft for draft in written.drafts if draft.name == TPCB)
    assert 250 < tpcb.count < 360
    assert written.tally.refused >= 2
    assert all(refusal.line > 1 for refusal in written.tally.refusals)


def test_rotated_files_are_read_in_order_of_time(recorded: Recorded, tmp_path: Path) -> None:
    lines = recorded.log(".json").read_bytes().splitlines(keepends=True)
    (tmp_path / "b.json").write_bytes(b"".join(lines[: len(lines) // 2]))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"".join(lines[len(lines) // 2 :])))
    written = distilled(recorded.target, tmp_path / "a.json.gz", tmp_path / "b.json")
    assert next(draft for draft in written.drafts if draft.name == TPCB).count == 3 * 120
    assert not written.tally.refusals
    assert not any("overlaps" in note for note in written.tally.notes)


def test_pg_stat_statements_gives_a_mix_that_runs(recorded: Recorded) -> None:
    with connect(recorded.target, "rehearse") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        schema, checker = introspect(connection), ServerChecker(connection)
        written = distil_statistics(read_server(recorded.target, None), schema, checker, most=40)
    names = {draft.name for draft in written.drafts}
    assert {"update_pgbench_accounts", "select_pgbench_accounts", "insert_pgbench_history"} <= names
    assert written.rate is not None
    assert any("does not know transactions" in note for note in written.tally.notes)
    assert run(recorded.target, written) == {}
