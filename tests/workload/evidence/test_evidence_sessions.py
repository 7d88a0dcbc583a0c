from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from rehearse.errors import InputError
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.files import read_logs
from rehearse.workload.evidence.logged import LoggedTransaction
from rehearse.workload.evidence.prefix import pattern_of
from rehearse.workload.evidence.transactions import Sessions, Wanted


def read(tmp_path: Path, text: str, prefix: str = "%m [%p] ") -> tuple[list[LoggedTransaction], Tally]:
    path = tmp_path / "postgresql.log"
    path.write_text(text)
    tally = Tally()
    sessions = Sessions(Wanted(), tally)
    return list(sessions.transactions(read_logs([path], prefix, tally))), tally


def line(second: float, pid: int, message: str, level: str = "LOG") -> str:
    return f"2026-03-01 12:00:{second:06.3f} UTC [{pid}] {level}:  {message}\n"


def statements(found: list[LoggedTransaction]) -> list[tuple[str, ...]]:
    return [tuple(statement.text for statement in one.statements) for one in found]


def test_transactions_of_sessions_that_overlap_are_kept_whole(tmp_path: Path) -> None:
    found, tally = read(
        tmp_path,
        line(1, 1, "duration: 0.100 ms  statement: BEGIN")
        + line(1.1, 2, "duration: 2.000 ms  statement: SELECT 1")
        + line(1.2, 1, "duration: 0.100 ms  statement: UPDATE t\n\tSET a = 1\n\tWHERE b = 'x'")
        + line(1.3, 2, "duration: 2.000 ms  execute S_1/C_2: SELECT $1")
        + line(1.3, 2, "parameters: $1 = 'a\n\tb'", "DETAIL")
        + line(1.4, 1, "duration: 0.100 ms  statement: COMMIT"),
    )
    assert statements(found) == [
        ("BEGIN", "UPDATE t\nSET a = 1\nWHERE b = 'x'", "COMMIT"),
        ("SELECT 1",),
        ("SELECT $1",),
    ]
    assert found[2].statements[0].parameters == ("a\nb",)
    assert found[2].statements[0].name == "S_1"
    assert found[1].statements[0].at_ns % 10**9 == 98_000_000
    assert not tally.refusals


def test_log_statement_all_is_read_too_and_failures_do_not_count(tmp_path: Path) -> None:
    found, tally = read(
        tmp_path,
        line(1, 1, "statement: BEGIN")
        + line(1.1, 1, "duration: 0.500 ms")
        + line(1.2, 1, "execute <unnamed>: INSERT INTO t VALUES ($1)")
        + line(1.2, 1, "Parameters: $1 = '7'", "DETAIL")
        + line(1.3, 1, "duplicate key value", "ERROR")
        + line(1.3, 1, "INSERT INTO t VALUES ($1)", "STATEMENT")
        + line(1.4, 1, "statement: ROLLBACK")
        + line(1.5, 1, "statement: SELECT 2"),
    )
    assert [(one.ending.name, one.failures) for one in found] == [("ROLLED_BACK", 1), ("COMMITTED", 0)]
    assert statements(found) == [("BEGIN", "ROLLBACK"), ("SELECT 2",)]
    assert found[0].statements[0].duration_ns == 500_000
    assert tally.left_out["statements that the server refused"] == 1


def test_a_broken_line_costs_the_transactions_that_were_open(tmp_path: Path) -> None:
    found, tally = read(
        tmp_path,
        line(1, 1, "duration: 0.1 ms  statement: BEGIN")
        + line(1, 2, "duration: 0.1 ms  statement: BEGIN")
        + line(1.1, 2, "duration: 0.1 ms  statement: COMMIT")
        + "2026-03-01 12:0\n"
        + line(1.2, 1, "duration: 0.1 ms  statement: UPDATE t SET a = 1")
        + line(1.3, 1, "duration: 0.1 ms  statement: COMMIT")
        + line(2.0, 1, "duration: 0.1 ms  statement: SELECT 1")
        + line(2.1, 1, "duration: 0.1 ms  statement: SELECT ").rstrip(),
    )
    assert statements(found) == [("BEGIN", "COMMIT"), ("SELECT 1",)]
    assert [(refusal.line) for refusal in tally.refusals] == [4, 8]
    assert str(tally.refusals[0]).endswith(
        "postgresql.log:4: does not begin with log_line_prefix and a level"
    )


def test_a_gap_in_the_numbers_of_a_session_is_seen(tmp_path: Path) -> None:
    rows = [
        (1, "duration: 0.1 ms  statement: BEGIN"),
        (3, "duration: 0.1 ms  statement: COMMIT"),
        (4, "duration: 0.1 ms  statement: BEGIN"),
        (5, "duration: 0.1 ms  statement: COMMIT"),
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, message in rows:
        row = [""] * 26
        row[0], row[3], row[5], row[6] = "2026-03-01 12:00:00.000 CET", "9", "a.9", str(number)
        row[11], row[13] = "LOG", message
        writer.writerow(row)
    path = tmp_path / "x.csv"
    path.write_text(out.getvalue())
    tally = Tally()
    found = list(Sessions(Wanted(), tally).transactions(read_logs([path], "%m [%p] ", tally)))
    assert statements(found) == [("BEGIN", "COMMIT")]
    assert sum(tally.left_out.values()) >= 1


@pytest.mark.parametrize(
    ("prefix", "begin"),
    [
        (
            "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
            "2026-03-01 12:00:00 CET [7]: [3-1] user=u,db=d,app=my app,client=::1 ",
        ),
        ("%m:%r:%u@%d:[%p]:", "2026-03-01 12:00:00.123 UTC:10.0.0.1(5432):u@d:[7]:"),
        ("%n %c %q%u@%d ", "1772366400.123 65e1c0c0.1f u@d "),
        ("%n %c %q%u@%d ", "1772366400.123 65e1c0c0.1f "),
        ("%-10p|%m|", "7         |2026-03-01 12:00:00.123 +05:30|"),
    ],
)
def test_prefixes(prefix: str, begin: str) -> None:
    match = pattern_of(prefix).match(begin + "LOG:  statement: SELECT 1")
    assert match is not None
    assert match["message"] == "statement: SELECT 1"


def test_a_prefix_without_time_or_session_is_refused() -> None:
    with pytest.raises(InputError, match="needs %m"):
        pattern_of("%u@%d ")


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"hello\nworld\n"))
    with pytest.raises(InputError, match="no line of it is an entry"):
        list(read_logs([path], "%m [%p] ", Tally()))
