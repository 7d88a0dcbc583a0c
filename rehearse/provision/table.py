"""The provisioners there are, by the text that asks for each. A new one is a file and a line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearse.errors import InputError
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import container, dsn, embedded, local
from rehearse.provision.server import Provisioner, Request


@dataclass(frozen=True, slots=True)
class Entry:
    """How a provisioner is asked for: a pattern for the whole text, whose group is its argument."""

    name: str
    pattern: str
    provisioner: Provisioner
    usage: str


TABLE = (
    Entry("embedded", "embedded()", embedded.provide, "embedded"),
    Entry("local", "local:(.*)", local.provide, "local:BINDIR"),
    Entry("docker", "docker:(.*)", container.provide, "docker:IMAGE"),
    Entry(
        "dsn",
        r"(postgres(?:ql)?://.*|\w+ *=.*)",
        dsn.provide,
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    ),
)


def choose(spec: DatabaseSpec, disposable: str | None) -> tuple[Provisioner, Request]:
    """The provisioner that `spec` asks for, and what to ask it; InputError if there is none."""
    text = spec.provision.strip()
    for entry in TABLE:
        match = re.fullmatch(entry.pattern, text, re.DOTALL)
        if match:
            _require_fitting(spec, entry)
            return entry.provisioner, Request(spec, match[1], disposable)
    usages = ", ".join(entry.usage for entry in TABLE)
    # only its first word: the text may be a DSN with a slip in it, and a password
    first = re.match(r"\w*", text)
    raise InputError(f"no such provisioner: {first[0] if first else ''!r}", f"there are: {usages}")


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
