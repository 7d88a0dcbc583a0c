"""The structural half of the catalogue (docs/conformance.md), row by row, on every version there is.

What each operation locks, rewrites, reads and builds, on small tables, and what the judge makes of it alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.catalogue import CATALOGUE
from conformance.rehearsals import QUEUE
from conformance.row import GO, NO_GO, Row
from conformance.structural import RULES, Bench, is_structural
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.model.migration import StatementOutcome
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import provision
from tests.provision.conftest import (  # noqa: F401 - fixtures of the machine's servers
    CONTAINERS_REQUIRED,
    container_images,
    local_bindir,
)

IMAGE = "postgres:17"
PLACES = ["embedded", "local", pytest.param(f"docker:{IMAGE}", marks=pytest.mark.container)]
# what is written is thrown away
SETTINGS = (("fsync", "off"), ("synchronous_commit", "off"))
NUMBERS = {str(number) for number in range(1, 47)}


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The servers, one after the other; each is started once."""
    kind: str = request.param
    if kind == "embedded":
        yield from _bench(request.getfixturevalue("server").target)
        return
    if kind == "local":
        kind = f"local:{request.getfixturevalue('local_bindir')}"
    elif IMAGE not in request.getfixturevalue("container_images"):
        (pytest.fail if CONTAINERS_REQUIRED else pytest.skip)(f"image {IMAGE} is not there")
    with provision(DatabaseSpec(provision=kind, settings=SETTINGS)) as server:
        yield from _bench(server.target)


def _bench(server: Target) -> Iterator[Bench]:
    name = "conformance"
    create_database(server, name)
    bench = Bench(server.on(name))
    yield bench
    bench.close()
    drop_database(server, name)


@pytest.mark.parametrize("row", [row for row in CATALOGUE if is_structural(row)], ids=lambda row: row.name)
def test_row_of_the_catalogue(row: Row, place: Bench) -> None:
    if not row.fits(place.version):
        pytest.skip(f"not for PostgreSQL {place.version}")
    executed = place.execute(row)
    if row.verdict is GO and executed.failures:  # a machine that stops for a moment holds locks for longer
        executed = place.execute(row)
    _is_judged_by(row, executed.failures, executed.warnings)
    if row.structure is None:
        return
    last = executed.run.statements[-1]
    assert last.outcome is StatementOutcome.OK, last.message
    assert executed.did(row.structure) == row.structure
    assert last.effects is not None
    assert last.effects.invalid_indexes == ()
    if place.version >= 18:  # older servers do not count what a session writes
        assert last.effects.wal_exact


def _is_judged_by(row: Row, failures: frozenset[str], warnings: frozenset[str]) -> None:
    if row.rule in RULES:
        assert row.rule in failures
    elif row.verdict is GO:
        assert not failures
        assert (QUEUE in warnings) == row.warns


def test_every_row_of_the_catalogue_has_an_example() -> None:
    assert {row.number for row in CATALOGUE} == NUMBERS
    names = [row.name for row in CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(row.rule for row in CATALOGUE if row.verdict is NO_GO)
