"""The tables of docs/conformance.md: the catalogue, and the answers that are kept of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from conformance.catalogue import CATALOGUE
from conformance.held_out import HELD_OUT
from conformance.rehearsals import Answer
from conformance.results import Result, expected, said
from conformance.row import Row
from conformance.services import SERVICES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "conformance.md"
KEPT = Path(__file__).parent / "measured.json"
_SHORT = {
    "ACCESS SHARE": "AS",
    "ROW SHARE": "RS",
    "ROW EXCLUSIVE": "RX",
    "SHARE UPDATE EXCLUSIVE": "SUE",
    "SHARE": "S",
    "SHARE ROW EXCLUSIVE": "SRE",
    "EXCLUSIVE": "X",
    "ACCESS EXCLUSIVE": "AX",
}

# Server, as `PostgreSQL 18 (embedded)`, to an example's name, to the answers it had.
Kept = Mapping[str, Mapping[str, Sequence[Answer]]]


def keep(place: str, results: Iterable[Result]) -> None:
    """Write `results` over those that are kept of the same examples and server, and the page anew."""
    kept = {name: dict(rows) for name, rows in load().items()}
    mine = kept.setdefault(place, {})
    mine.update((result.row.name, result.answers) for result in results)
    document = {
        server: {name: [[a.verdict, list(a.failures), list(a.warnings)] for a in answers]
                 for name, answers in sorted(rows.items())}
        for server, rows in sorted(kept.items())
    }  # fmt: skip
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    PAGE.write_text(with_tables(PAGE.read_text(), load()))


def load() -> Kept:
    """The answers that are kept."""
    document = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return {
        server: {
            name: [Answer(verdict, tuple(failures), tuple(warnings)) for verdict, failures, warnings in rows]
            for name, rows in named.items()
        }
        for server, named in document.items()
    }


def with_tables(text: str, kept: Kept) -> str:
    """The page's text with its tables made anew; each stands between a comment that names it and another."""
    for name, rows in (("catalogue", CATALOGUE), ("held-out", (*HELD_OUT, *SERVICES))):
        table = "\n".join(_table(rows, kept))
        text, count = re.subn(
            rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)",
            rf"\1\n{_literal(table)}\n\n\2",
            text,
            count=1,
            flags=re.DOTALL,
        )
        assert count == 1, f"docs/conformance.md has no place for the table {name}"
    return text


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _table(rows: Sequence[Row], kept: Kept) -> Iterable[str]:
    servers = sorted(kept)
    heads = ("#", "example", "locks", "work", "verdict", *servers)
    yield _line(heads)
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield _line((*_facts(row), *(_score(row, kept[server].get(row.name, ())) for server in servers)))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _facts(row: Row) -> tuple[str, ...]:
    text = " ".join(row.up.split())
    sql = text if len(text) <= 150 else f"{text[:147]}..."
    label = f"{row.variant}: " if row.variant else ""
    note = f" ({row.note})" if row.note else ""
    since = f" [{row.since} and later]" if row.since > 15 else ""
    locks = row.structure.locks if row.structure else {}
    return (
        row.number,
        f"{label}`{sql}`{note}{since}",
        ", ".join(f"{table} {_SHORT[mode.sql]}" for table, mode in locks.items()),
        _work(row),
        expected(row),
    )


def _work(row: Row) -> str:
    if row.structure is None:
        return ""
    parts = {
        "rewrites": row.structure.rewritten,
        "reads": row.structure.scanned,
        "builds": row.structure.built,
    }
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts.items() if names) or "none"


def _score(row: Row, answers: Sequence[Answer]) -> str:
    if not answers:
        return ""
    agreed = sum(answer.agrees(row) for answer in answers)
    score = f"{agreed} of {len(answers)}"
    return score if agreed == len(answers) else f"**{score}**: {said(answers)}"
