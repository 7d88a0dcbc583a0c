"""Data sets kept from one run to the next: which, under which key, and what it takes to go on with one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rehearse.dataset.cache import Cache, Entry, Kept, cache_from, complete, copy_files
from rehearse.dataset.recipe import DatasetPlan
from rehearse.errors import EnvironmentFailure, RehearseError
from rehearse.model.record import DatasetFacts
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, Scenario
from rehearse.model.target import EngineName
from rehearse.provision import Server, provision
from rehearse.provision.binaries import embedded_installation, local_installation
from rehearse.provision.server import Pausable

EMPTY = "rehearse_empty"
"""Kept beside the loaded base: the same without rows, on which the next run tries its migration."""

WORTH_S = 5.0
"""A data set that took less to load is made again rather than kept."""

# what a data set is made from; one with anything else to it is not kept
_KNOWN = frozenset({"schema", "rows", "load", "seed", "columns", "tables", "locale", "profile", "scale"})
_PACKAGES = ("numpy", "polars", "faker", "psycopg", "scipy", "sqlglot")
_SOURCES = ("acts", "dataset", "engines", "migrate", "model", "provision")
# what reads other files, whose text is not known here, or holds a password or rows
_UNKNOWN = re.compile(r"^\s*\\i|\bPASSWORD\s+E?'|\bCOPY\b[^;]*\bFROM\b", re.IGNORECASE | re.MULTILINE)
_FACTS: TypeAdapter[DatasetFacts] = TypeAdapter(DatasetFacts)


@dataclass(frozen=True, slots=True)
class KeptBase:
    """A base that was loaded by an earlier run: `plan` is the digest of the plan that it was made by."""

    facts: DatasetFacts
    excused: tuple[str, ...]
    plan: str
    copied: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """One run's dealings with the cache; `key` None: this data set is not kept."""

    cache: Cache | None
    key: str | None
    name: str

    @property
    def wanted(self) -> bool:
        """Whether a data set that is made now may be kept."""
        return self.cache is not None and self.key is not None

    @contextlib.contextmanager
    def found(self) -> Iterator[Entry | None]:
        """The data set of an earlier run, if there is one; it stays as long as the context lasts."""
        if self.cache is None or self.key is None:
            yield None
            return
        with self.cache.reading(self.key) as entry:
            yield entry

    def provisioned(
        self, spec: DatabaseSpec, disposable: str | None, stack: ExitStack
    ) -> tuple[Server, KeptBase | None, str]:
        """A server for as long as `stack` lasts, and what it holds from the cache; and a note on that.

        A kept data set that cannot be used is removed, and the server is an empty one.
        """
        note, failed = "", False
        with self.found() as entry:
            if entry is not None:
                bases: list[KeptBase] = []
                try:
                    server = stack.enter_context(
                        provision(
                            spec, disposable=disposable, fill=lambda to: bases.append(restored(entry, to))
                        )
                    )
                    made = datetime.fromtimestamp(entry.created_at, UTC)
                    note = f"the data set is from the cache, made on {made:%Y-%m-%d} ({bases[0].copied})"
                    return server, bases[0], note
                except EnvironmentFailure as error:
                    note, failed = f"the cached data set was not used: {error.what}", True
        if failed:
            self.forget()
        return stack.enter_context(provision(spec, disposable=disposable)), None, note

    def forget(self) -> None:
        """Removes what is kept under the key: it cannot be used."""
        if self.cache is not None and self.key is not None:
            self.cache.remove(self.key)

    def keep(self, server: Server, facts: DatasetFacts, excused: tuple[str, ...], plan: DatasetPlan) -> str:
        """Copies the loaded data set into the cache, with the server stopped meanwhile. Returns a note."""
        took = facts.load_seconds + facts.index_seconds
        if self.cache is None or self.key is None or took < WORTH_S or self.cache.has(self.key):
            return ""
        if not isinstance(server, Pausable):
            return ""
        notes = {
            "facts": json.loads(_FACTS.dump_json(facts)),
            "excused": list(excused),
            "plan": digest(plan),
        }
        with server.paused() as (data, skip):
            try:
                method = self.cache.store(self.key, data, Kept(self.name, facts.rows, notes), skip)
            except EnvironmentFailure as error:
                return str(error)  # a full disk must not end the run: it goes on as if there were no cache
        return f"the data set is kept for the next run ({method}); see `rehearse data list`" if method else ""


def keeping_of(scenario: Scenario, *, wanted: bool = True) -> Keeping:
    """What the cache has to do with this scenario."""
    cache = cache_from(os.environ) if wanted else None
    key = _key(scenario) if cache is not None and _may_be_kept(scenario) else None
    return Keeping(cache, key, scenario.name)


def restored(entry: Entry, data: Path) -> KeptBase:
    """Copies the entry's files to a new data directory. EnvironmentFailure if the copy is not whole."""
    try:
        copied, method = copy_files(entry.data, data)
        facts = _FACTS.validate_python(entry.notes["facts"], strict=False)
        notes = entry.notes["excused"], entry.notes["plan"]
    except (OSError, KeyError, ValidationError) as error:
        raise EnvironmentFailure(f"{entry.key[:12]} cannot be read") from error
    if not complete(entry, copied):
        raise EnvironmentFailure(f"{entry.key[:12]} is not whole")
    excused, plan = notes
    assert isinstance(excused, list)
    return KeptBase(facts, tuple(map(str, excused)), str(plan), method)


def digest(plan: DatasetPlan) -> str:
    """A hash of everything that decides what rows a plan makes."""
    text = repr((sorted(plan.tables.items(), key=lambda item: str(item[0])), plan.seed))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _may_be_kept(scenario: Scenario) -> bool:
    """Only what is generated: files of rows may hold anybody's, and of an existing server nothing is ours."""
    database, dataset = scenario.database, scenario.dataset
    own = database.provision == "embedded" or database.provision.startswith("local:")
    generated = not dataset.load and not database.init and _of_known_making(dataset)
    texts = (dataset.schema.text, *(file.text for file in scenario.migration.up))
    return (
        own
        and database.engine is EngineName.POSTGRES
        and generated
        and not any(_UNKNOWN.search(text) for text in texts)
    )


def _of_known_making(dataset: DatasetSpec) -> bool:
    for field in fields(dataset):
        usual = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name not in _KNOWN and getattr(dataset, field.name) != usual:
            return False
    return True


def _key(scenario: Scenario) -> str | None:
    """The hash of all that decides what the loaded server's files hold; None if that cannot be told."""
    database = scenario.database
    try:
        install = (
            embedded_installation()
            if database.provision == "embedded"
            else local_installation(database.provision.partition(":")[2])
        )
        server = (install.version(), str(install.bindir), (install.bindir / "postgres").stat().st_size)
    except (RehearseError, OSError):
        return None  # provisioning will say what is wrong
    made_of = {
        "server": server,
        "machine": (platform.machine(), platform.libc_ver(), sys.version_info[:2]),
        "packages": {name: _version(name) for name in _PACKAGES},
        "sources": _sources(),
        "database": asdict(database),
        "dataset": asdict(scenario.dataset),
        "migration": asdict(scenario.migration),
    }
    try:
        text = json.dumps(made_of, sort_keys=True, default=_plain)
    except TypeError:
        return None  # something that has no one way of being written
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: object) -> object:
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else repr(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _sources() -> str:
    """The tool's own code, as far as a data set depends on it: another version may make other rows."""
    root = Path(__file__).parents[1]
    total = hashlib.blake2b(digest_size=16)
    for folder in _SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
