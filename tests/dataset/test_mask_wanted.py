"""Masking as it is asked for: part of the rows, several copies of them, and by the commands of the manual."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from rehearse.cli.main import app
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.roots import root_rows
from rehearse.dataset.masking.rules import parse_rules
from rehearse.dataset.masking.run import Job, run_masking
from rehearse.dataset.masking.sink import DatabaseSink
from rehearse.dataset.masking.source import LiveSource
from rehearse.dataset.masking.subset import by_fraction, by_root, multiplied, read_keys
from rehearse.engines.postgres.copy_stream import read_snapshot
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import InputError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server
from tests.dataset.planted import BINDIR, KEY, RULES, dumped, no_canary, one


def test_a_subset_is_closed_over_references_and_copies_do_not_collide(
    planted: Target, database: Target
) -> None:
    rules = parse_rules(RULES, "rules")
    with read_snapshot(planted) as snapshot, DatabaseSink(database) as sink:
        live = LiveSource.of(planted, snapshot, BINDIR)
        plan = plan_masks(live.schema, rules)
        keys = read_keys(live, plan)
        selection = by_fraction(keys, 0.3, KEY)
        job = Job(live, plan, KEY, sink, selection=selection, multiplied=multiplied(keys, plan, 3))
        result = run_masking(job)
        with pytest.raises(InputError, match="select the primary key of people: id"):
            root_rows(snapshot.connection, live.schema, "SELECT name FROM people")
        table, columns, found = root_rows(
            snapshot.connection, live.schema, "SELECT name, id FROM people p WHERE id IN (5, 7)"
        )
        root = by_root(keys, table, columns, found, children=True)
        counts = {str(relation): int(flags.sum()) for relation, flags in root.flags.items()}
    rows = dict(result.tables)
    assert 0 < rows["people"] < 3 * 60
    # the constraints hold, or the run would have failed; parents have all of their children or none
    assert rows["people"] % 3 == rows["orders"] % 3 == 0
    assert rows["lines"] == 3 * rows["orders"]
    assert counts["people"] == counts["orders"] == 2
    assert counts["lines"] == 6
    assert (
        one(database, "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person_id") == rows["orders"]
    )


def test_the_documented_commands_do_what_is_said(
    server: Server,
    planted: Target,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def database_instead(_spec: DatabaseSpec) -> Iterator[SimpleNamespace]:
        create_database(server.target, "mask_scratch")
        try:
            yield SimpleNamespace(target=server.target.on("mask_scratch"))
        finally:
            drop_database(server.target, "mask_scratch")

    section = (Path(__file__).parents[2] / "docs" / "data.md").read_text().partition("## Anonymized")[2]
    commands = [line.split()[1:] for line in section.splitlines() if line.startswith("rehearse data mask ")]
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REHEARSE_MASK_KEY", "0123456789abcdef0123456789abcdef")
    dumped(planted, tmp_path / "production.dump", "c")
    for number, words in enumerate(commands):
        assert app([*words, "--json"], standalone_mode=False) in {0, None}
        if number == 0:
            rules = (tmp_path / "mask.toml").read_text().replace('"..."', '"read"')
            (tmp_path / "mask.toml").write_text(rules.replace('# "public.events.at"', '"public.events.at"'))
            # one server was started for a dump's schema, as it is; the others are left out
            monkeypatch.setattr("rehearse.provision.provision", database_instead)
    (tmp_path / "production.dump").unlink()
    no_canary("".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file()))
    manifest = json.loads((tmp_path / "masked" / "manifest.json").read_text())
    assert manifest["rows"] == 703
    shown = capfd.readouterr()
    no_canary(shown.out + shown.err)
    assert "0123456789abcdef" not in shown.out + shown.err
    assert "a boolean tells nobody from another" in shown.out
