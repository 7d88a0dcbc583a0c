"""The provisioners there are, by the text that asks for each. A new one is a file and a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rehearse.errors import InputError
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import EngineName
from rehearse.provision import container, dsn, embedded, local, mysql_cluster, mysql_dsn
from rehearse.provision.mysql import MARIADB, MYSQL
from rehearse.provision.mysql_binaries import engine_in
from rehearse.provision.postgres import POSTGRES
from rehearse.provision.server import Fill, Provisioner, Request

_MYSQL_DSN = "(mysql://.*)"
_MARIADB_DSN = "((?:mariadb|mysql)://.*)"  # most of its clients are told mysql


@dataclass(frozen=True, slots=True)
class Entry:
    """How a provisioner is asked for: a pattern for the whole text, whose group is its argument, and the
    engine that it provides. Another engine in the same kind of place is another line.
    """

    name: str
    pattern: str
    provisioner: Provisioner
    usage: str
    engine: EngineName = EngineName.POSTGRES


TABLE = (
    Entry("embedded", "embedded()", embedded.provide, "embedded"),
    Entry("local", "local:(.*)", local.provide, "local:BINDIR"),
    Entry("docker", "docker:(.*)", partial(container.provide, product=POSTGRES), "docker:IMAGE"),
    Entry(
        "dsn",
        r"(postgres(?:ql)?://.*|\w+ *=.*)",
        dsn.provide,
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    ),
    *(
        entry
        for product, address in ((MYSQL, _MYSQL_DSN), (MARIADB, _MARIADB_DSN))
        for entry in (
            Entry(
                "local",
                "local:(.*)",
                partial(mysql_cluster.provide, product=product),
                "local:BINDIR",
                product.engine,
            ),
            Entry(
                "docker",
                "docker:(.*)",
                partial(container.provide, product=product),
                "docker:IMAGE",
                product.engine,
            ),
            Entry(
                "dsn",
                address,
                partial(mysql_dsn.provide, product=product),
                f"{product.engine.value}://USER:PASSWORD@HOST:PORT/DATABASE",
                product.engine,
            ),
        )
    ),
)


def choose(
    spec: DatabaseSpec, disposable: str | None, fill: Fill | None = None
) -> tuple[Provisioner, Request]:
    """The provisioner that `spec` asks for, and what to ask it; InputError if there is none."""
    text = spec.provision.strip()
    for entry in TABLE:
        match = re.fullmatch(entry.pattern, text, re.DOTALL)
        if match and entry.engine is spec.engine:
            _require_fitting(spec, entry)
            return entry.provisioner, Request(spec, match[1], disposable, fill)
    usages = ", ".join(entry.usage for entry in TABLE if entry.engine is spec.engine)
    # only its first word: the text may be a DSN with a slip in it, and a password
    first = re.match(r"\w*", text)
    word = first[0] if first else ""
    raise InputError(f"no such provisioner for {spec.engine.value}: {word!r}", f"there are: {usages}")


def engine_of(provision: str) -> EngineName:
    """The engine that a provisioner's text speaks of, where it says so; PostgreSQL where it does not."""
    text = provision.strip()
    if text.startswith("local:"):
        bindir = text.removeprefix("local:")
        # a directory may hold several
        here = None if (Path(bindir).expanduser() / "postgres").is_file() else engine_in(bindir)
        return here or EngineName.POSTGRES
    kind, _, rest = text.partition(":")
    name = kind if rest.startswith("//") else rest if kind == "docker" else ""
    if "mariadb" in name:
        return EngineName.MARIADB
    return EngineName.MYSQL if re.search("mysql|percona", name) else EngineName.POSTGRES


def _require_fitting(spec: DatabaseSpec, entry: Entry) -> None:
    """InputError for limits of a container where there is none."""
    misplaced = next((name for name, _ in spec.settings if name.startswith("container.")), None)
    if misplaced:
        key = misplaced.removeprefix("container.")
        raise InputError(
            f"{misplaced} is not a server setting", f"{key} stands in the table [database.container]"
        )
    if spec.container is not None and entry.name != "docker":
        raise InputError(
            f"[database.container] is for docker:IMAGE, and the database is {entry.name}",
            "leave it out, or name an image",
        )
    if spec.extensions and spec.engine is not EngineName.POSTGRES:
        raise InputError(
            f"[database] extensions are PostgreSQL's, and the engine is {spec.engine.value}", "leave them out"
        )
