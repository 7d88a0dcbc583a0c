"""Runs a migration that is a tool's command, and reads what each statement did that the tool sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from rehearse.errors import EnvironmentFailure, ScenarioError
from rehearse.migrate.aftermath import aftermath
from rehearse.migrate.relay import HOST, Relay
from rehearse.migrate.tool import Address, Process, environment
from rehearse.migrate.toolbook import ToolBook, changed_nothing
from rehearse.migrate.witness import Witness
from rehearse.model.migration import MigrationRun, MigrationState, SqlFile, ToolRun, ToolSpec
from rehearse.model.target import Target


def run_command(
    target: Target,
    step: SqlFile,
    *,
    application_name: str,
    timeout_s: float,
    on_state: Callable[[MigrationState], None],
    broken_off: Callable[[], bool],
) -> MigrationRun:
    """Executes the command of `step` with the address of a relay to `target` in its environment.

    A command that fails is part of the answer, and so is one that is ended after `timeout_s` or as soon as
    `broken_off`. `on_state` is called before each statement, in a thread of its session. Raises ScenarioError
    where the command succeeds without ever coming to the database, EnvironmentFailure where no session
    of it is let in, ServerLostError where there is no server.
    """
    assert step.tool is not None
    with Witness(target) as witness:
        before, rows = witness.base()
        dead_before = witness.dead_rows()
        book = ToolBook(step.name, on_state)
        started_ns = time.monotonic_ns()
        overdue_ns = started_ns + int(timeout_s * 1e9)
        with Relay(target, book, application_name, before, rows) as relay:
            address = Address(
                HOST, relay.port, target.user, relay.password.reveal(), target.dbname, application_name
            )
            env = environment(os.environ, step.tool, address)
            status, output = _executed(step.tool, env, broken_off, overdue_ns)
        if relay.defect is not None:
            raise relay.defect
        if status == 0 and relay.left_open:
            raise EnvironmentFailure(
                f"a session of `{step.name}` on the server could not be ended, and what it did is not known",
                "look at what the server does; then rehearse again",
            )
        if relay.closed_door is not None and not book.sessions:
            raise EnvironmentFailure(
                f"`{step.name}` could not be let through to the database: {relay.closed_door}",
                "a migration tool needs a server that takes unencrypted sessions",
            )
        late = status is None and not broken_off()
        ended = ToolRun(step.name, status, output, book.sessions)
        done = book.run(started_ns, ended, overdue_s=timeout_s if late else None)
        on_state(MigrationState())
        if status == 0 and not book.sessions:
            raise ScenarioError(
                f"`{step.name}` ended well and never came to the rehearsal's database",
                "let it take its address from DATABASE_URL or the PG* variables; see docs/migrations.md",
            )
        after = witness.catalog()
        if after is None:
            return done
        left = aftermath(before, after, dead_before, witness.dead_rows(), done.statements)
        return replace(done, aftermath=left)


def refuse_idle(run: MigrationRun) -> None:
    """ScenarioError where a tool did nothing but ask: there is nothing to judge, or it is elsewhere."""
    tool = run.tool
    if tool is not None and tool.exit_status == 0 and changed_nothing(run.statements):
        raise ScenarioError(
            f"`{tool.command}` changed nothing in the rehearsal's database",
            "give the schema as it is before the migration, and what the tool's own table says then with "
            "[dataset] load; and see that it takes its address from the environment",
        )


def _executed(
    spec: ToolSpec, env: dict[str, str], broken_off: Callable[[], bool], overdue_ns: int
) -> tuple[int | None, tuple[str, ...]]:
    with Process(spec, env) as process:
        status = process.wait(lambda: broken_off() or time.monotonic_ns() > overdue_ns)
        if status is None:
            process.kill()
        return status, process.output()
