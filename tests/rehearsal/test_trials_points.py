"""Where a migration is broken off: chosen from how it ran, without a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from rehearse.acts import interruption
from rehearse.acts.interruption import Point, points
from rehearse.acts.losses import writes_nothing
from rehearse.acts.trial import TrialContext
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    ColumnChange,
    Effects,
    HeldLock,
    MigrationRun,
    MigrationState,
    Statement,
    StatementOutcome,
    TableWork,
    TransactionMode,
)
from rehearse.model.relation import Relation
from rehearse.model.target import EngineName, Secret, Target
from rehearse.model.trials import Blow, Remains

ORDERS = Relation("public", "orders")
LOCKED = Effects(locks=(HeldLock(ORDERS, LockMode.ACCESS_EXCLUSIVE, "table", ORDERS),))
MS = 1_000_000


def a_run(*statements: tuple[str, int, int, Effects | None]) -> MigrationRun:
    """Statements by command, transaction, milliseconds and effects."""
    made = []
    for index, (command, transaction, lasted, effects) in enumerate(statements):
        statement = Statement(
            index, command, "up.sql", 1, command, transaction, 0, lasted * MS, StatementOutcome.OK
        )
        made.append(replace(statement, effects=effects))
    return MigrationRun(TransactionMode.AS_WRITTEN, 0, 1, tuple(made), ())


def test_one_short_transaction_is_not_broken_off() -> None:
    assert points(a_run(("ALTER TABLE", 0, 5, LOCKED)), 3) == ()
    assert points(a_run(("ALTER TABLE", 0, 5, LOCKED), ("UPDATE", 0, 5, LOCKED)), 3) == ()


def test_what_commits_as_it_goes_is_broken_off_however_short() -> None:
    run = a_run(("CREATE INDEX CONCURRENTLY", 0, 3, LOCKED))
    assert points(run, 3) == (Point(0, 0.5),)
    block = Effects(longest_transaction_ns=5)
    assert points(a_run(("DO", 0, 3, block)), 1) == (Point(0, 0.5),)


def test_a_long_statement_that_commits_as_it_goes_is_broken_off_at_several_points_of_its_course() -> None:
    run = a_run(("CREATE INDEX CONCURRENTLY", 0, 900, LOCKED))
    assert points(run, 3) == (Point(0, 0.25), Point(0, 0.5), Point(0, 0.75))
    assert points(run, 1) == (Point(0, 0.5),)
    assert points(a_run(("UPDATE", 0, 900, LOCKED)), 3) == (Point(0, 0.5),)


def test_the_borders_of_transactions_that_did_something_come_next() -> None:
    run = a_run(
        ("SET", 0, 0, Effects()),
        ("ALTER TABLE", 1, 5, LOCKED),
        ("UPDATE", 2, 900, LOCKED),
        ("ALTER TABLE", 3, 5, LOCKED),
    )
    assert points(run, 3) == (Point(2, 0.0), Point(2, 0.5), Point(3, 0.0))
    assert points(run, 1) == (Point(2, 0.5),)


def test_no_more_points_than_are_wanted() -> None:
    run = a_run(*[("UPDATE", number, 60 + number, LOCKED) for number in range(40)])
    for wanted in range(1, 12):
        found = points(run, wanted)
        assert len(found) == len(set(found)) == wanted


def test_a_migration_that_wrote_to_nothing_is_known_by_its_effects() -> None:
    work = TableWork(ORDERS, 5, 5)
    assert writes_nothing(a_run(("ALTER TABLE", 0, 5, LOCKED), ("CREATE INDEX CONCURRENTLY", 1, 5, LOCKED)))
    assert writes_nothing(
        a_run(("ALTER TABLE", 0, 5, Effects(columns=(ColumnChange(ORDERS, "a", "retyped", "text"),))))
    )
    for effects in (
        None,
        Effects(rewritten=(work,)),
        Effects(rows_changed=((ORDERS, 1),)),
        Effects(columns=(ColumnChange(ORDERS, "a", "dropped"),)),
        Effects(longest_transaction_ns=0),
    ):
        assert not writes_nothing(a_run(("DO", 0, 5, effects)))


class MovingServer:
    """As a container is: after a restart its port is another."""

    def __init__(self) -> None:
        self.target = Target(EngineName.POSTGRES, "h", 1, "postgres", "u", Secret("p"))

    def kill(self) -> None:
        """Nothing runs."""

    def restart(self) -> None:
        self.target = replace(self.target, port=self.target.port + 1)


def test_what_is_left_is_looked_at_where_the_server_is_after_its_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    nothing = interruption._State({}, Remains(), (), {})
    run = a_run(("UPDATE", 0, 900, LOCKED))
    broken = replace(run, statements=(replace(run.statements[0], outcome=StatementOutcome.FAILED),))

    def struck(*_: object, on_state: Callable[[MigrationState], None], **__: object) -> MigrationRun:
        on_state(MigrationState(1, 0, "UPDATE", 1))
        return broken

    def run_again(target: Target, *_: object) -> MigrationRun:
        asked.append(target.port)
        return run

    def state(target: Target, _: object) -> interruption._State:
        asked.append(target.port)
        return nothing

    monkeypatch.setattr(interruption, "run_migration", struck)
    monkeypatch.setattr(interruption, "quietly", run_again)
    monkeypatch.setattr(interruption._State, "of", state)
    server = MovingServer()
    migration = SimpleNamespace(up=(), transaction=TransactionMode.AS_WRITTEN, timeout_s=1.0)
    context = SimpleNamespace(
        server=server, copy=lambda: server.target.on("trial"), scenario=SimpleNamespace(migration=migration)
    )
    rehearsed = interruption._Rehearsed(cast(TrialContext, context), run, nothing, nothing)
    assert rehearsed.at(Point(0, 0.0), Blow.KILLED).reached
    assert asked == [2, 2, 2]
