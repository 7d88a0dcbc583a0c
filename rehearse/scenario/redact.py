"""A scenario without what must not be written down or shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from rehearse.model.migration import SqlFile
from rehearse.model.scenario import Scenario
from rehearse.scenario.addresses import is_dsn

# What a schema file holds besides a schema: rows, or the password of a role or a foreign server
_MORE_THAN_SCHEMA = re.compile(
    r"^\s*(?:COPY\b.*\bFROM\s+STDIN|INSERT\s+INTO)\b|\bPASSWORD\s+E?'", re.IGNORECASE | re.MULTILINE
)


def redact(scenario: Scenario) -> Scenario:
    """`scenario` with the address of an existing server replaced by its scheme (`postgresql://***`), and
    without the values of production's settings, the rows of seed files and the init scripts, which may hold
    passwords.
    """
    schema, database = scenario.dataset.schema, scenario.database
    profile = scenario.dataset.profile
    migration = scenario.migration
    scenario = replace(
        scenario,
        migration=replace(
            migration, up=tuple(map(_public, migration.up)), down=tuple(map(_public, migration.down))
        ),
        database=replace(database, init=tuple(map(_summary, database.init))),
        dataset=replace(
            scenario.dataset,
            schema=_summary(schema) if _MORE_THAN_SCHEMA.search(schema.text) else schema,
            load=tuple(map(_summary, scenario.dataset.load)),
            profile=None if profile is None else replace(profile, tables=(), notes=()),
        ),
    )
    drift = scenario.trials.drift
    if drift is not None:  # what it says is in the database by then, and it may be thousands of files
        dump = None if drift.schema is None else _summary(drift.schema)
        short_drift = replace(drift, history=tuple(map(_summary, drift.history)), schema=dump)
        scenario = replace(scenario, trials=replace(scenario.trials, drift=short_drift))
    trace = scenario.workload.trace
    if trace is not None:  # as long as production's log was; nothing of it is needed to judge
        short = replace(trace, due_ns=(), script=())
        scenario = replace(scenario, workload=replace(scenario.workload, trace=short))
    exported = scenario.database.production
    if exported is not None:
        scenario = replace(
            scenario, database=replace(scenario.database, production=replace(exported, values=()))
        )
    provision = scenario.database.provision
    if not is_dsn(provision):
        return scenario
    scheme, separator, _ = provision.partition("://")
    shown = f"{scheme}://***" if separator and scheme.isalpha() else "dsn"
    return replace(scenario, database=replace(scenario.database, provision=shown))


def _public(file: SqlFile) -> SqlFile:
    """A tool's command without what its variables hold."""
    if file.tool is None:
        return file
    return replace(file, tool=replace(file.tool, env=tuple((name, "***") for name, _ in file.tool.env)))


def _summary(file: SqlFile) -> SqlFile:
    """The file's name, and what tells whether another one is the same."""
    raw = file.text.encode()
    return SqlFile(file.name, f"-- not kept: {len(raw)} bytes, SHA-256 {hashlib.sha256(raw).hexdigest()}")
